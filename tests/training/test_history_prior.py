"""The prior from training histories: ranks by hand, wrong labels of our own, a detector that reads histories, odd cases."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from benchmark.training.context import RunContext
from benchmark.training.history_prior import detect, history_prior, rank


def histories(n: int = 200, epochs: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    """Right labels rise early, wrong ones late; every fourth is wrong."""
    rng = np.random.default_rng(0)
    wrong = np.arange(n) % 4 == 0
    start = np.where(wrong, 11, 4)[:, None]
    curves = 1 / (1 + np.exp(-(np.arange(epochs) - start))) + rng.normal(0, 0.05, (n, epochs))
    return torch.from_numpy(curves.clip(0, 1)).float(), torch.from_numpy(~wrong)


@pytest.mark.parametrize(
    ("rate", "noisy", "unsure", "easy"),
    [(0.4, [3, 0], [7, 1, 9, 4, 5], [2, 6, 8]), (0.0, [], [3, 0, 7, 1, 9], [4, 5, 2, 6, 8]), (0.95, [3, 0, 7, 1], [9, 4, 5, 2, 6], [8])],
)
def test_ranks(rate: float, noisy: list[int], unsure: list[int], easy: list[int]) -> None:
    """The lowest r/2 are noisy, the highest (1 − r)/2 easy, the half between them unsure."""
    means = torch.tensor([0.1, 0.3, 0.7, 0.0, 0.5, 0.6, 0.8, 0.2, 0.9, 0.4])
    found = rank(means, rate)
    assert [found.noisy.tolist(), found.unsure.tolist(), found.easy.tolist()] == [noisy, unsure, easy]


def test_the_detector_reads_the_shape_of_a_history() -> None:
    known, right = histories()
    asked, truth = histories(n=80)
    said = detect(known, right, asked, seed=1)
    assert said.shape == (80,) and ((said > 0.5) == truth).float().mean() > 0.95
    assert torch.equal(said, detect(known, right, asked, seed=1))
    assert not torch.equal(said, detect(known, right, asked, seed=2))


def test_the_detector_leaves_the_global_generator_alone() -> None:
    known, right = histories(n=20)
    before = torch.get_rng_state()
    detect(known, right, known, seed=1)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(("answers", "said"), [([True] * 4, 1.0), ([False] * 4, 0.0), ([], 0.5)])
def test_one_answer_is_given_to_everybody(answers: list[bool], said: float) -> None:
    found = detect(torch.rand(len(answers), 8), torch.tensor(answers, dtype=torch.bool), torch.rand(3, 8), seed=0)
    assert found.tolist() == [said] * 3


def test_the_prior_of_a_run(context: Callable[..., RunContext]) -> None:
    run = context(n=60, epochs=4)
    data = run._data
    prior = history_prior(run, data, rate=0.25, count=2)
    assert prior.clean.shape == (2, 60)
    assert ((prior.clean >= 0) & (prior.clean <= 1)).all()
    assert int(prior.easy.sum()) == 60 - int(60 * 0.625)
    assert (prior.clean[:, prior.easy] == 1).all()
    assert int((prior.clean[0] == 0).sum()) >= int(60 * 0.125)
    wrong = torch.arange(60) % 4 == 3  # of these data
    assert prior.clean.mean(dim=0)[~wrong].mean() > prior.clean.mean(dim=0)[wrong].mean()


def test_without_wrong_labels_nobody_is_doubted(context: Callable[..., RunContext]) -> None:
    run = context(n=24, epochs=2)
    assert (history_prior(run, run._data, rate=0.0).clean == 1).all()
