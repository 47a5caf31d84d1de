"""A report of 5,000 runs: seconds and memory of what it reads from their folders, beside a bare loop over the same files."""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

from benchmark.registry import Registry
from benchmark.spec import PluginSpec, RunSpec, protocol
from reports.collect import collect
from reports.pictures import galleries
from reports.rows import flatten_all
from reports.tables import Comparison, compare

pytestmark = [pytest.mark.perf, pytest.mark.timeout(3600)]

RUNS = int(os.environ.get("REPORT_RUNS", "5000"))
"""Fewer for a quick look."""
METHODS, NOISES, SEEDS = 20, 5, 5
N, TEST, K, EPOCHS = 2000, 400, 10, 30
READ = ("test_labels", "test_selected", "train_given", "train_true", "train_quality")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Comparison]:
    """Run folders as the worker writes them, of methods that differ by chance alone, and their comparison."""
    root = tmp_path_factory.mktemp("runs")
    with ProcessPoolExecutor(mp_context=get_context("fork")) as pool:  # so that the peak of this process is that of what is measured
        results = list(pool.map(partial(_write, root), range(RUNS), chunksize=50))
    return root, compare(flatten_all(results))


def _write(root: Path, number: int) -> dict[str, object]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number, seed = divmod(number, SEEDS)
    number, method = divmod(number, METHODS)
    data, noise = divmod(number, NOISES)
    shared, rng = np.random.default_rng([data, noise, seed]), np.random.default_rng([data, noise, seed, method])
    plugin, dataset = PluginSpec("gce", {"number": method}), PluginSpec("digits", {"number": data}, 1, "v1")
    labels = {"method": f"method {method}", "dataset": f"data {data}", "noise": f"noise {noise}"}
    spec = RunSpec(plugin, dataset, PluginSpec("symmetric", {"rate": noise / 10}, 2), protocol("quick"), seed, labels)
    folder = root / spec.key()
    folder.mkdir()
    true, forecasts = shared.integers(0, K, N), rng.dirichlet(np.full(K, 0.3), (8, TEST)).astype(np.float32)
    given = np.where(shared.random(N) < noise / 10 + 0.05, shared.integers(0, K, N), true)
    quality = rng.random(N).astype(np.float32) - 0.3 * (given != true)
    arrays = {
        "test_last_k": forecasts[:5], "test_selected": forecasts[5], "test_best": forecasts[6], "aux_ema": forecasts[7],
        "val_selected": forecasts[0, :300], "val_labels": true[:300], "val_true": true[:300], "test_labels": shared.integers(0, K, TEST),
        "train_given": given, "train_true": true, "train_quality": quality, "train_suspect": quality < 0.2,
    }  # fmt: skip
    np.savez(folder / "predictions.npz", **arrays)
    columns = {"index": np.arange(N) % 1797, "given": given, "true": true, "quality": quality, "suspect": quality < 0.2, "suggested": true}
    pq.write_table(pa.table(columns), folder / "samples.parquet")
    scores = rng.random((EPOCHS, 5)).tolist()
    keys = ("test_accuracy", "val_accuracy", "val_nll", "fit_wrong", "fit_right")
    common = {"stage": "train", "epochs": EPOCHS, "loss": 0.5, "seconds": 1.25, "samples": N, "time": "2026-01-01T00:00:00.000+00:00"}
    lines = [json.dumps({**common, "epoch": epoch, **dict(zip(keys, row, strict=True))}) for epoch, row in enumerate(scores)]
    (folder / "history.jsonl").write_text("\n".join(lines) + "\n")
    result = {
        "schema": 1, "run_key": spec.key(), "status": "done", "spec": spec.to_dict(), "metrics": {"selected": {"accuracy": scores[-1][0]}},
        "epochs": {"selected": 3}, "data": {"classes": [str(k) for k in range(K)]}, "cost": {"seconds": 10.0}, "noise": {},
    }  # fmt: skip
    (folder / "result.json").write_text(json.dumps(result))
    return result


def _bare(root: Path) -> None:
    """The least that any reader of these arrays does."""
    for folder in root.iterdir():
        with np.load(folder / "predictions.npz", allow_pickle=False) as file:
            for name in READ:
                file[name]
        for line in (folder / "history.jsonl").read_text().splitlines():
            json.loads(line)


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def test_evidence_of_all_runs(runs: tuple[Path, Comparison], report: Callable[[str], None]) -> None:
    """collect() beside the bare loop, each once warm; memory is the growth of the process's peak."""
    root, comparison = runs
    before = _peak_mb()
    seconds = _timed(lambda: collect(comparison, root.joinpath))
    after = _peak_mb()
    bare = _timed(lambda: _bare(root))
    report(f"evidence of {RUNS:,} runs: {seconds:.1f} s, {after - before:.0f} MB; bare loop {bare:.1f} s, ratio {seconds / bare:.2f}")
    found = collect(comparison, root.joinpath)
    assert sum(len(evidence.seeds) for evidence in found.values()) == RUNS


def test_galleries_of_all_groups(runs: tuple[Path, Comparison], report: Callable[[str], None], tmp_path: Path) -> None:
    """galleries() of the same runs; their data sets do not exist, so what is timed are votes."""
    root, comparison = runs
    before = _peak_mb()
    seconds = _timed(lambda: galleries(comparison, root.joinpath, tmp_path, Registry()))
    report(f"galleries of {len(comparison.groups):,} groups: {seconds:.1f} s, {_peak_mb() - before:.0f} MB")
    assert all(gallery.suspects for gallery in galleries(comparison, root.joinpath, tmp_path, Registry()).values())


# ------------------------------------------------------------------------------------------------- the whole command
