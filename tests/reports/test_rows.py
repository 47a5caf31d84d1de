from __future__ import annotations

import math

import pytest

from benchmark.errors import BenchmarkError
from reports.rows import flatten, flatten_all, protocol_label, select


def test_a_row_is_flat(result) -> None:
    row = flatten(result("gce", 2, 0.75, oracle=["noise_rate"], metrics={"aux/ema/nll": 0.3}))
    assert (row["method"], row["dataset"], row["noise"], row["protocol"], row["seed"]) == ("gce", "cells", "symmetric:0.4", "quick", 2)
    assert row["selected/accuracy"] == 0.75
    assert row["aux/ema/nll"] == 0.3
    assert row["cost/seconds"] == 12.0
    assert row["noise/realised_rate"] == 0.4
    assert row["oracle"] == ["noise_rate"]
    assert row["solvable"] is True
    assert row["stale"] is False
    assert row["spec"]["seed"] == 2


def test_stale_comes_from_the_caller_or_the_store(result) -> None:
    assert flatten(result(), stale=True)["stale"] is True
    assert flatten(result(stale=True))["stale"] is True


def test_numbers_that_are_not_finite_are_null(result) -> None:
    assert flatten(result(metrics={"selected/nll": math.nan}))["selected/nll"] is None


def test_runs_without_labels_and_without_metrics_have_rows(result) -> None:
    skipped = result("gce", status="skipped", reason="needs pixels")
    skipped["spec"]["labels"] = {}
    row = flatten(skipped)
    assert row["method"] == "gce:label=gce"
    assert row["reason"] == "needs pixels"


def test_a_protocol_is_named_by_what_differs(result) -> None:
    assert protocol_label(result(protocol={"epochs": 2})["spec"]["protocol"]) == "quick:epochs=2"


def test_one_name_for_two_things_is_told_apart(result) -> None:
    rows = flatten_all([result(fingerprint="v1"), result(fingerprint="v2"), result("gce", noise="none")])
    assert len({row["dataset"] for row in rows[:2]}) == 2
    assert all(row["dataset"].startswith("cells #") for row in rows[:2])
    assert [row["noise"] for row in rows] == ["symmetric:0.4", "symmetric:0.4", "none"]


def test_two_names_of_one_thing_are_one(result) -> None:
    """A default has changed since: what was gce is now called gce:q=0.7, and gce is another method. A protocol was renamed."""
    old, again, other = result("gce", 0), result("gce", 1), result("gce:q=0.8", 0)
    again["spec"]["labels"]["method"], other["spec"]["labels"]["method"] = "gce:q=0.7", "gce"
    again["spec"]["protocol"]["name"] = "mine"
    rows = flatten_all([old, again, other])
    assert [row["method"] for row in rows] == ["gce:q=0.7", "gce:q=0.7", "gce"]
    assert [row["protocol"] for row in rows] == ["quick", "quick", "quick"]
    assert flatten_all([again, old])[0]["method"] == "gce"  # the shortest, in whatever order they are read


def test_selection_by_short_name_plugin_and_seed(result) -> None:
    rows = flatten_all([result("hsa:a", s) for s in range(3)] + [result("hsa:b", 0), result("ce", 1)])
    assert len(select(rows, methods=["hsa"])) == 4
    assert len(select(rows, methods=["hsa:a"], seeds=[1, 2])) == 2
    assert len(select(rows, methods=["hsa:b", "ce"])) == 2
    assert select(rows) == rows
    assert select(rows, datasets=["cells"], noise=["symmetric"]) == rows
    with pytest.raises(BenchmarkError, match=r"unknown method 'hsaa'; did you mean .*'hsa'"):
        select(rows, methods=["hsaa"])
    assert len(select(rows, seeds=[0, 9])) == 2  # a seed may have failed everywhere
    assert select([], seeds=[0]) == []
    with pytest.raises(BenchmarkError, match="unknown seed '9'"):
        select(rows, seeds=[9])
