"""A finished run on a tiny data set, made without training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmark.grammar import parse_settings
from benchmark.prepare import PreparedData, prepare
from benchmark.registry import Registry
from benchmark.relabel.runs import FinishedRun, open_run
from benchmark.spec import SCHEMA, expand, protocol
from benchmark.store import RunStore

PLUGIN = '''
"""A set."""
import numpy as np
from benchmark.api import Arrays, Dataset, dataset


@dataset("toy", version=1)
class Toy(Dataset):
    """Forty images of three classes; each shows its index."""

    def load(self, root):
        labels = np.arange(40) % 3
        images = np.repeat(np.arange(40, dtype=np.uint8), 64).reshape(40, 8, 8, 1)
        return Arrays(images, labels, CLASSES)
'''
CLASSES = ("=normal", 'a<b & "c"', "adenoma")
"""A formula, markup, and nothing special."""


@dataclass(frozen=True)
class Toy:
    """A finished run and what it was made of."""

    root: Path
    registry: Registry
    run: FinishedRun
    data: PreparedData
    classes: tuple[str, ...] = CLASSES

    def given(self, index: int) -> str:
        """The class name that the run was given for a sample."""
        for part in ("train", "val"):
            positions = self.data.indices[part].tolist()
            if index in positions:
                return self.data.arrays.classes[self.data.labels[part][positions.index(index)]]
        raise AssertionError(index)


Finish = Callable[..., Toy]


@pytest.fixture(name="registry")
def _registry(tmp_path: Path) -> Registry:
    folder = tmp_path / "plugins"
    folder.mkdir()
    (folder / "toy.py").write_text(PLUGIN.replace("CLASSES", repr(CLASSES)), encoding="utf-8")
    return Registry([folder])


@pytest.fixture
def finish(tmp_path: Path, registry: Registry) -> Finish:
    """Makes a run whose training samples have rising quality in the order of their rows; the first four are suspects."""

    def made(data: str = "toy", noise: str = "symmetric:0.3", seed: int = 0, **columns: Any) -> Toy:
        (spec,) = expand(
            registry,
            methods=parse_settings("ce", what="method"),
            datasets=parse_settings(data, what="dataset"),
            noise=parse_settings(noise, what="noise", joined=("open_set", "human")),
            seeds=[seed],
            protocol=protocol("quick", {"backbone": "linear"} if "features" in data else {}),
            data_root=tmp_path / "cache",
        )
        prepared = prepare(spec, registry, tmp_path / "cache")
        n = len(prepared.indices["train"])
        table = {
            "index": prepared.indices["train"],
            "given": prepared.labels["train"],
            "true": prepared.truth["train"],
            "quality": np.linspace(0.01, 0.9, n, dtype=np.float32),
            "suspect": np.arange(n) < 4,
            **columns,
        }
        store = RunStore(tmp_path / "runs")
        key = store.register(spec)
        pq.write_table(
            pa.table({name: values for name, values in table.items() if values is not None}), store.folder(key) / "samples.parquet"
        )
        store.commit(key, {"schema": SCHEMA, "run_key": key, "status": "done", "reason": None, "spec": spec.to_dict()})
        return Toy(tmp_path, registry, open_run(key, store.root), prepared)

    return made
