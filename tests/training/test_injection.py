"""Wrong labels of our own: the kind, the number, the draw, and where nothing can be injected."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from benchmark.errors import BenchmarkError
from benchmark.registry import Registry
from benchmark.training.context import RunContext
from benchmark.training.injection import inject
from benchmark.training.oracle import Oracle


def shifting(*, known: bool = True) -> Any:
    """A run whose noise makes every label the next one, if its kind is known."""

    def imitate(labels: np.ndarray, rate: float, rng: np.random.Generator) -> np.ndarray:
        if not known:
            raise LookupError("the kind of noise is unknown")
        return (labels + 1) % 3

    return SimpleNamespace(rng=lambda *names: np.random.default_rng(0), oracle=SimpleNamespace(imitate_noise=imitate))


@pytest.mark.parametrize("kind", ["auto", "same"])
def test_the_same_kind_where_it_is_known(kind: str) -> None:
    assert inject(shifting(), torch.tensor([0, 1, 2]), 0.5, 3, "x", kind).tolist() == [1, 2, 0]


@pytest.mark.parametrize(("kind", "known"), [("auto", False), ("symmetric", True)])
def test_symmetric_with_the_exact_count_otherwise(kind: str, known: bool) -> None:
    labels = torch.arange(1200) % 3
    noisy = inject(shifting(known=known), labels, 0.25, 3, "x", kind)
    assert int((noisy != labels).sum()) == 300
    assert torch.bincount((noisy - labels) % 3, minlength=3)[1:].tolist() == pytest.approx([150, 150], abs=30)
    assert noisy.min() >= 0 and noisy.max() < 3


def test_insisting_on_an_unknown_kind_is_an_error_of_one_line() -> None:
    with pytest.raises(
        BenchmarkError, match=r"^inject=same cannot be had: the kind of noise is unknown; use inject=auto or inject=symmetric$"
    ):
        inject(shifting(known=False), torch.arange(3), 0.25, 3, "x", "same")


@pytest.mark.parametrize("labels", [torch.zeros(0, dtype=torch.long), torch.tensor([1])])
def test_nothing_to_inject_into(labels: torch.Tensor) -> None:
    assert inject(shifting(known=False), labels, 0.4, 3, "x").shape == labels.shape


def test_of_one_class_no_label_can_be_wrong() -> None:
    assert inject(shifting(known=False), torch.zeros(10, dtype=torch.long), 0.4, 1, "x").tolist() == [0] * 10


def test_a_draw_has_a_name_and_the_oracle_is_metered(context: Callable[..., RunContext]) -> None:
    labels, noise = torch.arange(40) % 3, Registry().load("noise", "symmetric")
    run = context(oracle=Oracle(None, noise(noise.Params(rate=0.2)), 0.2, 3, ("a", "b", "c")))
    noisy = inject(run, labels, 0.25, 3, "one")
    assert int((noisy != labels).sum()) == 10 and run.oracle.used == {"noise_kind": 1}
    assert torch.equal(noisy, inject(run, labels, 0.25, 3, "one"))
    assert not torch.equal(noisy, inject(run, labels, 0.25, 3, "two"))
    assert torch.equal(inject(run, labels, 0.0, 3, "one"), labels) and run.oracle.used == {"noise_kind": 3}
