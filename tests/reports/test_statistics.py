"""Against published examples, other people's code and hand-computed cases."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest
import scipy.stats
from statsmodels.stats.multitest import multipletests

from reports import statistics as ours

# Demšar (JMLR 7, 2006), table 6: ranks of C4.5, C4.5+m, C4.5+cf and C4.5+m+cf on 14 data sets
DEMSAR = np.array([
    [4, 3, 2, 1], [1, 2, 3, 4], [4, 1, 2, 3], [4, 1, 3, 2], [4, 2, 3, 1], [1, 2.5, 4, 2.5], [3, 2, 4, 1], [2.5, 2.5, 4, 1], [4, 3, 2, 1],
    [2.5, 2.5, 2.5, 2.5], [4, 2.5, 1, 2.5], [3, 2, 4, 1], [4, 1, 2, 3], [3, 1, 4, 2],
])  # fmt: skip
# R, ?friedman.test: RoundingTimes, 22 players round first base in three ways
ROUNDING_TIMES = np.array([
    5.40, 5.50, 5.55, 5.85, 5.70, 5.75, 5.20, 5.60, 5.50, 5.55, 5.50, 5.40, 5.90, 5.85, 5.70, 5.45, 5.55, 5.60, 5.40, 5.40, 5.35,
    5.45, 5.50, 5.35, 5.25, 5.15, 5.00, 5.85, 5.80, 5.70, 5.25, 5.20, 5.10, 5.65, 5.55, 5.45, 5.60, 5.35, 5.45, 5.05, 5.00, 4.95,
    5.50, 5.50, 5.40, 5.45, 5.55, 5.50, 5.55, 5.55, 5.35, 5.45, 5.50, 5.55, 5.50, 5.45, 5.25, 5.65, 5.60, 5.40, 5.70, 5.65, 5.55,
    6.30, 6.30, 6.25,
]).reshape(22, 3)  # fmt: skip


# ------------------------------------------------------------------------------------------------------ bootstrap


def test_the_interval_is_scipy_s() -> None:
    series = [0.81, 0.84, 0.79, 0.9, 0.86]
    rng = np.random.default_rng(0)
    expected = scipy.stats.bootstrap((series,), np.mean, n_resamples=4_999, method="percentile", rng=rng).confidence_interval
    assert ours.bootstrap_intervals([series])[0] == pytest.approx(tuple(expected), abs=1e-12)


def test_the_interval_of_five_is_that_of_all_their_resamples() -> None:
    series = [0.81, 0.84, 0.79, 0.9, 0.86]
    means = [np.mean(drawn) for drawn in itertools.product(series, repeat=5)]
    assert ours.bootstrap_intervals([series])[0] == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])), abs=0.0025)


def test_two_numbers_span_their_interval() -> None:
    # a quarter of the resamples is the lower one twice, a quarter the higher one
    assert ours.bootstrap_intervals([[0.7, 0.9], [0.9, 0.7]]) == [(0.7, 0.9), (0.7, 0.9)]


def test_one_number_has_no_interval_and_equal_ones_have_a_point() -> None:
    assert ours.bootstrap_intervals([[0.3], [], [0.1] * 3, [0.7] * 10]) == [None, None, (0.1, 0.1), (0.7, 0.7)]
    assert ours.bootstrap_intervals([]) == []


def test_a_series_has_its_interval_whatever_stands_beside_it() -> None:
    several = np.random.default_rng(1).normal(0.8, 0.02, (1_203, 5)).tolist()
    mixed = [several[0], [1.0, 2.0, 4.0], *several[1:], [0.5, 0.6]]
    found = ours.bootstrap_intervals(mixed)
    assert ours.bootstrap_intervals([several[0]]) == found[:1]
    assert ours.bootstrap_intervals([[0.5, 0.6], several[-1]]) == [found[-1], found[-2]]
    assert ours.bootstrap_intervals(several[500:700]) == found[501:701]


def test_the_interval_of_five_holds_the_mean_far_less_often_than_95_times_in_100() -> None:
    found = ours.bootstrap_intervals(np.random.default_rng(2).normal(size=(2_000, 5)).tolist())
    assert 0.80 < np.mean([ends is not None and ends[0] <= 0 <= ends[1] for ends in found]) < 0.87


@pytest.mark.perf
def test_twenty_thousand_series_take_seconds() -> None:
    series = np.random.default_rng(3).normal(size=(20_000, 5)).tolist()
    start = time.perf_counter()
    ours.bootstrap_intervals(series)
    assert time.perf_counter() - start < 5


# -------------------------------------------------------------------------------------- simultaneous intervals


def test_one_other_has_the_paired_t_interval() -> None:
    best, other = [0.9, 0.92, 0.94, 0.9], [0.88, 0.93, 0.9, 0.87]
    expected = scipy.stats.ttest_rel(other, best).confidence_interval(0.95)
    assert ours.simultaneous_t(best, [other])[0] == pytest.approx(tuple(expected))


def test_several_others_share_the_error() -> None:
    best, others = [0.9, 0.92, 0.94, 0.9], [[0.88, 0.93, 0.9, 0.87], [0.5, 0.52, 0.54, 0.5]]
    first, second = ours.simultaneous_t(best, others)
    expected = scipy.stats.ttest_rel(others[0], best).confidence_interval(0.975)  # 1 - 0.05 / 2
    assert first == pytest.approx(tuple(expected))
    assert second == pytest.approx((-0.4, -0.4))  # the same difference at every seed
    assert ours.simultaneous_t(best, []) == []


def test_equal_series_differ_by_nothing() -> None:
    assert ours.simultaneous_t([0.1 + 0.2, 0.3], [[0.3, 0.1 + 0.2]]) == [(0.0, 0.0)]


def test_the_best_of_several_equal_methods_leaves_the_true_best_out_at_most_one_time_in_twenty() -> None:
    # method 0 is truly best; it must be the observed best or close to it in 95 % of the benchmarks, however the best was picked
    rng, kept, trials = np.random.default_rng(4), 0, 400
    for _ in range(trials):
        scores = rng.normal(size=(8, 5)) + rng.normal(size=5)  # eight methods, five seeds that they share
        best = int(scores.mean(axis=1).argmax())
        rest = [m for m in range(8) if m != best]
        spans = dict(zip(rest, ours.simultaneous_t(scores[best].tolist(), scores[rest].tolist()), strict=True))
        kept += best == 0 or spans[0][0] <= 0 <= spans[0][1]
    assert kept / trials > 0.95


# ---------------------------------------------------------------------------------------------- tests of ranks


def test_demsar_s_worked_example() -> None:
    assert ours.average_ranks(DEMSAR) == pytest.approx([3.143, 2.0, 2.893, 1.964], abs=5e-4)
    statistic, _ = ours.friedman(DEMSAR)
    plain = statistic * (1 - 78 / 840)  # the paper does not correct for ties: three pairs and one four, Σ (t³ - t) = 78, N k (k² - 1) = 840
    assert plain == pytest.approx(9.28, abs=5e-3)
    assert 13 * plain / (14 * 3 - plain) == pytest.approx(3.69, abs=5e-3)
    assert ours.critical_difference(4, 14) == pytest.approx(1.25, abs=5e-3)
    p = ours.nemenyi(DEMSAR)
    assert (p > 0.05).all() and p[0, 3] < 0.10  # "the post-hoc test is not powerful enough" at 0.05; 1.179 > CD 1.12 at 0.10
    assert ours.cliques(p[np.ix_([3, 1, 2, 0], [3, 1, 2, 0])]) == [(0, 3)]


@pytest.mark.parametrize(("k", "q"), [(2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (6, 2.850), (10, 3.164)])
def test_critical_values_of_demsar_s_table_5(k: int, q: float) -> None:
    assert ours.critical_difference(k, 10) == pytest.approx(q * np.sqrt(k * (k + 1) / 60), abs=1e-3)


def test_r_s_friedman_test() -> None:
    statistic, p = ours.friedman(ROUNDING_TIMES)
    assert (statistic, p) == (pytest.approx(11.143, abs=5e-4), pytest.approx(0.003805, abs=5e-7))


def test_friedman_by_hand() -> None:
    costs = np.array([[1.0, 2, 3], [1, 2, 3], [1, 3, 2], [1, 2, 3]])  # rank sums 4, 9, 11
    assert ours.friedman(costs)[0] == pytest.approx(12 / (4 * 3 * 4) * (4**2 + 9**2 + 11**2) - 3 * 4 * 4)  # 6.5
    assert ours.friedman(np.full((7, 3), 0.5)) == (0.0, 1.0)
    tied = np.array([[1.0, 1, 2]] * 6)  # ranks 1.5, 1.5, 3: sums 9, 9, 18; uncorrected 9, ties 6 × 6 of 6 × 24
    assert ours.friedman(tied)[0] == pytest.approx(9 / (1 - 36 / 144))


def test_nemenyi_is_the_studentized_range_of_average_ranks() -> None:
    costs = np.random.default_rng(5).normal(size=(9, 12))
    average, p = ours.average_ranks(costs), ours.nemenyi(costs)
    for i, j in itertools.combinations(range(12), 2):
        q = abs(average[i] - average[j]) / np.sqrt(12 * 13 / (6 * 9)) * np.sqrt(2)
        assert p[i, j] == p[j, i] == pytest.approx(float(scipy.stats.studentized_range.sf(q, 12, np.inf)), abs=1e-9)
    far = abs(average[:, None] - average) > ours.critical_difference(12, 9)
    assert (far == (p < 0.05)).all()
    assert (ours.nemenyi(np.zeros((6, 3))) == 1).all()


def test_signed_rank_by_hand() -> None:
    assert ours.signed_rank([0.1, 0.2, 0.3, 0.4, 0.5]) == (0.0, pytest.approx(2 / 2**5))  # five seeds never reach 0.05
    assert ours.signed_rank([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]) == (0.0, pytest.approx(2 / 2**6))
    assert ours.signed_rank([0.0, 0.0]) == (0.0, 1.0)
    assert ours.signed_rank([0.3 - (0.1 + 0.2)] * 6) == (0.0, 1.0)


@pytest.mark.parametrize("n", [1, 5, 8, 30, 60])
def test_signed_rank_is_scipy_s(n: int) -> None:
    for seed in range(5):
        differences = np.random.default_rng(seed).normal(0.3, 1, n)
        expected = scipy.stats.wilcoxon(differences)
        assert ours.signed_rank(differences.tolist()) == pytest.approx((expected.statistic, expected.pvalue))


def test_signed_rank_counts_ties_exactly() -> None:
    for seed in range(5):
        tied = np.random.default_rng(seed).integers(-2, 4, 7)  # zeros among them
        expected = scipy.stats.wilcoxon(tied, method=scipy.stats.PermutationMethod())  # of so few it tries every sign
        assert ours.signed_rank(tied.tolist()) == pytest.approx((expected.statistic, expected.pvalue))
    start = time.perf_counter()
    ours.wilcoxon_holm(np.round(np.random.default_rng(7).normal(size=(13, 20)), 1))
    assert time.perf_counter() - start < 5  # ninety seconds with scipy's


def test_wilcoxon_holm_against_statsmodels() -> None:
    costs = np.random.default_rng(6).normal([0, 0.2, 1.5, 3], size=(10, 4))
    pairs = list(itertools.combinations(range(4), 2))
    raw = [scipy.stats.wilcoxon(costs[:, i], costs[:, j]).pvalue for i, j in pairs]
    expected = multipletests(raw, method="holm")[1]
    found = ours.wilcoxon_holm(costs)
    assert [found[pair] for pair in pairs] == pytest.approx(list(expected))
    assert (found == found.T).all() and (np.diag(found) == 1).all()


def test_cliques_are_the_longest_runs() -> None:
    p = np.ones((5, 5))
    for i, j in [(0, 2), (0, 3), (0, 4), (1, 4), (2, 4)]:
        p[i, j] = p[j, i] = 0.01
    assert ours.cliques(p) == [(0, 1), (1, 3), (3, 4)]
    assert ours.cliques(np.where(np.eye(3), 1.0, 0.001)) == []
    assert ours.cliques(np.ones((3, 3))) == [(0, 2)]
    gap = np.ones((4, 4))
    gap[1, 2] = gap[2, 1] = 0.01  # neighbours that differ part the run, whatever the ends do
    assert ours.cliques(gap) == [(0, 1), (2, 3)]
