"""The features of one slide from one file, in the formats that DSMIL, CLAM and their kin write."""

from __future__ import annotations

import importlib
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.errors import BenchmarkError

H5PY = "python -m pip install h5py"

FEATURES = ("features", "feats")
POSITIONS = ("coords", "positions")
TILE_LABELS = ("tile_labels",)
"""What the arrays of an archive are called."""

NUMERIC = "fiub"
MOST_STEPS = 100
"""Of links in an archive."""

NPY = b"\x93NUMPY"


@dataclass(frozen=True)
class SlideFeatures:
    """The n tiles of one slide.

    Attributes:
        features: (n, D) float32.
        positions: (n, 2) int64 x and y, or None.
        tile_labels: (n,) int8 truth, 0 or 1, -1 where unknown, or None.
    """

    features: np.ndarray
    positions: np.ndarray | None = None
    tile_labels: np.ndarray | None = None


def read_slide(file: Path) -> SlideFeatures:
    """Read one slide.

    - ``.csv``: one row a tile below a header, as DSMIL writes it (``0,1,2,…``); columns called ``x``, ``y`` and ``label`` are positions
      and truth, one without a name is an index; a first line of numbers other than those is a tile
    - ``.npy``: (n, D)
    - ``.npz``: ``features``, and ``coords`` and ``tile_labels`` where they are known
    - ``.pt``: a tensor (n, D), as CLAM writes it, or a dictionary of tensors that are called as in an npz; never a pickle of anything else
    - ``.h5``: ``features`` and ``coords``, as CLAM writes it

    Raises:
        BenchmarkError: the file is missing, broken or of another kind, holds no tile, or its arrays do not fit each other. Features that
            are not finite are left to who knows the slide's name.
    """
    reader = READERS.get(file.suffix.lower())
    if reader is None:
        raise BenchmarkError(f"{file} is of no kind that holds features; expected one of {', '.join(READERS)}")
    if not file.is_file():
        raise BenchmarkError(f"there is no file {file}")
    try:
        return _checked(reader(file))
    except BenchmarkError:
        raise
    except Exception as error:  # readers raise whatever a broken file makes them trip over
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise BenchmarkError(f"{file} cannot be read: {reason}") from None


def _read_csv(file: Path) -> dict[str, np.ndarray]:
    import pandas as pd

    with file.open(encoding="utf-8-sig") as stream:
        header = [name.strip().strip('"').lower() for name in stream.readline().split(",")]
    headed = header == [str(place) for place in range(len(header))] or not all(_is_number(name) for name in header)
    if headed and not any(header):
        raise ValueError("its first line is empty")
    table = (
        pd.read_csv(file, header=None, skiprows=int(headed), skip_blank_lines=True) if not _only_header(file, headed) else pd.DataFrame()
    )
    if not len(table):
        raise ValueError("it holds no tiles")
    if table.shape[1] != len(header):
        raise ValueError(f"its rows have {table.shape[1]} fields where the first line has {len(header)}")
    strange = [place for place, kind in enumerate(table.dtypes) if kind.kind not in NUMERIC]
    if strange:
        cells = pd.to_numeric(table[strange[0]], errors="coerce")
        row = int(np.argmax(cells.isna() & table[strange[0]].notna()))
        raise ValueError(f"'{table[strange[0]][row]}' in line {row + 1 + headed} is no number")
    named = {name: table[place].to_numpy() for place, name in enumerate(header) if headed and name in ("x", "y", "label")}
    kept = [place for place, name in enumerate(header) if not headed or name not in ("x", "y", "label", "")]
    arrays: dict[str, np.ndarray] = {"features": table[kept].to_numpy()}
    if "x" in named and "y" in named:
        arrays["coords"] = np.stack([named["x"], named["y"]], axis=1)
    if "label" in named:
        arrays["tile_labels"] = named["label"]
    return arrays


def _only_header(file: Path, headed: bool) -> bool:
    """Whether nothing stands below the header: pandas calls that an error of its own."""
    with file.open(encoding="utf-8-sig") as stream:
        return not any(line.strip() for place, line in enumerate(stream) if place >= headed)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _read_npy(file: Path) -> dict[str, np.ndarray]:
    with file.open("rb") as stream:
        if stream.read(len(NPY)) != NPY:
            raise ValueError("it is no npy array")
    return {"features": np.load(file, allow_pickle=False)}


def _read_npz(file: Path) -> dict[str, np.ndarray]:
    if not zipfile.is_zipfile(file):  # numpy would advise to unpickle it
        raise ValueError("it is no npz archive")
    with np.load(file, allow_pickle=False) as archive:
        return _picked({name: archive[name] for name in archive.files if name in (*FEATURES, *POSITIONS, *TILE_LABELS)}, archive.files)


def _read_pt(file: Path) -> dict[str, np.ndarray]:
    import torch

    try:
        found = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(f"it is no file of plain tensors ({(str(error).splitlines() or [type(error).__name__])[0][:120]})") from None
    tensors = found if isinstance(found, Mapping) else {"features": found}
    if not all(isinstance(value, torch.Tensor) for value in tensors.values()):
        raise ValueError(f"it holds {type(found).__name__} where a tensor (n, D) was expected")
    wide = {name: value.float() if value.is_floating_point() else value for name, value in tensors.items()}  # numpy has no bfloat16
    return _picked({str(name): value.numpy() for name, value in wide.items()}, [str(name) for name in wide])


def _read_h5(file: Path) -> dict[str, np.ndarray]:
    try:
        h5py: Any = importlib.import_module("h5py")
    except ImportError:
        raise BenchmarkError(f"{file.parent} needs h5py to be read; install it: {H5PY}") from None
    with h5py.File(file, "r") as archive:
        arrays = {}
        for name in (*FEATURES, *POSITIONS, *TILE_LABELS):
            if archive.get(name, getlink=True) is None:
                continue
            values = _inside(h5py, archive, name)
            if not isinstance(values, h5py.Dataset):
                raise ValueError(f"its {name} are no array")
            # Virtual and external arrays read other files, wherever they lie.
            if values.is_virtual or values.external or values.file.filename != archive.filename:
                raise ValueError(f"its {name} lie in another file")
            arrays[name] = values[()]
        return _picked(arrays, list(archive))


def _inside(h5py: Any, archive: Any, name: str) -> Any:
    """What an entry or a link of that name leads to, step by step: no step may lead to another file, which is then not even opened."""
    place, steps = archive, [name]
    for _ in range(MOST_STEPS):
        if not steps:
            return place
        step = steps.pop()
        link = place.get(step, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            raise ValueError(f"its {name} lie in another file")
        if link is None:
            raise ValueError(f"its {name} are a link to nothing")
        if isinstance(link, h5py.SoftLink):
            place = archive if link.path.startswith("/") else place
            steps += [part for part in reversed(link.path.split("/")) if part not in ("", ".")]
        else:
            place = place[step]
    raise ValueError(f"its {name} are a link without end")


READERS: dict[str, Callable[[Path], dict[str, np.ndarray]]] = {
    ".csv": _read_csv,
    ".npy": _read_npy,
    ".npz": _read_npz,
    ".pt": _read_pt,
    ".h5": _read_h5,
}
"""Ending → reader of ``features``, and of ``coords`` and ``tile_labels`` where there are any."""


def _picked(arrays: Mapping[str, np.ndarray], found: list[str]) -> dict[str, np.ndarray]:
    """The arrays by the first of their names."""
    picked = {}
    for names in (FEATURES, POSITIONS, TILE_LABELS):
        name = next((name for name in names if name in arrays), None)
        if name is not None:
            picked[names[0]] = arrays[name]
    if FEATURES[0] not in picked:
        raise ValueError(f"it holds {', '.join(found[:8]) or 'nothing'} where features were expected")
    return picked


def _checked(arrays: dict[str, np.ndarray]) -> SlideFeatures:
    """Arrays of one length and of the right kinds; ValueError says what is not."""
    features, positions, labels = arrays["features"], arrays.get("coords"), arrays.get("tile_labels")
    if features.ndim == 3 and features.shape[0] == 1:  # some extractors keep the axis of the batch
        features = features[0]
    if features.ndim != 2 or features.dtype.kind not in NUMERIC or not features.shape[1]:
        raise ValueError(f"features are {features.shape} {features.dtype}; expected (tiles, D) numbers")
    n = len(features)
    if not n:
        raise ValueError("it holds no tiles")
    if positions is not None:
        if positions.ndim == 3 and positions.shape[0] == 1:
            positions = positions[0]
        if positions.shape != (n, 2) or positions.dtype.kind not in NUMERIC or not np.isfinite(positions).all():
            raise ValueError(f"coords are {positions.shape} {positions.dtype}; expected x and y of {n} tiles, ({n}, 2)")
        positions = positions.astype(np.int64)
    if labels is not None:
        labels = labels[:, 0] if labels.shape == (n, 1) else labels
        if labels.shape != (n,) or labels.dtype.kind not in NUMERIC or not np.isin(labels, (-1, 0, 1)).all():
            raise ValueError(f"tile labels are {labels.shape} {labels.dtype}; expected 0, 1, or -1 for each of {n} tiles")
        labels = labels.astype(np.int8)
    return SlideFeatures(np.ascontiguousarray(features, dtype=np.float32), positions, labels)
