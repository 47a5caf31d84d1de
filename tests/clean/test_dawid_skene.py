"""Dawid and Skene's steps by hand, and what they find of simulated raters."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark.clean.dawid_skene import Skill, fit_skill, maximise, votes
from benchmark.clean.raters import majority


def simulated(rates, n=1500, classes=4, seed=0):
    """True classes, and labels of raters who err evenly and on their own."""
    rng = np.random.default_rng(seed)
    true = rng.integers(0, classes, n)
    wrong = (true[:, None] + rng.integers(1, classes, (n, len(rates)))) % classes
    return true, np.where(rng.random((n, len(rates))) < rates, wrong, true[:, None])


def test_votes_are_shares_of_those_who_answered():
    found = votes(np.array([[0, 1, 1], [2, -1, -1], [-1, -1, -1]]), 3)
    assert found == pytest.approx(np.array([[1 / 3, 2 / 3, 0], [0, 0, 1], [1 / 3, 1 / 3, 1 / 3]]))


def test_the_maximisation_by_hand():
    labels = np.array([[0, 0, 1], [1, 1, -1], [1, 0, 0]])
    posterior = np.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]])
    skill = maximise(labels, posterior, strength=0)
    assert skill.prior == pytest.approx([0.5, 0.5], abs=1e-4)
    # rater 0 of true class 0: says 0 of the first sample (weight 1), 1 of the third (weight ½)
    assert skill.confusion[0] == pytest.approx(np.array([[2 / 3, 1 / 3], [0, 1]]), abs=1e-4)
    assert skill.confusion[1] == pytest.approx(np.array([[1, 0], [1 / 3, 2 / 3]]), abs=1e-4)
    # rater 2 did not answer the second sample: of class 1 there is the third alone, half of it
    assert skill.confusion[2] == pytest.approx(np.array([[1 / 3, 2 / 3], [1, 0]]), abs=1e-4)


def test_the_expectation_by_hand():
    good, bad = np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([[0.6, 0.4], [0.4, 0.6]])
    skill = Skill(np.array([0.25, 0.75]), np.stack([good, bad]))
    found = skill.posterior(np.array([[0, 1], [-1, 0], [-1, -1]]))
    assert found[0] == pytest.approx(np.array([0.25 * 0.9 * 0.4, 0.75 * 0.2 * 0.6]) / 0.18)  # 0.09 and 0.09
    assert found[1] == pytest.approx(np.array([0.25 * 0.6, 0.75 * 0.4]) / 0.45)
    assert found[2] == pytest.approx([0.25, 0.75])


def test_a_row_is_drawn_towards_what_all_raters_do():
    labels = np.array([[0, 0, 1], [1, 1, 1]])
    skill = maximise(labels, np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]), strength=1)
    assert skill.confusion.sum(axis=2) == pytest.approx(np.ones((3, 3)))
    assert (skill.confusion > 0).all()
    unseen = skill.confusion[:, 2]  # nobody saw this class: the share of right answers, evenly wrong
    assert unseen[0, 2] > unseen[2, 2]
    assert unseen[0, 0] == pytest.approx(unseen[0, 1])
    assert skill.confusion[0, 0, 1] > skill.confusion[0, 0, 2]  # the third rater took class 0 for 1


def test_good_and_bad_raters_are_told_apart_and_the_share_of_wrong_majorities_is_known():
    rates = (0.1, 0.2, 0.5)
    true, labels = simulated(rates)
    labels[np.random.default_rng(1).random(labels.shape) < 0.2] = -1
    skill = fit_skill(labels, 4)
    for rater, rate in enumerate(rates):
        assert 1 - np.trace(skill.confusion[rater]) / 4 == pytest.approx(rate, abs=0.04)
    given = majority(labels)
    rows = given >= 0
    said = 1 - skill.posterior(labels)[rows, given[rows]]
    assert said.mean() == pytest.approx((given != true)[rows].mean(), abs=0.025)


def test_two_raters_share_one_table():
    labels = simulated((0.05, 0.35))[1]
    skill = fit_skill(labels, 4)
    assert (skill.confusion[0] == skill.confusion[1]).all()
    assert 1 - np.trace(skill.confusion[0]) / 4 == pytest.approx(0.2, abs=0.04)  # their mean
    differ = labels[:, 0] != labels[:, 1]
    assert np.abs(skill.posterior(labels)[differ, labels[differ, 0]] - 0.5).mean() < 0.1


def test_raters_who_agree_and_a_single_answer_have_finite_shares():
    for labels in (np.array([[0, 0], [1, 1]] * 5), np.array([[0, -1, -1], [-1, 1, -1]])):
        skill = fit_skill(labels, 3)
        found = skill.posterior(labels)
        assert np.isfinite(found).all()
        assert (found.argmax(axis=1) == majority(labels)).all()
