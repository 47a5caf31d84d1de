"""The two-component mixture that decides where a method does not."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark.training.mixture import lower_component


def test_two_clusters_are_told_apart_at_any_scale() -> None:
    rng = np.random.default_rng(0)
    low, high = rng.normal(0.1, 0.03, 40), rng.normal(0.9, 0.05, 160)
    scores = np.concatenate([low, high])
    for factor, shift in ((1.0, 0.0), (1e-6, 0.0), (1e6, -5e5)):
        assert lower_component(scores * factor + shift).tolist() == [True] * 40 + [False] * 160


@pytest.mark.parametrize("scores", [[], [0.4], [0.4] * 20, [0.4, 0.4 + 1e-12]])
def test_scores_that_hardly_differ_accuse_nobody(scores: list[float]) -> None:
    assert lower_component(np.array(scores)).tolist() == [False] * len(scores)


def test_it_repeats() -> None:
    scores = np.random.default_rng(1).random(100)
    assert np.array_equal(lower_component(scores), lower_component(scores))
