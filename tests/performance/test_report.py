"""A report of 5,000 runs: seconds, memory and size of the whole command and of its parts, beside bare loops over the same files."""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

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
NOISES, SEEDS = 5, 5
METHODS = (
    "ce", "coteaching", "hsa", "gce", "sce", "elr", "bootstrapping", "label_smoothing", "mixup", "forward",
    "decoupling", "jocor", "cdr", "codis", "aum", "sop", "nce_mae", "nce_rce", "vog", "disc",
)  # fmt: skip
N, VALIDATION, TEST, K, EPOCHS = 2000, 400, 400, 10, 30
READ = ("test_labels", "test_selected", "train_given", "train_true", "train_quality")
TESTED = ("accuracy", "balanced_accuracy", "macro_f1", "auroc", "worst_class_recall", "ece", "nll")
DETECTED = ("precision", "recall", "f1", "flagged", "auroc", "average_precision", "constant_f1", "random_average_precision")

SET = '''
"""A data set that costs next to nothing."""
import numpy as np

from dataclasses import dataclass

from benchmark.api import Arrays, Dataset, dataset, hp


@dataset("patches", version=1)
class Patches(Dataset):
    """2,800 images of ten classes, of colours that a PNG cannot make smaller."""

    @dataclass(frozen=True)
    class Params:
        """Which draw of them."""

        number: int = hp(0, 0, tune=False)

    def load(self, root):
        """The classes in turn."""
        images = np.random.default_rng(self.params.number).integers(0, 256, (2800, 32, 32, 3))
        return Arrays(images.astype(np.uint8), np.arange(2800) % 10, tuple(f"class {k}" for k in range(10)))
'''


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Comparison]:
    """Run folders as the worker writes them, of methods that differ little, and their comparison; ``patches.py`` lies beside them."""
    root = tmp_path_factory.mktemp("report") / "runs"
    root.mkdir()
    (root.parent / "patches.py").write_text(SET, encoding="utf-8")
    with ProcessPoolExecutor(mp_context=get_context("fork")) as pool:  # so that the peak of this process is that of what is measured
        results = list(pool.map(partial(_write, root), range(RUNS), chunksize=50))
    return root, compare(flatten_all(results))


@cache
def _registry(plugin: Path) -> Registry:
    from benchmark.cli.options import registry_of

    return registry_of([str(plugin)])


def _write(root: Path, number: int) -> dict[str, object]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from benchmark.code_hash import code_hash

    registry = _registry(root.parent / "patches.py")
    number, seed = divmod(number, SEEDS)
    number, method = divmod(number, len(METHODS))
    data, noise = divmod(number, NOISES)
    shared, rng = np.random.default_rng([data, noise, seed]), np.random.default_rng([data, noise, seed, method])
    defaults = asdict(registry.load("method", METHODS[method]).Params())
    plugin, dataset = PluginSpec(METHODS[method], defaults), PluginSpec("patches", {"number": data}, 1, "v1")
    rate = noise / 10
    labels = {"method": METHODS[method], "dataset": f"patches:number={data}", "noise": f"symmetric:{rate}"}
    spec = RunSpec(plugin, dataset, PluginSpec("symmetric", {"rate": rate, "inclusive": False}, 2), protocol("quick"), seed, labels)
    folder = root / spec.key()
    folder.mkdir()
    index = shared.permutation(N + VALIDATION + TEST)[:N]
    true, forecasts = index % K, rng.dirichlet(np.full(K, 0.3), (8, TEST)).astype(np.float32)
    given = np.where(shared.random(N) < rate + 0.05, (true + shared.integers(1, K, N)) % K, true)
    quality = rng.random(N).astype(np.float32) - 0.3 * (given != true)
    validation = rng.dirichlet(np.full(K, 0.3), VALIDATION).astype(np.float32)
    arrays = {
        "test_last_k": forecasts[:5], "epochs_last_k": np.arange(EPOCHS - 5, EPOCHS), "test_selected": forecasts[5],
        "epoch_selected": np.int64(23), "test_best": forecasts[6], "epoch_best": np.int64(22), "aux_ema": forecasts[7],
        "val_selected": validation, "val_labels": shared.integers(0, K, VALIDATION), "val_true": shared.integers(0, K, VALIDATION),
        "test_labels": shared.integers(0, K, TEST), "train_given": given, "train_true": true, "train_quality": quality,
        "train_hardness": rng.random(N, np.float32), "train_suspect": quality < 0.2,
    }  # fmt: skip
    np.savez(folder / "predictions.npz", **arrays)
    columns = {"index": index, "given": given, "true": true, "quality": quality, "suspect": quality < 0.2}
    columns |= {"hardness": arrays["train_hardness"], "suggested": true}
    columns |= {name: rng.random(N, np.float32) for name in ("confidence", "given_probability")}
    pq.write_table(pa.table(columns), folder / "samples.parquet")
    keys = ("test_accuracy", "val_accuracy", "val_nll", "fit_wrong", "fit_right", "loss", "seconds")
    common = {"stage": "train", "epochs": EPOCHS, "samples": N, "time": "2026-01-01T00:00:00.000+00:00"}
    scores = rng.random((EPOCHS, len(keys))).tolist()
    lines = [json.dumps({**common, "epoch": epoch, **dict(zip(keys, row, strict=True))}) for epoch, row in enumerate(scores)]
    (folder / "history.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "spec.json").write_text(json.dumps({"schema": 1, "run_key": spec.key(), **spec.to_dict()}, indent=1))
    measured = dict.fromkeys(("last", "last_k", "selected", "best", "aux/ema"), TESTED) | {"detection": DETECTED}
    metrics = {group: {name: 0.9 - 0.5 * rate + 0.1 * rng.random() for name in names} for group, names in measured.items()}
    versions = {"torch": "2.15.0", "torchvision": "0.29.2", "timm": "1.0.31", "numpy": "2.4.6", "scikit-learn": "1.9.1", "mlflow": "3.17.2"}
    result = {
        "schema": 1, "run_key": spec.key(), "code_hash": code_hash(spec, registry), "status": "done", "reason": None,
        "spec": spec.to_dict(), "metrics": metrics, "epochs": {"last": 29, "selected": 23, "best": 22, "last_k": 5},
        "noise": {"nominal_rate": rate, "realised_rate": rate + 0.05, "per_class_rate": [rate] * K, "matrix": np.eye(K).tolist(),
                  "solvable": True, "label_hash": "31538b6ef10881aa", "val_rate": rate},
        "data": {"task": "classification", "n_train": N, "n_val": VALIDATION, "n_test": TEST, "classes": [f"class {k}" for k in range(K)],
                 "train_class_counts": [200] * K, "image_shape": [32, 32, 3]},
        "oracle": [], "diagnostics": {"noise_rate": rate},
        "cost": {"seconds": 10 + rng.random(), "train_seconds": 9.0, "samples_per_second": 2738.4, "peak_memory_mb": 1095.4,
                 "gpu_peak_memory_mb": None, "parameters": 106424, "trained_epochs": 30.0},
        "host": {"benchmark": "0.1.0", "python": "3.11.7", "versions": versions, "device": "cpu", "threads": 1, "machine": "one",
                 "platform": "Linux-6.1-x86_64-with-glibc2.36", "git_commit": "0" * 40},
        "started": "2026-01-01T00:00:00+00:00", "finished": "2026-01-01T00:00:10+00:00",
    }  # fmt: skip
    (folder / "result.json").write_text(json.dumps(result, indent=1))
    return result


def _bare(root: Path, more: Sequence[str] = ("history.jsonl",)) -> None:
    """The least that any reader of these arrays does, and of some more files."""
    import pyarrow.parquet as pq

    for folder in root.iterdir():
        with np.load(folder / "predictions.npz", allow_pickle=False) as file:
            for name in READ:
                file[name]
        for name in more:
            path = folder / name
            if name.endswith(".parquet"):
                pq.read_table(path, columns=["index", "suggested"], use_threads=False)
            else:
                for text in path.read_text().splitlines() if name.endswith(".jsonl") else [path.read_text()]:
                    json.loads(text)


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


def test_whole_report(runs: tuple[Path, Comparison], command: Callable[..., Any], report: Callable[[str], None], tmp_path: Path) -> None:
    """``report --out`` as a process: it has to stay under 60 s, 1.5 GB and 15 MB of page with 5,000 runs on two cores."""
    root, comparison = runs
    bare = _timed(lambda: _bare(root, ("result.json", "history.jsonl", "samples.parquet")))
    before = _cpu_of_children()
    done = command("report", "--runs", root, "--out", tmp_path / "board", "--plugin", root.parent / "patches.py", memory=True)
    assert done.status == 0, done.output
    cpu = _cpu_of_children() - before
    size = {name: (tmp_path / "board" / name).stat().st_size / 1e6 for name in ("leaderboard.html", "leaderboard.json")}
    pages = ", ".join(f"{name} {megabytes:.1f} MB" for name, megabytes in size.items())
    report(f"report --out of {RUNS:,} runs: {done.seconds:.1f} s ({cpu:.1f} s of CPU), {done.peak_mb:.0f} MB; {pages}")
    report(f"a loop that only reads these files: {bare:.1f} s, ratio {done.seconds / bare:.1f}")
    page = (tmp_path / "board" / "leaderboard.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64") >= 12 * len(comparison.groups)
    assert len(json.loads((tmp_path / "board" / "leaderboard.json").read_bytes())["tasks"]["classification"]["runs"]) == RUNS


def test_tables_alone(runs: tuple[Path, Comparison], command: Callable[..., Any], report: Callable[[str], None]) -> None:
    """``report`` on the terminal, which reads results alone."""
    root, _ = runs
    bare = _timed(lambda: [json.loads(path.read_bytes()) for path in root.glob("*/result.json")])
    before = _cpu_of_children()
    done = command("report", "--runs", root, "--plugin", root.parent / "patches.py", memory=True)
    assert done.status == 0 and "symmetric:0.0" in done.output, done.output
    report(f"report of {RUNS:,} runs: {done.seconds:.1f} s ({_cpu_of_children() - before:.1f} s of CPU), {done.peak_mb:.0f} MB")
    report(f"a loop that only reads the results: {bare:.1f} s, ratio {done.seconds / bare:.1f}")


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
