"""Estimates of the noise rate: exact inverses, data with a known answer, and what is metered."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.api import Noise, Samples, TrainingData
from benchmark.errors import BenchmarkError
from benchmark.registry import Registry
from benchmark.training.context import RunContext
from benchmark.training.noise_rate import HIGHEST, out_of_fold_probabilities, rate_from_agreement
from benchmark.training.oracle import Oracle

REGISTRY = Registry()


def noise(name: str, **values: object) -> Noise:
    cls = REGISTRY.load("noise", name)
    made: Noise = cls(cls.Params(**values))
    return made


@settings(deadline=None)
@given(st.floats(0, 1), st.integers(2, 100))
def test_the_agreement_of_a_rate_leads_back_to_it(share: float, classes: int) -> None:
    rate = share * min(0.95, (classes - 1) / classes)  # the smaller root
    agreement = (1 - rate) ** 2 + rate**2 / (classes - 1)
    assert rate_from_agreement(agreement, classes) == pytest.approx(rate, abs=1e-6)


@settings(deadline=None)
@given(st.floats(0, 1), st.integers(2, 100))
def test_any_agreement_gives_a_rate(agreement: float, classes: int) -> None:
    assert 0 <= rate_from_agreement(agreement, classes) <= min(HIGHEST, (classes - 1) / classes) + 1e-9


def test_agreement_at_the_ends() -> None:
    assert rate_from_agreement(1.0, 10) == 0
    assert rate_from_agreement(0.1, 10) == pytest.approx(0.9)
    assert rate_from_agreement(0.0, 10) == pytest.approx(0.9)


def separable(rate: float, n: int = 240, classes: int = 3) -> tuple[TrainingData, np.ndarray]:
    """Images of three brightnesses, and ``rate`` of the labels wrong."""
    rng = np.random.default_rng(1)
    truth = np.arange(n) % classes
    images = rng.normal(40 + 80 * truth[:, None, None, None], 10, (n, 1, 8, 8)).clip(0, 255).astype(np.uint8)
    labels = noise("symmetric", rate=rate).apply(Samples(truth, classes), rng)
    return TrainingData(torch.from_numpy(images), torch.from_numpy(labels), classes, ("a", "b", "c")), truth


@pytest.mark.parametrize(
    ("setting", "rate", "found"), [("estimate", 0.0, 0.0), ("estimate", 0.3, 0.3), ("incv", 0.0, 0.0), ("incv", 0.3, 0.2)]
)
def test_estimates_on_separable_data(context: Callable[..., RunContext], setting: str, rate: float, found: float) -> None:
    """INCV takes networks for granted that learn the wrong labels; one that does not agrees with 1 - r, and r seems lower."""
    data, _ = separable(rate)
    run = context(data=data, epochs=16, batch_size=16, lr=3e-3, augmentation="none")
    assert run.noise_rate(setting) == pytest.approx(found, abs=0.06)
    assert not run.oracle.used


def test_folds_are_stratified_and_out_of_fold(context: Callable[..., RunContext], monkeypatch: pytest.MonkeyPatch) -> None:
    run = context(n=30)
    labels = torch.arange(30) % 3
    trained: list[torch.Tensor] = []
    predicted: list[torch.Tensor] = []

    def train(run: RunContext, stage: str, indices: torch.Tensor, *_: object, **__: object) -> None:
        trained.append(indices)

    def predict(self: RunContext, networks: object, indices: torch.Tensor) -> torch.Tensor:
        predicted.append(indices)
        return indices.float().view(-1, 1).expand(-1, 3)

    monkeypatch.setattr("benchmark.training.noise_rate.train_cross_entropy", train)
    monkeypatch.setattr(RunContext, "class_probabilities", predict)
    found = out_of_fold_probabilities(run, torch.arange(30), labels, folds=3, name="x")
    assert torch.equal(found[:, 0], torch.arange(30).float())  # every prediction at its own place
    for inside, outside in zip(trained, predicted, strict=True):
        assert sorted([*inside.tolist(), *outside.tolist()]) == list(range(30))
        assert torch.bincount(labels[outside], minlength=3).max() - torch.bincount(labels[outside], minlength=3).min() <= 1


def test_tiny_and_odd_label_sets(context: Callable[..., RunContext]) -> None:
    from benchmark.training.noise_rate import confident_joint, noisy_cross_validation

    run = context()
    none, some = torch.arange(0), torch.arange(12)
    assert confident_joint(run, none, none, 3) == 0.0
    assert noisy_cross_validation(run, none, none, 3) == 0.0
    assert confident_joint(run, some, torch.zeros(12, dtype=torch.int64), 3, name="one") == 0.0  # a single class
    assert 0 <= confident_joint(run, some, torch.arange(12) % 2 * 2, 3, name="gap") <= HIGHEST  # class 1 has no label


def asked(context: Callable[..., RunContext], setting: float | str, kind: Noise, rate: float | None) -> tuple[float, dict[str, int]]:
    run = context(epochs=1, oracle=Oracle(None, kind, rate, 3, ("a", "b", "c")))
    return run.noise_rate(setting), dict(run.oracle.used)


def test_what_a_setting_asks_of_the_oracle(context: Callable[..., RunContext]) -> None:
    injected = noise("symmetric", rate=0.3)
    assert asked(context, 0.25, injected, 0.28) == (0.25, {})
    assert asked(context, "auto", injected, 0.28) == (0.28, {"noise_rate": 1})
    assert asked(context, "oracle", injected, 0.28) == (0.28, {"noise_rate": 1})
    assert asked(context, "estimate", injected, 0.28)[1] == {}
    assert asked(context, "incv", injected, 0.28)[1] == {}


@pytest.mark.parametrize("kind", ["human", "none"])
def test_auto_estimates_where_nothing_was_injected(context: Callable[..., RunContext], kind: str) -> None:
    """A user's own labels with noise ``none`` may be wrong as they came: their rate is not 0."""
    assert asked(context, "auto", noise(kind), 0.0)[1] == {}


def test_the_oracle_of_data_without_a_reference_has_no_rate(context: Callable[..., RunContext]) -> None:
    with pytest.raises(
        BenchmarkError, match=r"^noise_rate=oracle cannot be had: these data have no reference labels; use noise_rate=estimate or a number$"
    ):
        asked(context, "oracle", noise("human"), None)
