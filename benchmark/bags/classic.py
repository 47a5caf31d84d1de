"""The classic sets of multiple instance learning: MUSK, Elephant, Fox, Tiger, as csv files of instances.

One row an instance, without a header: label of the bag, id of the bag, then features, as Li et al. (2021) hand them out. Features are
left as they are; standardising them is up to who trains on them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmark.bags.arrays import BagArrays
from benchmark.bags.checks import check_bags, check_finite
from benchmark.errors import BenchmarkError

EXPECTED = "label, bag id and features in each line, without a header"


def load_classic(file: Path) -> BagArrays:
    """Read a classic set.

    Bags are in the order of their ids, instances in the order of the file. Bags have no parts, instances no known labels.

    Args:
        file: the csv.

    Raises:
        BenchmarkError: the file is missing or no such table, a bag has two labels, or labels are not 0 and 1.
    """
    table = _read(file)
    first = table[:, 0], table[:, 1]
    if not all(np.isfinite(column).all() and (column == np.rint(column)).all() for column in first):
        raise BenchmarkError(f"{file}: labels and bag ids must be whole numbers; expected {EXPECTED}")
    labels, ids = (column.astype(np.int64) for column in first)
    strange = np.flatnonzero((labels != 0) & (labels != 1))
    if strange.size:
        raise BenchmarkError(f"{file}, line {strange[0] + 1}: label {labels[strange[0]]} is neither 0 nor 1; expected {EXPECTED}")
    order = np.argsort(ids, kind="stable")
    labels, ids = labels[order], ids[order]
    bags, starts, counts = np.unique(ids, return_index=True, return_counts=True)
    mixed = np.flatnonzero(labels != np.repeat(labels[starts], counts))
    if mixed.size:
        line, bag = order[mixed[0]] + 1, ids[mixed[0]]
        raise BenchmarkError(f"{file}, line {line}: bag {bag} is labelled {labels[mixed[0]]}, and {1 - labels[mixed[0]]} before")
    tiles = table[order, 2:].astype(np.float32)
    offsets = np.concatenate([starts, [len(ids)]]).astype(np.int64)
    names = tuple(str(bag) for bag in bags.tolist())
    for name, start, end in zip(names, offsets[:-1], offsets[1:], strict=True):
        check_finite(tiles[start:end], name, str(file))
    arrays = BagArrays(tiles, offsets, labels[starts], names)
    check_bags(arrays, str(file))
    return arrays


def _read(file: Path) -> np.ndarray:
    """All numbers, (N, 2 + D) float64."""
    import pandas as pd

    if not file.is_file():
        raise BenchmarkError(f"there is no file {file}")
    try:
        table = pd.read_csv(file, header=None, encoding="utf-8-sig", skip_blank_lines=False)
    except Exception as error:  # pandas raises whatever a broken file makes it trip over
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise BenchmarkError(f"{file} cannot be read: {reason}; expected {EXPECTED}") from None
    for place, kind in enumerate(table.dtypes):
        if kind.kind not in "fiu":
            numbers = pd.to_numeric(table[place], errors="coerce")
            row = int(np.argmax(numbers.isna()))
            raise BenchmarkError(f"{file}, line {row + 1}: '{table[place][row]}' is no number; expected {EXPECTED}")
    if table.shape[1] < 3:
        raise BenchmarkError(f"{file} has {table.shape[1]} columns; expected {EXPECTED}")
    values: np.ndarray = table.to_numpy(dtype=np.float64)
    return values
