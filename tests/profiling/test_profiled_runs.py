"""Profiled runs through the worker: the same numbers, parts that add up, a trace that opens, of every task."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmark import profiling, worker
from benchmark.engines.base import Outcome, WorkerOptions
from benchmark.engines.parcel import pack_run, unpack_run
from benchmark.grammar import parse_settings
from benchmark.profiling.recorder import RunProfile
from benchmark.profiling.stopwatch import PARTS
from benchmark.profiling.summary import FOLDER, PROFILE, TRACE, read_profile
from benchmark.registry import Registry
from benchmark.spec import expand, protocol
from benchmark.store import RunStore
from benchmark.tracking.record import read_record
from tests.tasks.test_bag_runs import PLUGIN as BAGS
from tests.tasks.test_mask_runs import PLUGIN as MASKS

CLASSES = '''
"""Ninety images of three classes, and a method that is killed once."""
from pathlib import Path

import numpy as np

from benchmark.api import Arrays, Dataset, Method, dataset, method
import torch.nn.functional as F


@dataset("tinyset", version=1)
class Tiny(Dataset):
    """Ninety images of three classes."""

    augmentation = ("flip",)

    def load(self, root):
        labels = np.arange(90) % 3
        rng = np.random.default_rng(0)
        images = rng.normal(60 + 60 * labels[:, None, None, None], 40, (90, 8, 8, 1)).clip(0, 255).astype(np.uint8)
        return Arrays(images, labels, ("a", "b", "c"))


@method("killed")
class Killed(Method):
    """Stops in its second epoch, the first time."""

    def training_step(self, batch, networks, epoch):
        marker = Path(__file__).with_name("was killed")
        if epoch == 1 and not marker.exists():
            marker.touch()
            raise KeyboardInterrupt  # in the middle of the traced steps
        return F.cross_entropy(networks[0](batch.images), batch.labels)


@method("shy")
class Shy(Killed):
    """Declines."""

    def supports(self, data):
        return "too shy"


@method("lost")
class Lost(Killed):
    """Diverges."""

    def training_step(self, batch, networks, epoch):
        return F.cross_entropy(networks[0](batch.images), batch.labels) * float("nan")
'''


class Bench:
    """A folder of plugins and runs."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.plugins = folder, folder / "plugins"
        self.plugins.mkdir()
        for name, source in (("classes", CLASSES), ("bags", BAGS), ("masks", MASKS)):
            text = source
            for method in ("probe", "plain"):  # both files have them
                text = text.replace(f'@method("{method}"', f'@method("{method}_{name}"')
            (self.plugins / f"tiny_{name}.py").write_text(text)
        monkeypatch.setattr(worker, "_registry", Registry)  # each test has plugins of its own

    def store(self, runs: str) -> RunStore:
        return RunStore(self.folder / runs)

    def register(self, method: str, dataset: str = "tinyset", noise: str = "symmetric:0.3", runs: str = "runs", **settings: Any) -> str:
        (spec,) = expand(
            Registry((str(self.plugins),)),
            methods=parse_settings(method, what="method"),
            datasets=parse_settings(dataset, what="dataset"),
            noise=parse_settings(noise, what="noise"),
            seeds=[0],
            protocol=protocol("quick", {"epochs": 3, "batch_size": 8, "last_k": 2, **settings}),
            data_root=self.folder / "data",
        )
        return self.store(runs).register(spec)

    def execute(self, key: str, runs: str = "runs", profile: bool = True) -> Outcome:
        options = WorkerOptions(
            self.folder / runs,
            device="cpu",
            data_root=self.folder / "data",
            checkpoint_seconds=0.0,
            plugins=(str(self.plugins),),
            profile=profile,
        )
        return worker.execute(key, options, lambda event: None)

    def profile(self, key: str, runs: str = "runs") -> dict[str, Any]:
        found = read_profile(self.folder / runs / key)
        assert found is not None
        return found


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(tmp_path, monkeypatch)


def names_in(trace: Path) -> set[str]:
    """Of the events of a trace."""
    with gzip.open(trace) as file:
        return {event["name"] for event in json.load(file)["traceEvents"]}


TASKS = [
    ("ce", "tinyset", "symmetric:0.3", {}),
    ("seg_ce", "tinymasks", "shifted", {"backbone": "vnet_small"}),
    ("mil_max", "tinybags", "none", {"backbone": "auto"}),
]


@pytest.mark.parametrize(("method", "dataset", "noise", "settings"), TASKS, ids=["classes", "masks", "bags"])
def test_a_profile_changes_no_number_and_adds_up(bench: Bench, method: str, dataset: str, noise: str, settings: dict[str, Any]) -> None:
    results, arrays = [], []
    for runs in ("profiled", "plain"):
        key = bench.register(method, dataset, noise, runs, **settings)
        outcome = bench.execute(key, runs, profile=runs == "profiled")
        assert outcome.status == "done", outcome.message
        result = bench.store(runs).result(key) or {}
        results.append({name: value for name, value in result.items() if name not in ("cost", "host", "started", "finished")})
        with np.load(bench.folder / runs / key / "predictions.npz", allow_pickle=False) as file:
            arrays.append({name: file[name] for name in file.files})
        if runs == "profiled":
            profile, seconds = bench.profile(key, runs), outcome.seconds
    assert results[0] == results[1]
    assert arrays[0].keys() == arrays[1].keys()
    assert all(np.array_equal(arrays[0][name], arrays[1][name]) for name in arrays[0])
    assert not (bench.folder / "plain" / key / FOLDER).exists()

    parts = profile["parts"]
    assert set(parts) <= set(PARTS)
    for part in ("preparation", "data", "augmentation", "forward", "backward", "optimiser", "method", "history", "evaluation", "commit"):
        assert parts[part] > 0
    assert sum(parts.values()) == pytest.approx(profile["seconds"])
    assert seconds - 0.25 - 0.05 * seconds < profile["seconds"] <= seconds + 0.01  # the last file of the result is all that is missing
    assert sum(stage["seconds"] for stage in profile["stages"]) == pytest.approx(profile["seconds"])
    for stage in profile["stages"]:
        assert sum(stage["parts"].values()) == pytest.approx(stage["seconds"])
    assert profile["device"] == "cpu" and profile["cpu_threads"] == torch.get_num_threads() and profile["torch"] == torch.__version__
    assert profile["samples_per_second"] > 0 and profile["samples"] == profile["stages"][1]["samples"] > 0

    found = names_in(bench.folder / "profiled" / key / FOLDER / TRACE)
    assert found & {"aten::convolution", "aten::conv2d", "aten::addmm"}
    assert {"forward", "backward", "optimiser", "evaluation"} <= found


def test_a_method_of_several_stages_has_a_profile_of_each(bench: Bench) -> None:
    key = bench.register("hsa:noise_rate=0.3")
    assert bench.execute(key).status == "done"
    stages = {stage["stage"]: stage for stage in bench.profile(key)["stages"]}
    assert {"outside stages", "round1-history", "round1-correction", "train"} <= set(stages)
    assert stages["train"]["epochs"] == 3 and stages["train"]["samples"] > 0
    assert "evaluation" in stages["train"]["parts"] and stages["round1-history"]["parts"]["forward"] > 0


def test_a_stage_of_few_steps_is_traced_too(bench: Bench) -> None:
    key = bench.register("ce", epochs=1, batch_size=64)
    assert bench.execute(key).status == "done"
    assert {"aten::conv2d", "aten::addmm"} & names_in(bench.folder / "runs" / key / FOLDER / TRACE)


def test_a_killed_run_says_that_its_profile_is_of_the_last_attempt(bench: Bench) -> None:
    key = bench.register("killed")
    with pytest.raises(KeyboardInterrupt):
        bench.execute(key)
    assert read_profile(bench.folder / "runs" / key) is None
    assert profiling.part("data") is profiling.part("forward")  # nothing listens any more
    assert bench.execute(key).status == "done"
    profile = bench.profile(key)
    assert profile["resumed_epochs"] == 1
    (stage,) = [stage for stage in profile["stages"] if stage["stage"] == "train"]
    n = (bench.store("runs").result(key) or {})["data"]["n_train"]
    assert (stage["epochs"], stage["resumed"], stage["samples"]) == (3, 1, 2 * n)


def test_a_run_that_was_not_trained_has_no_profile(bench: Bench) -> None:
    key = bench.register("shy")
    assert bench.execute(key).status == "skipped"
    assert not (bench.folder / "runs" / key / FOLDER).exists()
    key = bench.register("lost")
    assert bench.execute(key).status == "diverged"
    assert bench.profile(key)["parts"]["backward"] > 0


def test_a_profile_that_cannot_be_written_costs_no_result(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    key = bench.register("ce")
    (bench.folder / "runs" / key / FOLDER).write_text("in the way")
    assert bench.execute(key).status == "done"
    assert "the profile cannot be written" in caplog.text


def test_a_trace_that_fails_costs_the_trace_alone(bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def refuse(*arguments: Any, **options: Any) -> None:
        raise RuntimeError("another profiler\nis at work")

    monkeypatch.setattr(torch.autograd.profiler, "profile", refuse)
    key = bench.register("ce")
    assert bench.execute(key).status == "done"
    assert bench.profile(key)["trace"] is None
    assert "no trace: torch.profiler says RuntimeError: another profiler is at work" in caplog.text


def test_a_gpu_is_waited_for_while_it_is_profiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waited = []
    monkeypatch.setattr(torch.cuda, "synchronize", waited.append)
    profile = RunProfile(tmp_path)
    with profile.part("forward"):
        pass
    assert not waited
    profile.on_device(torch.device("cuda", 1))
    with profile.part("forward"):
        pass
    assert waited == [torch.device("cuda", 1)] * 2


def test_a_profile_travels_and_is_mirrored(bench: Bench) -> None:
    key = bench.register("ce")
    bench.execute(key)
    folder = bench.folder / "runs" / key
    files, left_out = pack_run(folder)
    assert f"{FOLDER}/{PROFILE}" in files and f"{FOLDER}/{TRACE}" in files and not left_out
    other = bench.store("other")
    other.register(bench.store("runs").spec(key))
    with other.lease(key) as lease:
        unpack_run(files, other, key, lease)
    assert bench.profile(key, "other") == bench.profile(key)

    record = read_record(folder)
    points = {point.name: point.value for point in record.points}
    assert points["profile/backward"] == bench.profile(key)["parts"]["backward"]
    assert points["profile/samples_per_second"] > 0
    assert folder / FOLDER / PROFILE in record.artifacts


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{}", '{"schema": 1, "parts": {"data": "x"}}', '{"schema": 1, "parts": {"data": NaN}}', '{"schema": 9}'),
        *('{"schema": 1, "parts": {"data": 1' + zeros + "}}" for zeros in ("0" * 400, "e400")),
    ],
)
def test_a_damaged_profile_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / PROFILE).write_text(text)
    assert read_profile(tmp_path) is None
