"""Exclusive times by a clock that the test moves, and calls that do nothing while nobody listens."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import torch

from benchmark import profiling
from benchmark.profiling import active
from benchmark.profiling.recorder import RunProfile
from benchmark.profiling.stopwatch import PARTS, Stopwatch
from benchmark.training.backbones import build_network


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now, self.reads = 100.0, 0

    def __call__(self) -> float:
        self.reads += 1
        return self.now


def test_inner_parts_stop_the_clock_of_outer_ones() -> None:
    clock = Clock()
    watch = Stopwatch(clock, elapsed=4.0)
    clock.now += 1
    watch.turn_to("method")
    watch.enter("data")
    clock.now += 2
    watch.enter("augmentation")
    clock.now += 3
    watch.leave()
    clock.now += 5
    watch.leave()
    clock.now += 7
    watch.charge()
    assert watch.totals() == {"data": 7.0, "augmentation": 3.0, "method": 7.0, "other": 5.0}
    assert sum(watch.totals().values()) == clock.now - 100.0 + 4.0
    assert list(watch.totals()) == [part for part in PARTS if part in watch.totals()]


def test_what_an_evaluation_does_is_evaluation() -> None:
    clock = Clock()
    watch = Stopwatch(clock)
    watch.enter("evaluation")
    watch.enter("forward")
    clock.now += 2
    watch.enter("profiling")
    clock.now += 1
    watch.leave()
    watch.leave()
    clock.now += 3
    watch.leave()
    watch.charge()
    assert watch.totals() == {"evaluation": 5.0, "profiling": 1.0}


def test_a_part_inside_its_like_reads_no_clock() -> None:
    clock = Clock()
    watch = Stopwatch(clock)
    assert watch.enter("forward")
    before = clock.reads
    assert not watch.enter("forward")
    clock.now += 2
    watch.leave()
    assert clock.reads == before
    watch.leave()
    assert watch.totals() == {"forward": 2.0}


def test_stages_have_seconds_of_their_own() -> None:
    clock = Clock()
    watch = Stopwatch(clock)
    for stage, seconds in (("one", 1.0), ("", 2.0), ("two", 4.0)):
        watch.stage(stage)
        clock.now += seconds
        with_part = stage == "two"
        if with_part:
            watch.enter("backward")
            clock.now += 8
            watch.leave()
    watch.charge()
    assert {stage: parts for stage, parts in watch.seconds.items() if stage} == {
        "one": {"other": 1.0},
        "two": {"other": 4.0, "backward": 8.0},
    }
    assert watch.seconds[""]["other"] == 2.0


def test_leaving_more_often_than_entering_is_harmless() -> None:
    watch = Stopwatch(Clock())
    watch.leave()
    assert watch.current == "other"


# ---------------------------------------------------------------------------------------------------- nobody listens


def test_without_a_profile_nothing_is_done(tmp_path: Path) -> None:
    network = build_network("cnn_small", channels=1, size=8, num_classes=2)
    passes = iter([1, 2])
    with profiling.recording(False, tmp_path):
        profiling.watch([network])
        assert profiling.part("forward") is profiling.part("backward")  # one object that does nothing
        assert profiling.batches(lambda: passes)() is passes
        profiling.write(run_key="x")
    assert not list(tmp_path.iterdir())
    assert all(not module._forward_hooks and not module._forward_pre_hooks for module in network.modules())


def test_an_error_ends_the_profile_and_its_parts(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="oh"), profiling.recording(True, tmp_path):
        profile = active._process.profile
        assert profile is not None
        with pytest.raises(KeyError), profiling.part("data"):
            raise KeyError
        assert profile.watch.current == "other"
        raise ValueError("oh")
    assert active._process.profile is None


def test_other_threads_do_not_count(tmp_path: Path) -> None:
    with profiling.recording(True, tmp_path):
        profile = active._process.profile
        assert profile is not None
        found = []
        thread = threading.Thread(target=lambda: found.append(profiling.part("checkpoint") is active._NOTHING))
        thread.start()
        thread.join()
        assert found == [True]
        assert profile.watch.current == "other"


# ---------------------------------------------------------------------------------------------------------- networks


def _listen(monkeypatch: pytest.MonkeyPatch, folder: Path) -> list[str]:
    """Which parts begin."""
    begun: list[str] = []
    enter = RunProfile.enter
    monkeypatch.setattr(RunProfile, "enter", lambda self, name: (begun.append(name), enter(self, name))[1])
    return begun


@pytest.mark.parametrize("call", [lambda n, x: n(x), lambda n, x: n.features(x), lambda n, x: n.head(n.trunk(x))])
def test_forward_passes_are_seen_however_they_are_called(call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    network = build_network("cnn_small", channels=1, size=8, num_classes=2)
    begun = _listen(monkeypatch, tmp_path)
    with profiling.recording(True, tmp_path):
        profiling.watch([network])
        call(network, torch.zeros(2, 1, 8, 8))
        profile = active._process.profile
        assert profile is not None
        assert profile.watch.current == "other" and profile.watch.totals()["forward"] > 0
    assert set(begun) == {"forward"}


def test_a_copy_of_a_network_computes_its_own_weights(tmp_path: Path) -> None:
    """An average of a network is a deep copy: hooks must neither tie it to the first nor copy the profile."""
    import copy

    network = build_network("cnn_small", channels=1, size=8, num_classes=2)
    with profiling.recording(True, tmp_path):
        profiling.watch([network])
        twin = copy.deepcopy(network)
        with torch.no_grad():
            twin.head.bias += 1
        images = torch.zeros(2, 1, 8, 8)
        assert torch.equal(twin.eval()(images), network.eval()(images) + 1)
    assert torch.equal(twin(images), network(images) + 1)  # hooks outlive the profile and do nothing


def test_a_forward_pass_that_raises_leaves_no_open_part(tmp_path: Path) -> None:
    network = build_network("cnn_small", channels=1, size=8, num_classes=2)
    with profiling.recording(True, tmp_path):
        profiling.watch([network])
        with pytest.raises(RuntimeError):
            network(torch.zeros(2, 3, 8, 8))
        profile = active._process.profile
        assert profile is not None
        assert profile.watch.current == "other"
