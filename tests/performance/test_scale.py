"""Ten thousand cells in one runs folder: what a cell costs beside its method, and how long the folder takes to plan, show and compare."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

pytestmark = pytest.mark.perf

ROOT = Path(__file__).resolve().parents[2]
CELLS = int(os.environ.get("SCALE_CELLS", "2000"))
"""Cells of the toy campaign; fewer for a quick look."""
SLEEP_S = 0.01

TOYS = '''
"""A data set and a method that cost next to nothing."""
import time

import numpy as np
import torch.nn.functional as F

from benchmark.api import Arrays, Dataset, Method, dataset, method


@dataset("small", version=1)
class Small(Dataset):
    """Forty images of two classes."""

    def load(self, root):
        """Bright ones and dark ones."""
        labels = np.arange(40) % 2
        images = np.random.default_rng(0).integers(0, 100, (40, 8, 8, 1)) + 100 * labels[:, None, None, None]
        return Arrays(images.astype(np.uint8), labels.astype(np.int64), ("dark", "bright"))


@method("sleeps")
class Sleeps(Method):
    """One step of ten milliseconds."""

    def training_step(self, batch, networks, epoch):
        time.sleep(0.01)
        return F.cross_entropy(networks[0](batch.images), batch.labels)
'''

METHODS = (
    "ce,coteaching,hsa,gce,sce,elr,bootstrapping,label_smoothing,mixup,forward,decoupling,jocor,cdr,codis,aum,sop,nce_mae,nce_rce,vog,disc"
)
DATASETS = "digits,digits:image_size=16,small,small:image_size=16"
NOISE = "none,0.2,0.4,0.6,pairflip:0.3"
SEEDS = range(25)
"""20 methods × 4 data sets × 5 noise settings × 25 seeds = 10,000 runs."""


@pytest.fixture
def toys(tmp_path: Path) -> Path:
    """The plugin file."""
    path = tmp_path / "toys.py"
    path.write_text(TOYS, encoding="utf-8")
    return path


def many_runs(root: Path, toys: Path) -> int:
    """Fill a runs folder with copies of one real run under other specs, their keys and code hashes right; returns how many there are.

    The numbers are shifted by method and seed, so that tables have something to rank.
    """
    from benchmark.code_hash import code_hash
    from benchmark.engines.base import WorkerOptions
    from benchmark.grammar import parse_settings
    from benchmark.registry import Registry
    from benchmark.spec import SCHEMA, expand, protocol
    from benchmark.store import RunStore
    from benchmark.worker import execute

    registry, store, cache = Registry([toys]), RunStore(root), root.parent / "cache"
    plan = protocol("quick", {"epochs": 30, "batch_size": 64})
    settings = {kind: parse_settings(text, what=kind, number_means="symmetric") for kind, text in (("noise", NOISE),)}
    settings |= {"methods": parse_settings(METHODS, what="methods"), "datasets": parse_settings(DATASETS, what="datasets")}
    specs = expand(registry, **settings, seeds=SEEDS, protocol=plan, data_root=cache)
    first = next(spec for spec in specs if spec.dataset.name == "small")
    key = store.register(first)
    outcome = execute(key, WorkerOptions(runs=root, device="cpu", data_root=cache, plugins=(str(toys),)), lambda event: None)
    assert outcome.status == "done", outcome.message
    real, folder = store.result(key), store.folder(key)
    codes: dict[tuple[str, str, str], str] = {}
    for spec in specs:
        names = (spec.method.name, spec.dataset.name, spec.noise.name)
        code = codes.setdefault(names, "") or code_hash(spec, registry)
        codes[names] = code
        target = store.folder(spec.key())
        if target == folder:
            continue
        target.mkdir()
        shift = 0.001 * (len(spec.method.name) + spec.seed % 7)
        metrics = {g: {n: None if v is None else v - shift for n, v in values.items()} for g, values in real["metrics"].items()}
        cost = {**real["cost"], "seconds": real["cost"]["seconds"] * (1 + 0.01 * spec.seed)}
        result = {**real, "run_key": spec.key(), "code_hash": code, "spec": spec.to_dict(), "metrics": metrics, "cost": cost}
        (target / "result.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        text = json.dumps({"schema": SCHEMA, "run_key": spec.key(), **spec.to_dict()}, indent=1)
        (target / "spec.json").write_text(text + "\n", encoding="utf-8")
        for name in ("history.jsonl", "predictions.npz", "samples.parquet", "log.txt"):
            shutil.copyfile(folder / name, target / name)
    return len(specs)
