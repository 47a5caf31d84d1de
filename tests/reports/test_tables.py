from __future__ import annotations

import math
import random
import time

import pytest

from benchmark.errors import BenchmarkError
from benchmark.tasks import TASKS
from reports.columns import COLUMNS_OF
from reports.rows import flatten_all
from reports.tables import Comparison, Entry, compare


def entries(comparison: Comparison) -> dict[str, Entry]:
    return {entry.method: entry for group in comparison.groups for entry in group.entries}


def table(results, **options) -> Comparison:
    return compare(flatten_all(results), **options)


def runs(result, method: str, accuracies, **options):
    return [result(method, seed, accuracy, **options) for seed, accuracy in enumerate(accuracies) if accuracy is not None]


def test_mean_sd_and_rank_by_hand(result) -> None:
    found = table(runs(result, "ce", [0.7, 0.8, 0.9]) + runs(result, "gce", [0.8, 0.85, 0.9]))
    ce, gce = entries(found)["ce"], entries(found)["gce"]
    assert ce.values["selected/accuracy"].mean == pytest.approx(0.8)
    assert ce.values["selected/accuracy"].sd == pytest.approx(0.1)  # squares .01 + 0 + .01 over 2
    assert (gce.rank, ce.rank) == (1, 2)
    assert [entry.method for entry in found.groups[0].entries] == ["gce", "ce"]
    assert found.groups[0].seeds == (0, 1, 2)


def test_a_naive_average_would_rank_the_method_with_the_missing_cell_first(result) -> None:
    # seed 2 is hard. gce is better on every seed, but its mean over three is below ce's over two
    results = runs(result, "ce", [0.9, 0.9, None]) + runs(result, "gce", [0.92, 0.92, 0.5]) + runs(result, "elr", [0.91, 0.91, 0.4])
    found = entries(table(results))
    assert found["ce"].values["selected/accuracy"].mean > found["gce"].values["selected/accuracy"].mean
    assert (found["ce"].rank, found["ce"].incomplete, len(found["ce"].seeds)) == (None, True, 2)
    assert (found["gce"].rank, found["elr"].rank) == (1, 2)


def test_extra_seeds_of_one_method_are_left_out_and_make_nobody_incomplete(result) -> None:
    results = runs(result, "ce", [0.8, 0.8]) + runs(result, "elr", [0.7, 0.7]) + runs(result, "gce", [0.6, 0.6, 0.99, 0.99])
    found = table(results)
    assert found.groups[0].seeds == (0, 1)
    assert found.groups[0].left_out == (2, 3)
    assert entries(found)["gce"].values["selected/accuracy"].mean == pytest.approx(0.6)
    assert {name: entry.rank for name, entry in entries(found).items()} == {"ce": 1, "elr": 2, "gce": 3}


def test_the_seeds_asked_for_are_the_reference(result) -> None:
    found = table(runs(result, "ce", [0.8, 0.8]) + runs(result, "gce", [0.7, 0.7, 0.7]), seeds=[0, 1, 2])
    assert entries(found)["ce"].incomplete
    assert entries(found)["ce"].rank is None
    assert entries(found)["gce"].rank == 1


def test_ties_share_the_average_rank(result) -> None:
    # 0.1 + 0.2 + 0.3 and 0.3 + 0.2 + 0.1 must tie whatever their last bit says
    results = runs(result, "a", [0.1, 0.2, 0.3]) + runs(result, "b", [0.3, 0.2, 0.1]) + runs(result, "c", [0.1] * 3)
    assert {name: entry.rank for name, entry in entries(table(results)).items()} == {"a": 1.5, "b": 1.5, "c": 3}


def test_lower_is_better_where_it_is(result) -> None:
    results = [result("a", metrics={"selected/nll": 0.2}), result("b", metrics={"selected/nll": 0.9})]
    assert entries(table(results, rank_by="selected/nll"))["a"].rank == 1


def test_one_seed_has_no_spread(result) -> None:
    found = table([result("ce"), result("gce", accuracy=0.9)])
    assert entries(found)["gce"].values["selected/accuracy"].sd is None
    (difference,) = found.groups[0].differences
    assert (difference.se, difference.n, difference.p) == (None, 1, None)


def test_groups_are_never_mixed(result) -> None:
    results = [result("ce"), result("ce", noise="none"), result("ce", protocol={"epochs": 99}), result("ce", fingerprint="v2")]
    found = table(results)
    assert len(found.groups) == 4
    assert {group.protocol for group in found.groups} == {"quick", "quick:epochs=99"}
    renamed = table([result("ce"), result("gce", protocol={"name": "mine"})])
    assert len(renamed.groups) == 1  # the same values under another name are the same protocol


def test_unsolvable_groups_have_no_ranks(result) -> None:
    found = table([result("ce", solvable=False), result("gce", solvable=False), result("ce", noise="none")])
    clean, flagged = found.groups  # in the order of their names
    assert not flagged.solvable
    assert [entry.rank for entry in flagged.entries] == [None, None]
    assert clean.solvable
    assert clean.entries[0].rank == 1
    assert not any(flagged.best(column) for column in found.columns)


def test_marks(result) -> None:
    results = [result("ce", s) for s in (0, 1)] + [result("co", 0, oracle=["noise_rate"], stale=True), result("co", 1, status="diverged")]
    results += [result("bag", s, status="skipped", reason="needs pixels") for s in (0, 1)]
    found = entries(table(results))
    co, bag = found["co"], found["bag"]
    assert (co.oracle, co.stale, co.diverged, co.incomplete, co.rank) == (("noise_rate",), True, 1, True, None)
    assert (bag.skipped, bag.reasons, bag.seeds, bag.incomplete, bag.rank) == (2, ("needs pixels",), (), False, None)
    assert found["ce"].rank == 1


def test_a_metric_that_is_undefined_on_a_seed_gives_no_rank_and_its_own_n(result) -> None:
    results = [result("ce", 0), result("ce", 1), result("gce", 0), result("gce", 1, metrics={"detection/f1": None})]
    found = entries(table(results, rank_by="detection/f1"))
    assert (found["gce"].rank, found["gce"].values["detection/f1"].n, found["ce"].rank) == (None, 1, 1)


def test_trivial_scorers_count_a_seed_once(result) -> None:
    results = [result(m, 0) for m in ("a", "b")] + [result("a", 1, metrics={"detection/constant_f1": 0.75})]
    references = table(results).groups[0].references
    assert references["detection/constant_f1"].mean == pytest.approx(0.5)  # (0.25 + 0.75) / 2, seed 0 not twice


def test_paired_differences_by_hand(result) -> None:
    found = table(runs(result, "ce", [0.7, 0.8, 0.9]) + runs(result, "gce", [0.72, 0.82, 0.98]) + runs(result, "elr", [0.7, 0.7, None]))
    by_method = {difference.method: difference for difference in found.groups[0].differences}
    gce = by_method["gce"]
    assert gce.mean == pytest.approx(0.04)  # .02, .02, .08
    assert gce.se == pytest.approx(math.sqrt((0.02**2 + 0.02**2 + 0.04**2) / 2) / math.sqrt(3))
    assert (gce.n, gce.p) == (3, None)
    assert by_method["elr"].n == 2


def test_six_seeds_are_tested(result) -> None:
    base = [0.7, 0.71, 0.72, 0.73, 0.74, 0.75]
    better = [value + 0.01 * (i + 1) for i, value in enumerate(base)]
    (difference,) = table(runs(result, "ce", base) + runs(result, "gce", better)).groups[0].differences
    assert difference.p == pytest.approx(2 / 2**6)  # all six signs agree
    (same,) = table(runs(result, "ce", base) + runs(result, "gce", base)).groups[0].differences
    assert (same.mean, same.p) == (0.0, 1.0)


def test_without_a_baseline_there_are_no_differences(result) -> None:
    assert table([result("gce"), result("elr")]).groups[0].differences == ()
    assert table([]).groups == ()


def test_best_is_marked_among_the_ranked_only(result) -> None:
    found = table(runs(result, "ce", [0.8, 0.8]) + runs(result, "gce", [0.7, 0.7]) + runs(result, "elr", [0.99, None]))
    assert found.groups[0].best(found.rank) == {"ce"}


def test_any_metric_ranks_and_an_unknown_one_is_refused(result) -> None:
    results = [result("ce", metrics={"aux/ema/accuracy": 0.1}), result("gce", metrics={"aux/ema/accuracy": 0.2})]
    found = table(results, rank_by="aux/ema/accuracy")
    assert found.columns[0].key == "aux/ema/accuracy"
    assert entries(found)["gce"].rank == 1
    with pytest.raises(BenchmarkError, match="unknown metric 'selected/acuracy'; did you mean 'selected/accuracy'"):
        table(results, rank_by="selected/acuracy")


def test_groups_are_in_the_order_of_their_names(result) -> None:
    rows = [result("ce", noise="symmetric:0.4"), result("ce", dataset="tissue"), result("ce", noise="none")]
    found = [(group.dataset, group.noise) for group in table(rows).groups]
    assert found == [("cells", "none"), ("cells", "symmetric:0.4"), ("tissue", "symmetric:0.4")]


def test_columns_are_chosen_by_key(result) -> None:
    rows = flatten_all([result("ce"), result("gce")])
    chosen = compare(rows, compact=["last/accuracy", "selected/macro_f1"])
    assert [c.key for c in chosen.shown()] == ["selected/accuracy", "last/accuracy", "selected/macro_f1"]
    with pytest.raises(BenchmarkError, match="did you mean 'last/accuracy'"):
        compare(rows, compact=["last/acuracy"])


def test_intervals_hold_their_mean_and_one_seed_has_none(result) -> None:
    found = entries(table(runs(result, "ce", [0.7, 0.8]) + runs(result, "gce", [0.8, None])))
    summary = found["ce"].values["selected/accuracy"]
    assert (summary.low, summary.high) == (0.7, 0.8)  # of two seeds: their span
    assert (found["gce"].values["selected/accuracy"].low, found["gce"].values["selected/accuracy"].high) == (None, None)
    references = table(runs(result, "ce", [0.7, 0.8])).groups[0].references["detection/constant_f1"]
    assert (references.low, references.high) == (0.25, 0.25)


def test_close_to_the_best_is_what_its_seeds_cannot_tell_apart(result) -> None:
    best = [0.9, 0.91, 0.92, 0.93, 0.94]
    results = runs(result, "a", best) + runs(result, "b", [v - 0.1 - 0.001 * i for i, v in enumerate(best)])
    results += runs(result, "c", [v - (0.2 if i % 2 else -0.1) for i, v in enumerate(best)]) + runs(result, "d", [0.1, None, 0.1])
    found = entries(table(results))
    assert {name: entry.close for name, entry in found.items()} == {"a": None, "b": False, "c": True, "d": None}
    # b: mean -0.102, sd 0.00158 / √5 · t(4, 1 - 0.025 / 2) = 3.495: ± 0.0025
    alone = entries(table(runs(result, "a", [0.9]) + runs(result, "b", [0.1])))
    assert {entry.close for entry in alone.values()} == {None}


def test_equal_methods_are_best_together_and_have_no_one_to_be_close_to(result) -> None:
    results = runs(result, "a", [0.8, 0.9]) + runs(result, "b", [0.9, 0.8]) + runs(result, "c", [0.7, 0.9])
    found = entries(table(results))
    assert (found["a"].rank, found["a"].close, found["b"].close, found["c"].close) == (1.5, None, None, True)


def test_run_keys_are_in_the_order_of_the_seeds(result) -> None:
    results = [result("ce", 2), result("ce", 0), result("ce", 1, status="diverged"), result("gce", 0), result("gce", 2)]
    keys = {r["spec"]["seed"]: r["run_key"] for r in results if r["spec"]["labels"]["method"] == "ce"}
    entry = entries(table(results))["ce"]
    assert (entry.seeds, entry.run_keys) == ((0, 2), (keys[0], keys[2]))


def test_second_best(result) -> None:
    results = runs(result, "a", [0.9, 0.9]) + runs(result, "b", [0.9, 0.9]) + runs(result, "c", [0.7, 0.7]) + runs(result, "d", [0.6, 0.6])
    found = table(results + runs(result, "e", [0.95, None]))
    group, accuracy = found.groups[0], found.rank
    assert (group.best(accuracy), group.second(accuracy)) == ({"a", "b"}, {"c"})
    alone = table(runs(result, "a", [0.9]) + runs(result, "b", [0.9])).groups[0]
    assert (alone.best(accuracy), alone.second(accuracy)) == ({"a", "b"}, frozenset())
    assert table(runs(result, "a", [0.9])).groups[0].second(accuracy) == frozenset()


def test_noise_has_its_family_and_rate(result) -> None:
    made = result("ce", noise="symmetric:0.4")
    made["noise"]["nominal_rate"] = 0.4
    group = table([made]).groups[0]
    assert (group.family, group.rate) == ("symmetric", 0.4)


@pytest.mark.parametrize("task", COLUMNS_OF)
def test_every_rule_that_selects_an_epoch_is_shown_side_by_side(task: str) -> None:
    headline = TASKS[task].headline
    assert COLUMNS_OF[task][1][:4] == tuple(f"{rule}/{headline}" for rule in ("selected", "last", "last_k", "best"))


def test_a_comparison_knows_its_task_and_compares_over_conditions(result) -> None:
    found = table([result(m, noise=f"symmetric:{c}") for m in ("ce", "gce") for c in range(6)])
    assert found.task == "classification"
    assert found.overall is not None and found.overall.groups == tuple(range(6))
    asked = table([result(m, noise=f"symmetric:{c}") for m in "abc" for c in range(6)], posthoc="wilcoxon-holm").overall
    assert asked is not None and asked.posthoc == "wilcoxon-holm"


@pytest.mark.perf
def test_five_thousand_runs_take_seconds(result) -> None:
    rng = random.Random(0)
    rows = flatten_all([result(f"m{m}", s, rng.random(), noise=f"symmetric:{c}") for m in range(20) for c in range(50) for s in range(5)])
    for row in rows:
        row.update({c.key: rng.random() for c in COLUMNS_OF["classification"][0]})
    start = time.perf_counter()
    assert len(compare(rows).groups) == 50
    assert time.perf_counter() - start < 10
