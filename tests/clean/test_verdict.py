"""The verdict on simulated scores, of which the truth is known."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

from benchmark.clean.scores import Scores, rank_shares
from benchmark.clean.verdict import EASY, HARD, NOISY, Interval, SelfCheck, judge
from benchmark.errors import BenchmarkError


def pair(n=2000, rate=0.15, flips=0.1, seed=0, gaps=(3.0, 2.0), K=4, real_gap=1.0, held=0.2):
    """Scores of a set with wrong labels, and with flips on top: a method's score is normal, shifted by its gap where the label is wrong.

    ``real_gap`` multiplies the gap of the real errors, which are as easy to see as the flips at 1.
    """
    rng = np.random.default_rng(seed)
    true = rng.integers(0, K, n)
    real = rng.random(n) < rate
    given = np.where(real, (true + 1) % K, true)
    part = np.zeros(n, dtype=np.uint8)
    part[rng.permutation(n)[: int(held * n)]] = np.arange(int(held * n)) % 2 + 1
    injected = (rng.random(n) < flips) & (part < 2)
    changed = np.where(injected, (given + 1 + rng.integers(0, K - 1, n)) % K, given)
    stays = rng.normal(size=(len(gaps), n))
    made = []
    for labels in (given, changed):
        wrong = labels != true
        raw = np.stack(
            [
                gap * np.where(wrong, np.where(injected & (labels == changed), 1.0, real_gap), 0.0) + 0.7 * own + 0.7 * rng.normal(size=n)
                for gap, own in zip(gaps, stays, strict=True)
            ]
        )
        suspicion = np.empty_like(raw)
        for rows in (part == 0, part > 0):
            suspicion[:, rows] = [rank_shares(row[rows]) for row in raw]
        suggested = np.where(raw > 1, true, labels)
        made.append(
            Scores(
                methods=tuple(f"m{number}" for number in range(len(gaps))),
                given=labels,
                part=part,
                suspicion=suspicion,
                flagged=suggested != labels,
                suggested=suggested,
                confidence=np.full(raw.shape, 0.9),
                hardness=np.full(n, np.nan),
                true=true,
            )
        )
    return made[0], made[1], injected


def wrong_of(scores):
    return scores.given != scores.true


@pytest.mark.parametrize("rate", [0.05, 0.15, 0.3])
def test_probabilities_are_calibrated_where_errors_are_like_the_flips(rate):
    errors, rates = [], []
    for seed in range(10):
        scores, check, injected = pair(n=4000, rate=rate, seed=seed)
        verdict = judge(scores, check, injected, seed=seed)
        wrong = wrong_of(scores)
        rates.append(verdict.noise_rate.value - wrong.mean())
        errors.append([verdict.wrong[rows].mean() - wrong[rows].mean() for rows in (verdict.wrong > 0.7, verdict.wrong < 0.3)])
    assert abs(np.mean(rates)) < 0.03
    high, low = np.mean(errors, axis=0)
    assert -0.12 < high < 0.03  # too low rather than too high: few labels share a bin, and what is above 1 by chance is cut
    assert abs(low) < 0.05


def test_the_interval_holds_the_share_of_wrong_labels():
    hit = []
    for seed in range(12):
        scores, check, injected = pair(n=1000, seed=100 + seed)
        rate = judge(scores, check, injected, seed=seed).noise_rate
        assert rate.low <= rate.value <= rate.high
        hit.append(rate.low <= wrong_of(scores).mean() <= rate.high)
    assert np.mean(hit) > 0.8


def test_the_flagged_have_the_precision_that_was_asked_for():
    found = []
    for seed in range(3):
        scores, check, injected = pair(n=3000, seed=seed, gaps=(4.0, 3.0))
        verdict = judge(scores, check, injected, precision=0.9)
        assert verdict.precision.value >= 0.9
        assert verdict.wrong[verdict.flagged].min() >= verdict.wrong[~verdict.flagged].max()
        found.append(wrong_of(scores)[verdict.flagged].mean())
    assert np.mean(found) > 0.86


def test_little_is_flagged_where_nothing_is_wrong():
    for seed in range(2):
        scores, check, injected = pair(rate=0.0, seed=seed)
        verdict = judge(scores, check, injected)
        assert verdict.flagged.sum() <= 10
        assert verdict.noise_rate.value < 0.03


def test_errors_that_are_harder_to_see_than_the_flips_are_not_overestimated():
    for seed in range(2):
        scores, check, injected = pair(seed=seed, real_gap=0.5)
        verdict = judge(scores, check, injected)
        assert verdict.noise_rate.value < wrong_of(scores).mean() + 0.03
        assert verdict.wrong.mean() < wrong_of(scores).mean()


def test_the_better_method_weighs_more_and_the_two_together_rank_better():
    scores, check, injected = pair(n=6000, gaps=(3.0, 1.0, 3.0))
    verdict = judge(scores, check, injected)
    assert sum(verdict.weights.values()) == pytest.approx(1)
    assert min(verdict.weights, key=verdict.weights.get) == "m1"
    assert verdict.check.average_precision > max(verdict.check.alone.values())


def test_the_self_check_counts_what_was_changed():
    scores, check, injected = pair()
    verdict = judge(scores, check, injected, kind="pairflip")
    assert verdict.check.changed == injected.sum()
    assert verdict.check.rate == pytest.approx(injected.mean())
    assert verdict.check.kind == "pairflip"
    assert verdict.check.found.low < verdict.check.found.value < verdict.check.found.high
    assert 0.8 < verdict.check.precision.value <= 1


def test_noise_in_place_of_scores_says_so():
    scores, check, injected = pair(gaps=(0.0, 0.0))
    verdict = judge(scores, check, injected)
    assert not verdict.flagged.any()
    assert verdict.precision is None
    assert verdict.noise_rate.high > 0.6
    assert verdict.check.average_precision < 0.35


def test_everything_adds_up():
    scores, check, injected = pair()
    verdict = judge(scores, check, injected)
    assert verdict.confusion.shape == (4, 4)
    assert np.allclose(verdict.confusion.sum(axis=1), np.bincount(scores.given, minlength=4))
    assert verdict.confusion.sum() - np.trace(verdict.confusion) == pytest.approx(verdict.wrong.sum())
    assert (verdict.suggested[verdict.wrong > 0.5] != scores.given[verdict.wrong > 0.5]).all()
    assert set(np.unique(verdict.state)) <= {EASY, HARD, NOISY}
    assert (verdict.state == NOISY).sum() == (verdict.flagged | (verdict.wrong > 0.5)).sum()
    assert verdict.curve_at[-1] == 2000
    assert verdict.curve[-1].value == pytest.approx(verdict.wrong.mean())
    for row in (scores.held_out, ~scores.held_out):
        order = np.argsort(verdict.suspicion[row])
        assert (np.diff(verdict.wrong[row][order]) >= 0).all()


def test_what_hsa_calls_hard_is_hard_unless_it_is_noisy():
    scores, check, injected = pair()
    rng = np.random.default_rng(1)
    hardness = np.where(scores.held_out, np.nan, rng.random(2000))
    verdict = judge(replace(scores, hardness=hardness), check, injected)
    known = (verdict.state != NOISY) & ~scores.held_out
    assert ((verdict.state == HARD) == (hardness >= 0.5))[known].all()
    assert 0 < (verdict.state[scores.held_out] == HARD).mean() < 0.25


def test_the_same_seed_gives_the_same_answer():
    scores, check, injected = pair(n=400)
    first, second = judge(scores, check, injected, seed=3), judge(scores, check, injected, seed=3)
    assert first.noise_rate == second.noise_rate
    assert first.curve == second.curve
    assert first.check == second.check
    assert (first.wrong == second.wrong).all()


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"n": 60}, "tiny"),
        ({"n": 60, "flips": 0.03}, "hardly a flip"),
        ({"gaps": (3.0,)}, "one method"),
        ({"K": 2}, "two classes"),
        ({"rate": 0.6}, "most are wrong"),
        ({"held": 0.0}, "nothing held out"),
        ({"n": 300, "K": 60}, "classes of few"),
        ({"gaps": (30.0, 30.0)}, "told apart without error"),
    ],
)
def test_odd_sets_have_an_answer(settings, what):
    scores, check, injected = pair(**settings)
    if not injected.any():
        injected[np.flatnonzero(scores.part == 0)[0]] = True
    verdict = judge(scores, check, injected)
    for values in (verdict.wrong, verdict.confidence, verdict.suspicion):
        assert np.isfinite(values).all(), what
        assert 0 <= values.min() <= values.max() <= 1, what
    for one in (*verdict.curve, verdict.noise_rate):
        assert 0 <= one.low <= one.value <= one.high <= 1, what


def test_fifty_thousand_take_seconds():
    scores, check, injected = pair(n=50_000, gaps=(3.0, 2.0, 2.5, 1.0), K=10)
    started = time.process_time()
    judge(scores, check, injected)
    assert time.process_time() - started < 10


def test_only_methods_that_vote_in_both_are_asked():
    scores, check, injected = pair(gaps=(3.0, 2.0))
    rows = {name: getattr(check, name)[1:] for name in ("suspicion", "flagged", "suggested", "confidence")}
    assert judge(scores, replace(check, methods=("m1",), **rows), injected).weights == {"m1": 1.0}
    with pytest.raises(BenchmarkError, match="no method ranks the labels both"):
        judge(scores, replace(check, methods=("other",), **rows), injected)


def test_what_cannot_be_judged_is_told_in_a_line():
    scores, check, injected = pair(n=100)
    with pytest.raises(BenchmarkError, match="0 of 100 labels were changed"):
        judge(scores, check, np.zeros(100, dtype=bool))
    with pytest.raises(BenchmarkError, match="other samples or parts"):
        judge(scores, check, injected[:50])
    with pytest.raises(BenchmarkError, match="--precision is 0"):
        judge(scores, check, injected, precision=0.0)


def test_the_sentence_of_the_self_check():
    check = SelfCheck(0.1, 100, "symmetric", 92, Interval(0.84, 0.8, 0.88), Interval(0.91, 0.88, 0.94), 0.9, {})
    assert check.sentence() == "On your data with 10 % known flips injected, this found 84 % (80 to 88) at precision 91 % (88 to 94)."
    nothing = SelfCheck(0.1, 100, "symmetric", 0, Interval(0, 0, 0.04), Interval(float("nan"), 0, 1), 0.5, {})
    assert nothing.sentence() == "On your data with 10 % known flips injected, this found 0 % (0 to 4), and flagged nothing."
