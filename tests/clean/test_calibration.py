"""The formulas of the verdict, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark.clean.bootstrap import Counts, estimate, interval_of, replicate, wilson
from benchmark.clean.calibration import bins_of, edges_for, monotone_density, posterior, share_wrong, trust
from benchmark.clean.stacking import consensus, cross_fitted, fit_each, fit_weights, folds_of, positions
from benchmark.clean.suggestions import confusion, pooled, suggest


def test_positions_count_the_reference_below():
    assert positions(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 3.0])) == pytest.approx([0.25, 0.5, 0.75])
    assert positions(np.array([0.0, 2.5, 9.0]), np.array([1.0, 2.0, 3.0])) == pytest.approx([0.125, 0.625, 0.875])


def test_the_consensus_is_the_mean_of_logits():
    place = np.array([[0.5, 0.9], [0.5, 0.5]])
    assert consensus(np.array([0.5, 0.5]), place) == pytest.approx([0.5, 0.75])  # odds 9 and 1: root 3, and 3/4


def test_weights_are_equal_without_evidence_and_go_to_who_knows():
    rng = np.random.default_rng(0)
    positive = np.arange(1000) < 100
    knows = positions(positive * 3 + rng.normal(size=1000), rng.normal(size=1000))
    guesses = rng.random(1000) * 0.98 + 0.01
    assert fit_weights(np.stack([knows, guesses]), np.zeros(1000, dtype=bool)).tolist() == [0.5, 0.5]
    many = fit_weights(np.stack([knows, guesses]), positive)
    few = fit_weights(np.stack([knows, guesses])[:, 98:], positive[98:])
    assert many[0] > 0.9
    assert many.min() >= 0
    assert 0.5 < few[0] < many[0]
    assert few.sum() == pytest.approx(1)


def test_held_out_samples_have_weights_of_their_own():
    rng = np.random.default_rng(0)
    positive, held = np.arange(2000) % 10 == 0, np.arange(2000) >= 1000
    used = np.ones(2000, dtype=bool)
    knows = positions(positive * 3 + rng.normal(size=2000), rng.normal(size=2000))
    guesses = rng.random(2000) * 0.98 + 0.01
    place = np.where(held, np.stack([guesses, knows]), np.stack([knows, guesses]))  # each method is good at one kind
    weights = fit_each(place, positive, used, held)
    assert weights[0] == pytest.approx([0.5, 0.5], abs=0.1)  # of all together
    assert weights[1, 1] > 0.8
    without = fit_each(place, positive & ~held, used, held)  # no flip is held out: the same
    assert without[1].tolist() == without[0].tolist()
    ranked = cross_fitted(place, positive, used, held, folds_of(positive, rng))
    assert ranked[held & positive].mean() > ranked[~held & positive].mean() + 0.02


def test_folds_share_the_flips_evenly():
    positive = np.arange(100) < 11
    fold = folds_of(positive, np.random.default_rng(0))
    assert sorted(np.bincount(fold[positive], minlength=5)) == [2, 2, 2, 2, 3]
    assert np.bincount(fold).max() - np.bincount(fold).min() <= 2


def test_bins_grow_finer_towards_the_suspicious_end():
    edges = edges_for(30)
    assert edges[:3] == pytest.approx([1, 0.8, 0.64])
    assert edges[-1] == 0
    assert edges[-2] == pytest.approx(0.8**10)  # the next, 0.086, is below 3/30
    found = bins_of(np.array([0.0, 0.1, 0.21, 0.95]), edges)
    assert found.tolist() == [0, 0, 1, len(edges) - 2]


def test_the_adjusted_count_by_hand():
    # 100 labels, judged alike by both runs: 20 are above the cut that finds 70 % of the flips; K is large
    joint = np.array([[80.0, 0.0], [0.0, 20.0]])
    flips = np.array([30.0, 70.0])
    assert share_wrong(joint, flips, 10**9, recall=0.7) == pytest.approx(20 / 70, abs=1e-6)
    # 10 of the labels that are low in the first runs are above the cut: π = (u - φ)/(r - φ) with φ = 10/80 while π is at most 20 %
    joint = np.array([[70.0, 10.0], [10.0, 10.0]])
    rate = share_wrong(joint, flips, 10**9, recall=0.7)
    false = (20 - 10 * rate * 100 / 20) / (100 - rate * 100) if rate < 0.2 else 10 / 80
    assert rate == pytest.approx((0.2 - false) / (0.7 - false), abs=1e-3)
    assert rate < 20 / 70


def test_flips_that_right_a_label_raise_the_share():
    joint, flips = np.array([[80.0, 0.0], [0.0, 20.0]]), np.array([30.0, 70.0])
    # κ = π/(K - 1) of the flips are right and below the cut: recall of the others is 0.7/(1 - κ), so π = 0.2·(1 - π/3)/0.7
    assert share_wrong(joint, flips, 4, recall=0.7) == pytest.approx((2 / 7) / (1 + 2 / 21), abs=1e-4)


def test_without_a_flip_nothing_is_known():
    assert share_wrong(np.eye(2), np.zeros(2), 4, recall=0.5) == 1.0


def test_the_density_grows_and_has_a_mean_of_one():
    density = monotone_density(np.array([20.0, 10.0, 70.0]), np.array([50.0, 30.0, 20.0]))
    assert (np.diff(density) >= 0).all()
    assert density[:2] == pytest.approx([30 / 80] * 2, abs=0.01)
    assert density[2] == pytest.approx(3.5, abs=0.02)
    righted = monotone_density(np.array([20.0, 10.0, 70.0]), np.array([50.0, 30.0, 20.0]), 0.1)
    assert righted[2] == pytest.approx(3.4 / 0.9, abs=0.02)


def test_what_stands_out_is_believed_less():
    everything = np.array([90_000.0, 10_000.0])
    assert trust(0.1, everything, np.array([1_000.0, 9_000.0])) == 1.0  # a tenth of all is above, and may all be wrong
    assert trust(0.01, everything, np.array([1_000.0, 9_000.0])) == 1.0  # 10 times π is above: none stands out
    assert trust(0.2, everything, np.array([0.0, 10_000.0])) == pytest.approx(0.5, abs=0.02)  # half of the flips at most could be there
    assert posterior(0.2, np.array([0.1, 2.0, 9.0]), 0.5) == pytest.approx([0.01, 0.2, 0.5])


def test_a_row_with_few_flips_borrows():
    joint = np.zeros((2, 2, 2))
    joint[0] = [[800, 0], [0, 200]]
    joint[1] = [[80, 0], [0, 20]]
    alone = estimate(Counts(joint, np.array([[10.0, 90.0], [0.0, 0.0]]), 4))
    assert alone.wrong[1] == pytest.approx(alone.wrong[0], abs=0.02)
    assert 0 < alone.rate <= 0.5


def test_replicates_vary_about_the_estimate():
    joint = np.zeros((2, 2, 2))
    joint[0] = [[800, 0], [0, 200]]
    counts = Counts(joint, np.array([[10, 90], [0, 0]]), 4)
    rates = [one.rate for one in replicate(counts, np.random.default_rng(0))]
    assert len(rates) == 400
    assert min(rates) < estimate(counts).rate < max(rates)


def test_intervals_by_hand():
    assert wilson(5, 10) == pytest.approx((0.5, 0.2366, 0.7634), abs=1e-4)
    assert wilson(10, 10) == pytest.approx((1.0, 0.7225, 1.0), abs=1e-4)
    assert wilson(0, 0)[1:] == (0.0, 1.0)
    value, low, high = interval_of(0.5, np.full(4000, 0.5), 100, np.random.default_rng(0))
    assert (value, low, high) == (0.5, pytest.approx(0.4, abs=0.011), pytest.approx(0.6, abs=0.011))


def test_forecasts_are_pooled_by_weight():
    found = pooled(np.array([[0], [2]]), np.array([[0.8], [0.6]]), np.array([0.75, 0.25]), 3)
    assert found[0] == pytest.approx([0.75 * 0.8 + 0.25 * 0.2, 0.75 * 0.1 + 0.25 * 0.2, 0.75 * 0.1 + 0.25 * 0.6])


def test_the_given_class_is_not_suggested_where_it_is_likely_wrong():
    probability = np.array([[0.7, 0.2, 0.1], [0.7, 0.2, 0.1]])
    best, sure = suggest(probability, np.array([0, 0]), np.array([0.5, 0.51]))
    assert best.tolist() == [0, 1]
    assert sure.tolist() == [0.7, 0.2]


def test_the_confusion_shares_out_what_is_wrong():
    probability = np.array([[0.6, 0.3, 0.1], [0.0, 1.0, 0.0]])
    counts = confusion(probability, np.array([0, 1]), np.array([0.8, 0.4]))
    assert counts[0] == pytest.approx([0.2, 0.6, 0.2])
    assert counts[1] == pytest.approx([0.2, 0.6, 0.2])  # no word of the others: evenly
