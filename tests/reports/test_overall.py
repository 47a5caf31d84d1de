from __future__ import annotations

import statistics

import pytest

from benchmark.errors import BenchmarkError
from reports.overall import Overall, Standing
from reports.overall_sheet import standing_marks
from reports.rows import flatten_all
from reports.tables import Comparison, compare


def campaign(result, table: dict[str, list[float | None]], *, seeds: int = 2, **options) -> list:
    """Method → accuracy in the conditions symmetric:0, symmetric:1, …; None: no run."""
    found = []
    for method, accuracies in table.items():
        for condition, accuracy in enumerate(accuracies):
            if accuracy is not None:
                found += [result(method, seed, accuracy + 0.01 * seed, noise=f"symmetric:{condition}", **options) for seed in range(seeds)]
    return found


def over(results, **options) -> Overall:
    found = compare(flatten_all(results), **options).overall
    assert found is not None
    return found


def standings(found: Overall) -> dict[str, Standing]:
    return {standing.method: standing for standing in found.standings}


SIX = {"a": [0.9, 0.8, 0.9, 0.7, 0.9, 0.9], "b": [0.8, 0.9, 0.8, 0.6, 0.8, 0.8], "c": [0.5, 0.5, 0.5, 0.5, 0.5, 0.5]}


def test_average_ranks_wins_and_means_by_hand(result) -> None:
    found = over(campaign(result, SIX))
    assert found.groups == (0, 1, 2, 3, 4, 5) and not found.left_out and not found.too_few
    assert found.ranks == {"a": (1, 2, 1, 1, 1, 1), "b": (2, 1, 2, 2, 2, 2), "c": (3,) * 6}
    a, b, c = found.standings
    assert (a.method, a.average_rank, a.wins, a.missing, a.close) == ("a", pytest.approx(7 / 6), 5, 0, None)
    assert (b.method, b.average_rank, b.wins) == ("b", pytest.approx(11 / 6), 1)
    assert a.mean == pytest.approx(5.1 / 6 + 0.005)  # seed 1 adds 0.01, so the mean of two 0.005
    assert a.low is not None and a.high is not None and 0.7 < a.low < a.mean < a.high < 0.91
    assert (c.low, c.high) == (pytest.approx(0.505), pytest.approx(0.505))
    # rank sums 7, 11, 18: 12 / (6·3·4) · (49 + 121 + 324) - 3·6·4
    assert found.friedman is not None and (found.friedman.name, found.friedman.statistic) == ("Friedman", pytest.approx(494 / 6 - 72))
    assert found.critical_difference == pytest.approx(2.343 * (12 / 36) ** 0.5, abs=1e-3)  # 1.353
    assert list(found.pairs) == [("a", "b"), ("a", "c"), ("b", "c")]
    assert (b.close, c.close) == (True, False)  # 0.67 and 1.83 apart
    assert found.cliques == (("a", "b"), ("b", "c"))


def test_a_method_that_lacks_its_hardest_cell_is_not_ranked_first_nor_at_all(result) -> None:
    hard = {name: [*values[:5], 0.2] for name, values in SIX.items()}
    lucky = [0.88, 0.88, 0.88, 0.68, 0.88, None]
    results = campaign(result, hard | {"lucky": lucky})
    naive = {name: statistics.fmean(v for v in values if v is not None) for name, values in (hard | {"lucky": lucky}).items()}
    assert max(naive, key=naive.__getitem__) == "lucky"
    found = over(results)
    assert [s.method for s in found.standings] == ["a", "b", "c", "lucky"]
    assert found.standings[-1] == Standing("lucky", "lucky", None, None, None, None, 0, 1)
    assert "lucky" not in found.ranks and found.ranks["c"][-1] == 2  # ranks among the compared: all three tie there


def test_a_missing_seed_is_a_missing_cell(result) -> None:
    results = [*campaign(result, SIX | {"d": [0.99] * 3 + [None] + [0.99] * 2}), result("d", 0, 0.99, noise="symmetric:3")]
    d = standings(over(results))["d"]
    assert (d.average_rank, d.missing) == (None, 1)


def test_seeds_are_averaged_before_ranks_are_taken(result) -> None:
    # b is better at two seeds of three in every condition, a on average
    results = [result("a", s, v, noise=f"symmetric:{c}") for c in range(2) for s, v in enumerate([0.9, 0.5, 0.5])]
    results += [result("b", s, v, noise=f"symmetric:{c}") for c in range(2) for s, v in enumerate([0.5, 0.55, 0.55])]
    assert over(results).ranks == {"a": (1, 1), "b": (2, 2)}


def test_conditions_that_few_methods_have_do_not_count(result) -> None:
    results = campaign(result, SIX | {"a": [*SIX["a"], 0.9]})
    found = over(results)
    assert found.groups == (0, 1, 2, 3, 4, 5)
    assert found.left_out == {6: "1 of 3 methods are complete"}
    assert [s.missing for s in found.standings] == [0, 0, 0]


def test_unsolvable_conditions_do_not_count(result) -> None:
    found = over(campaign(result, SIX) + [result(m, s, noise="symmetric:9", solvable=False) for m in "abcx" for s in (0, 1)])
    assert found.left_out == {6: "unsolvable"}
    assert standings(found)["x"].missing == 6 and standings(found)["x"].average_rank is None


def test_methods_that_no_data_suit_do_not_decide_what_counts(result) -> None:
    skipped = campaign(result, {f"pixels{i}": [0.5] * 6 for i in range(9)}, status="skipped", reason="needs pixels")
    found = over(campaign(result, SIX) + skipped)
    assert len(found.groups) == 6 and [s.method for s in found.standings[:3]] == ["a", "b", "c"]


def test_groups_of_one_method_do_not_decide_what_counts(result) -> None:
    own = [result(f"tuned{i}", s, protocol={"lr": 0.1 + i}) for i in range(9) for s in (0, 1)]
    found = over(campaign(result, SIX) + own)
    assert len(found.groups) == 6 and found.left_out[6] == "1 of 3 methods are complete"
    assert standings(found)["tuned0"].missing == 6


def test_marks_of_a_standing_are_of_the_conditions_behind_its_numbers(result) -> None:
    """A search has tuned the protocol, too: its runs are conditions of their own, which do not count."""
    own = [result("a", seed, 0.9, protocol={"lr": 0.5}, oracle=["noise_rate"], stale=True) for seed in (0, 1)]
    for run in own:
        run["spec"]["labels"]["tuned"] = "30 trials"
    found = compare(flatten_all([*campaign(result, SIX), *own]))
    assert found.overall is not None and found.overall.left_out
    marked = {standing.method: standing_marks(standing, found) for standing in found.overall.standings}
    assert marked["a"] == []
    alone = compare(flatten_all([*campaign(result, {name: SIX[name] for name in "bc"}), *own]))
    assert standing_marks(standings(alone.overall)["a"], alone)[:3] == ["oracle: noise_rate", "tuned", "stale"]  # type: ignore[arg-type]


def test_few_conditions_are_ranked_and_not_tested(result) -> None:
    found = over(campaign(result, {name: values[:4] for name, values in SIX.items()}))
    assert found.too_few == "too few to test: 4 conditions of 6"
    assert found.friedman is None and not found.pairs and found.critical_difference is None and found.cliques == ()
    assert [s.method for s in found.standings] == ["a", "b", "c"] and {s.close for s in found.standings} == {None}
    one = over(campaign(result, {name: values[:1] for name, values in SIX.items()}))
    assert one.too_few == "too few to test: 1 condition of 6" and (one.standings[0].low, one.standings[0].average_rank) == (None, 1)


def test_disjoint_campaigns_are_not_compared_and_it_says_why(result) -> None:
    first = {name: [*values, *[None] * 6] for name, values in SIX.items()}
    second = {f"{name}2": [*[None] * 6, *values] for name, values in SIX.items()}
    found = over(campaign(result, first | second))
    words = "no two methods are complete in every one of 12 conditions; report them apart, e.g. by --datasets"
    assert found.too_few == f"nothing to compare: {words}"
    assert {(s.average_rank, s.mean, s.missing) for s in found.standings} == {(None, None, 6)}
    assert found.ranks == {} and found.friedman is None


def test_nothing_counts(result) -> None:
    assert over([result("a")]).too_few == "nothing to compare: no solvable condition has complete results of two methods"
    pairs = [result(m, noise=f"symmetric:{c}") for c in range(3) for m in (f"x{c}", f"y{c}")]
    expected = "nothing to compare: no solvable condition has complete results of at least half of the 6 methods"
    found = over(pairs)
    assert found.too_few == expected and found.left_out[2] == "2 of 6 methods are complete"
    assert compare([]).overall is None


def test_two_methods_have_wilcoxon_s_test(result) -> None:
    found = over(campaign(result, {"a": [0.91, 0.82, 0.93, 0.74, 0.95, 0.96], "b": [0.9, 0.8, 0.9, 0.7, 0.9, 0.9]}))
    assert found.friedman is not None
    assert (found.friedman.name, found.friedman.statistic, found.friedman.p) == ("Wilcoxon signed-rank", 0, pytest.approx(2 / 2**6))
    assert found.pairs == {("a", "b"): found.friedman.p}
    assert (found.posthoc, found.critical_difference, found.cliques) == ("wilcoxon-holm", None, ())
    assert [s.close for s in found.standings] == [None, False]


def test_wilcoxon_holm_on_request(result) -> None:
    found = over(campaign(result, SIX), posthoc="wilcoxon-holm")
    assert found.posthoc == "wilcoxon-holm" and found.critical_difference is None
    # without ties 6 of 6 signs give 2/64; here a and b differ by ±0.1 alone, five to one: 14 of 64 sums are as extreme
    assert found.pairs["a", "b"] == pytest.approx(14 / 64)
    assert found.pairs["a", "c"] == found.pairs["b", "c"] == pytest.approx(3 * 2 / 64)
    assert found.cliques == (("a", "b", "c"),)  # with six conditions, three comparisons cannot reach 0.05
    with pytest.raises(BenchmarkError, match="unknown post-hoc test 'nemeny'; did you mean 'nemenyi'"):
        over(campaign(result, SIX), posthoc="nemeny")


def test_methods_that_are_equal_everywhere_share_everything(result) -> None:
    # 0.1 + 0.2 + 0.3 and 0.3 + 0.2 + 0.1 tie whatever their last bit says
    series = {"a": (0.1, 0.2, 0.3), "b": (0.3, 0.2, 0.1), "c": (0.2, 0.1, 0.3)}
    found = over([result(m, s, v, noise=f"symmetric:{c}") for c in range(6) for m, each in series.items() for s, v in enumerate(each)])
    assert found.friedman is not None and (found.friedman.statistic, found.friedman.p) == (0, 1)
    assert {(s.average_rank, s.wins, s.close) for s in found.standings} == {(2, 6, None)}
    assert found.cliques == (("a", "b", "c"),)


def test_lower_is_better_where_it_is(result) -> None:
    results = [result(m, 0, noise=f"symmetric:{c}", metrics={"selected/nll": v}) for c in range(6) for m, v in (("a", 0.9), ("b", 0.2))]
    found = over(results, rank_by="selected/nll")
    assert [(s.method, s.mean) for s in found.standings] == [("b", pytest.approx(0.2)), ("a", pytest.approx(0.9))]


def test_protocols_are_conditions_of_their_own(result) -> None:
    found: Comparison = compare(flatten_all(campaign(result, SIX) + campaign(result, SIX, protocol={"epochs": 99})))
    assert found.overall is not None and len(found.overall.groups) == 12
