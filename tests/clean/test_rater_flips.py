"""Known wrong labels that several raters have made."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from benchmark.clean.dawid_skene import Skill, fit_skill
from benchmark.clean.rater_flips import _forced, can_flip, draw_flips, suspicion_of
from benchmark.clean.rater_voice import VOICE, flips_of, share_by_answers, with_raters
from benchmark.clean.raters import disagreement, majority, tally
from benchmark.clean.scores import Scores
from tests.clean.test_dawid_skene import simulated


def table(rates=(0.1, 0.2, 0.5), missing=0.0, **more):
    """Truth and raters, of whom the first answers everything."""
    true, labels = simulated(rates, **more)
    gaps = np.random.default_rng(9).random(labels.shape) < missing
    gaps[:, 0] = False
    labels[gaps] = -1
    return true, tally([f"label_{r}" for r in range(labels.shape[1])], labels, true)


def scores_of(given, part):
    n = len(given)
    return Scores(
        ("aum",), given, part, np.full((1, n), 0.5), np.zeros((1, n), bool), given[None], np.ones((1, n)), np.full(n, np.nan), None
    )


@pytest.mark.parametrize("rates", [(0.1, 0.2, 0.5), (0.3,) * 5, (0.2, 0.2)])
def test_the_label_is_what_most_say_of_the_new_answers(rates):
    _, raters = table(rates, missing=0.3)
    given = raters.consensus
    flips = draw_flips(raters, given, 4, 0.1, np.random.default_rng(0))
    changed = flips.labels != given
    assert changed.sum() == 150
    assert (majority(flips.answers) == flips.labels).all()
    assert ((flips.answers >= 0) == (raters.labels >= 0)).all()  # the same people answered
    assert (flips.answers[~changed] == raters.labels[~changed]).all()


def test_flips_look_as_real_errors_do():
    """Shares of raters who contradict a real wrong label, a flip, and what a flip was when its raters' answers stayed as they were."""
    true, raters = table((0.2, 0.2, 0.2, 0.3, 0.3), n=6000)
    given = raters.consensus
    wrong = given != true
    flips = draw_flips(raters, given, 4, 0.1, np.random.default_rng(0))
    changed = flips.labels != given
    real, made = disagreement(raters, given)[wrong], disagreement(replace(raters, labels=flips.answers), flips.labels)[changed]
    assert made.mean() == pytest.approx(real.mean(), abs=0.03)
    for share in (0.4, 0.6):
        assert (made > share - 0.1).mean() == pytest.approx((real > share - 0.1).mean(), abs=0.12)
    assert disagreement(raters, flips.labels)[changed].mean() > real.mean() + 0.2


def test_the_voice_finds_flips_about_as_well_as_errors():
    for rates in ((0.1, 0.2, 0.5), (0.3,) * 5):
        true, raters = table(rates, n=4000)
        given, part = raters.consensus, np.zeros(4000, dtype=np.uint8)
        flips = flips_of(raters, given, 4, 0.1, 0)
        plain, check = with_raters(scores_of(given, part), scores_of(flips.labels, part), raters, flips, 4)
        assert plain.methods == check.methods == ("aum", VOICE)
        wrong, changed = given != true, flips.labels != given
        among = changed | ~wrong  # flips against labels that are right
        real, made = roc_auc_score(wrong, plain.suspicion[1]), roc_auc_score(changed[among], check.suspicion[1, among])
        assert 0.75 < real < 0.97
        assert made == pytest.approx(real, abs=0.06)
        naive = roc_auc_score(changed[among], disagreement(raters, flips.labels)[among])
        assert naive > real + 0.04  # so sure was the check while the answers stayed


def test_the_same_seed_gives_the_same_flips():
    _, raters = table()
    first, second, other = (flips_of(raters, raters.consensus, 4, 0.1, seed) for seed in (3, 3, 4))
    assert (first.labels == second.labels).all()
    assert (first.answers == second.answers).all()
    assert (first.labels != other.labels).any()


def test_the_share_by_answers_alone():
    true, raters = table(n=3000)
    given = raters.consensus
    raters.labels[:50] = -1  # says nothing of anything
    flips = flips_of(raters, given, 4, 0.1, 0)
    assert share_by_answers(raters, given, flips) == pytest.approx((given != true)[50:].mean(), abs=0.02)
    assert share_by_answers(raters, given, None) is None
    assert share_by_answers(None, given, flips) is None


def test_a_single_rater_takes_the_label_along():
    _, raters = table((0.15, 0.15, 0.15), n=900)
    raters.labels[:300, 1:] = -1
    raters = tally(raters.names, raters.labels, raters.labels[:, 0])
    flips = draw_flips(raters, raters.consensus, 4, 0.1, np.random.default_rng(0))
    alone = (flips.labels != raters.consensus)[:300]
    assert (flips.answers[:300, 0] == flips.labels[:300]).all()
    assert alone.sum() > 2 * (flips.labels != raters.consensus)[300:600].sum()  # nobody outvotes them: they are wrong more often
    shown = disagreement(replace(raters, labels=flips.answers), flips.labels)[:300]
    assert (shown == 0).all()


def test_samples_that_nobody_rated_stay():
    _, raters = table(n=600)
    raters.labels[:100] = -1
    raters = tally(raters.names, raters.labels, np.zeros(600, dtype=np.int64))
    flips = draw_flips(raters, raters.consensus, 4, 0.1, np.random.default_rng(0))
    assert (flips.labels[:100] == 0).all()
    assert (flips.labels != raters.consensus).sum() == 60


def test_the_voice_has_no_opinion_of_what_nobody_rated():
    _, raters = table(n=600)
    raters.labels[:100] = -1
    raters = tally(raters.names, raters.labels, np.arange(600) % 4)
    given, part = raters.consensus, np.zeros(600, dtype=np.uint8)
    flips = flips_of(raters, given, 4, 0.1, 0)
    for scores in with_raters(scores_of(given, part), scores_of(flips.labels, part), raters, flips, 4):
        assert not scores.flagged[1, :100].any() and scores.flagged[1].any()
        assert len(set(scores.suspicion[1, :100])) == 1
        assert scores.suspicion[1, 0] < scores.suspicion[1, scores.flagged[1]].min()
        assert (scores.suggested[1, :100] == given[:100]).all() and (scores.confidence[1, :100] == 0.25).all()


def test_a_class_of_which_few_are_rated_keeps_half_of_these():
    _, raters = table((0.1, 0.1, 0.1), n=900)
    given = raters.consensus
    unrated = np.flatnonzero(given == 2)[60:]
    raters.labels[unrated] = -1
    flips = draw_flips(tally(raters.names, raters.labels, given), given, 4, 0.4, np.random.default_rng(0))
    assert (flips.labels != given)[given == 2].sum() == 30


def test_what_the_answers_do_not_explain_is_not_modelled():
    few = table(n=200)[1]
    few.labels[:101] = -1
    assert not can_flip(few, few.consensus, 4)  # a second look at some of them
    few.labels[100] = few.consensus[100]
    assert can_flip(few, few.consensus, 4)
    true, raters = table(n=200)
    assert can_flip(raters, raters.consensus, 4)
    assert not can_flip(raters, true, 4)  # somebody else's labels
    assert flips_of(raters, true, 4, 0.1, 0) is None
    assert flips_of(None, true, 4, 0.1, 0) is None
    agreed = tally("ab", np.stack([true, true], axis=1), true)
    assert not can_flip(agreed, true, 4)
    assert not can_flip(raters, raters.consensus, 10_000)  # three tables of 100 million shares


def test_raters_who_never_differ_have_no_voice_and_labels_of_others_keep_the_share():
    true, raters = table(n=200)
    part = np.zeros(200, dtype=np.uint8)
    changed = true.copy()
    changed[:20] = (true[:20] + 1) % 4
    agreed = tally("ab", np.stack([true, true], axis=1), true)
    plain, check = with_raters(scores_of(true, part), scores_of(changed, part), agreed, None, 4)
    assert plain.methods == check.methods == ("aum",)
    plain, check = with_raters(scores_of(true, part), scores_of(changed, part), raters, None, 4)
    assert plain.methods == ("aum", VOICE)
    share = disagreement(raters, changed)
    assert (np.argsort(share, kind="stable") == np.argsort(check.suspicion[1], kind="stable")).all()


def test_a_part_that_was_left_as_it_is_keeps_its_answers():
    _, raters = table(n=1000)
    given, part = raters.consensus, (np.arange(1000) % 10 == 0).astype(np.uint8) * 2
    flips = flips_of(raters, given, 4, 0.1, 0)
    labels = np.where(part == 2, given, flips.labels)
    assert (flips.labels != labels).any()
    _, check = with_raters(scores_of(given, part), scores_of(labels, part), raters, flips, 4)
    answers = np.where((labels != given)[:, None], flips.answers, raters.labels)
    assert (majority(answers) == labels).all()
    wrong = suspicion_of(fit_skill(answers, 4), answers, labels)
    assert (check.flagged[1] == (wrong > 0.5)).all()


def test_a_class_keeps_half_of_its_labels():
    _, labels = simulated((0.1, 0.1, 0.1), n=1000, classes=2)
    small = np.arange(1000) < 20
    labels[small] = 2
    labels[:10, 0] = 0  # raters are of two minds about this class only
    raters = tally("abc", labels, labels[:, 0])
    flips = draw_flips(raters, raters.consensus, 3, 0.3, np.random.default_rng(0))
    of_small = raters.consensus == 2
    assert (flips.labels[of_small] == 2).sum() >= of_small.sum() / 2
    assert (flips.labels != raters.consensus).sum() == 300


def test_majorities_that_are_hardly_ever_wrong_are_made_so():
    labels = np.tile(np.arange(3).repeat(200)[:, None], (1, 5))
    labels[0, 0] = 1
    raters = tally("abcde", labels, labels[:, 0])
    given = raters.consensus
    flips = draw_flips(raters, given, 3, 0.1, np.random.default_rng(0))
    changed = flips.labels != given
    assert changed.sum() == 60
    assert (majority(flips.answers) == flips.labels).all()


def test_force_makes_a_majority_of_those_who_answered():
    confusion = np.array([[[0.8, 0.2, 0.0], [0.5, 0.5, 0.0], [0.1, 0.0, 0.9]]])
    labels = np.array([[0, 0, 0, -1], [0, 0, -1, -1], [2, -1, -1, -1], [2, 2, 2, 2]])
    found = _forced(confusion, labels, np.array([0, 0, 2, 2]), np.random.default_rng(0))
    assert ((found >= 0) == (labels >= 0)).all()
    assert [sorted(row[row >= 0]) for row in found] == [[0, 1, 1], [1, 1], [0], [0, 0, 0, 2]]


def test_a_good_rater_counts_for_more_than_a_bad_one():
    good, bad = np.full((2, 2), 0.05) + 0.9 * np.eye(2), np.full((2, 2), 0.4) + 0.2 * np.eye(2)
    skill = Skill(np.array([0.5, 0.5]), np.stack([good, bad, bad]))
    wrong = suspicion_of(skill, np.array([[0, 1, 1], [1, 0, 0]]), np.array([1, 1]))
    # 0.95·0.4·0.4 against 0.05·0.6·0.6: two bad raters are not worth the good one
    assert wrong == pytest.approx([0.152 / 0.17, 0.018 / 0.17])
