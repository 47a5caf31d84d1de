"""Ten thousand cells in one runs folder: what a cell costs beside its method, and how long the folder takes to plan, show and compare."""

from __future__ import annotations

import json
import os
import resource
import shutil
import time
from pathlib import Path

import pytest

pytestmark = [pytest.mark.perf, pytest.mark.timeout(3600)]

ROOT = Path(__file__).resolve().parents[2]
CELLS = int(os.environ.get("SCALE_CELLS", "2000"))
"""Cells of the toy campaign; fewer for a quick look."""
SLEEP_S, SLOTS = 0.01, 2
"""What a toy cell takes by itself, and how many run at a time."""

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


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The folder of 10,000 runs, and its plugin file."""
    base = tmp_path_factory.mktemp("many")
    toys = base / "toys.py"
    toys.write_text(TOYS, encoding="utf-8")
    (base / "runs").mkdir()
    assert many_runs(base / "runs", toys) == 10_000
    return base / "runs", toys


@pytest.fixture
def timed(command):
    """A command, and the seconds of CPU that it and all its processes took: other work on the machine changes them little."""

    def run(*words: str, **options: bool):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        finished = command(*words, **options)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return finished, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    return run


@pytest.mark.parametrize("tracking", [("--no-tracking",), ()], ids=["no mirror", "mirror"])
def test_what_a_cell_costs_beside_its_method(tracking, toys, timed, report, tmp_path):
    words = ("run", "--plugin", str(toys), "--datasets", "small", "--methods", "sleeps", "--baseline", "none", "--noise", "0.2")
    words += ("--seeds", f"0-{CELLS - 1}", "--epochs", "1", "--set", "protocol.batch_size=64", "--device", "cpu", "--jobs", str(SLOTS))
    run, cpu = timed(*words, *tracking, "--quiet", "--runs", str(tmp_path / "runs"), "--data-root", str(tmp_path / "cache"))
    stamps = sorted(path.stat().st_mtime for path in (tmp_path / "runs").glob("*/result.json"))
    assert run.status == 0 and len(stamps) == CELLS
    overhead, steady = (seconds - CELLS * SLEEP_S / SLOTS for seconds in (run.seconds, stamps[-1] - stamps[0]))
    figures = f"{run.seconds:.1f} s wall, (wall - ideal) / cells {overhead / CELLS * 1e3:.1f} ms, from first to last result "
    figures += f"{steady / CELLS * 1e3:.1f} ms; {cpu / CELLS * 1e3:.1f} ms of CPU a cell"
    report(f"{CELLS} cells of {SLEEP_S * 1e3:.0f} ms, {'no mirror' if tracking else 'mirror'}: {figures}")


@pytest.mark.parametrize("words", ["status", "status --json", "report", "report --format json"])
def test_commands_on_ten_thousand_runs(words, many, timed, report):
    runs, toys = many
    run, cpu = timed(*words.split(), "--runs", str(runs), "--plugin", str(toys), memory=True)
    assert run.status == 0 and len(run.output.splitlines()) > 100
    report(f"{words} on 10,000 runs: {run.seconds:.1f} s, {cpu:.1f} s of CPU, peak memory {run.peak_mb:.0f} MB")


@pytest.mark.parametrize("seeds", ["0-24", "12-36"], ids=["all done", "half done"])
def test_planning_ten_thousand_cells(seeds, many, timed, report):
    runs, toys = many
    words = ("run", "--plugin", str(toys), "--methods", METHODS, "--datasets", DATASETS, "--noise", NOISE, "--baseline", "none")
    words += ("--seeds", seeds, "--epochs", "30", "--set", "protocol.batch_size=64", "--dry-run", "--runs", str(runs), "--device", "cpu")
    run, cpu = timed(*words, "--format", "json", memory=True)
    assert run.status == 0 and "10000 cells: " in run.output
    report(f"run --dry-run of 10,000 cells, seeds {seeds}: {run.seconds:.1f} s, {cpu:.1f} s of CPU, peak memory {run.peak_mb:.0f} MB")


def test_watching_ten_thousand_runs(many, report):
    """Last in this file: half of the results are taken away."""
    from benchmark.cli.status import Repeat
    from benchmark.cli.watch import parts
    from benchmark.folder_view import FolderView
    from benchmark.registry import Registry
    from benchmark.store import RunStore

    runs, toys = many
    for number, folder in enumerate(sorted(path.parent for path in runs.glob("*/result.json"))):
        if number % 2:
            for file in folder.iterdir():
                if file.name != "spec.json":
                    file.unlink()
    time.sleep(2.1)  # folders that have just changed are read twice
    store = RunStore(runs)
    key = next(key for key in store.keys() if store.result(key) is None)  # noqa: SIM118 - a store is no dict
    view, figures = FolderView(store, Registry([toys])), []
    with store.lease(key):
        for _ in range(3):
            wall, cpu = time.perf_counter(), time.process_time()
            read = view.refresh()
            parts(view, Repeat(runs, ()), 80, 24)
            figures.append(f"{read} read in {time.perf_counter() - wall:.2f} s, {time.process_time() - cpu:.2f} s of CPU")
    assert view.counts == {"done": 5000, "missing": 4999, "running": 1}
    assert view.seconds_left()[0] is not None
    report(f"three looks at 10,000 cells: {'; '.join(figures)}")
