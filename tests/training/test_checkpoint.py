"""Checkpoints are whole, plain and readable without running code."""

from __future__ import annotations

import collections
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmark.errors import BenchmarkError
from benchmark.training import checkpoint

CPU = torch.device("cpu")


def save(path: Path, payload: dict[Any, Any]) -> None:
    """As the writer of a run does."""
    checkpoint.write(path, checkpoint.plain(payload, "checkpoint"))


def draws() -> list[float]:
    return [random.random(), float(np.random.normal()), float(torch.rand(()))]


def test_a_payload_comes_back(tmp_path: Path) -> None:
    payload = {"a": torch.arange(3), "b": [1, 2.5, "x", None, True], "c": {"d": (1, torch.ones(2))}, 7: collections.OrderedDict(e=1)}
    save(tmp_path / "x.pt", payload)
    found = checkpoint.load(tmp_path / "x.pt", CPU)
    assert found is not None
    assert torch.equal(found["a"], payload["a"]) and found["b"] == payload["b"] and found["c"]["d"][0] == 1 and found[7] == {"e": 1}  # type: ignore[arg-type, index]
    assert [path.name for path in tmp_path.iterdir()] == ["x.pt"]


def test_numpy_scalars_become_plain_numbers(tmp_path: Path) -> None:
    save(tmp_path / "x.pt", {"state": {"rate": np.float64(0.25), "count": [np.int64(3)], "flag": np.bool_(True)}})
    found = checkpoint.load(tmp_path / "x.pt", CPU)
    assert found == {"state": {"rate": 0.25, "count": [3], "flag": True}}


@pytest.mark.parametrize("value", [np.zeros(3), {1, 2}, Path("x"), object()])
def test_what_could_not_be_read_again_is_refused_by_name(tmp_path: Path, value: Any) -> None:
    with pytest.raises(BenchmarkError, match=rf"checkpoint\.state\.mine is a {type(value).__name__}"):
        save(tmp_path / "x.pt", {"state": {"mine": value}})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"", b"garbage", None])
def test_a_damaged_file_counts_as_none(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "x.pt"
    assert checkpoint.load(path, CPU) is None
    save(path, {"a": torch.zeros(100)})
    path.write_bytes(path.read_bytes()[:-200] if content is None else content)
    assert checkpoint.load(path, CPU) is None


def test_a_pickle_that_runs_code_is_not_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"a": Evil()}, tmp_path / "x.pt")
    assert checkpoint.load(tmp_path / "x.pt", CPU) is None
    assert not (tmp_path / "ran").exists()


def test_all_generators_are_restored(tmp_path: Path) -> None:
    mine = torch.Generator().manual_seed(5)
    checkpoint.seed_generators(2**62 + 1)
    np.random.normal()  # leaves a cached second value behind
    save(tmp_path / "x.pt", checkpoint.generator_states(CPU, {"mine": mine}))
    expected = draws(), torch.rand(3, generator=mine)
    states = checkpoint.load(tmp_path / "x.pt", CPU)
    assert states is not None
    other = torch.Generator()
    assert checkpoint.restore_generators(states, CPU, {"mine": other}) == {}
    assert draws() == expected[0] and torch.equal(torch.rand(3, generator=other), expected[1])
    assert set(checkpoint.restore_generators(states, CPU, {})) == {"mine"}


def test_a_seed_sets_all_three() -> None:
    checkpoint.seed_generators(11)
    first = draws()
    checkpoint.seed_generators(11)
    assert draws() == first
    checkpoint.seed_generators(12)
    assert not set(draws()) & set(first)
