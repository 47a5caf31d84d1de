"""The small grammars of options."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.cli.options import parse_seeds, parse_sets, protocol_overrides, with_baseline
from benchmark.errors import BenchmarkError
from benchmark.grammar import Setting, parse_settings


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("0", [0]), ("0,2", [0, 2]), ("0-4", [0, 1, 2, 3, 4]), ("0-2,7", [0, 1, 2, 7]), ("3, 1 - 2,2", [1, 2, 3]), ("5-5", [5])],
)
def test_seeds(text: str, seeds: list[int]) -> None:
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "a", "-1", "1-", "1..3", "0,,1", "4-1", "1.5", "0-99999999999", "٣", "1" * 30])
def test_seeds_that_are_none(text: str) -> None:
    with pytest.raises(BenchmarkError, match="--seeds"):
        parse_seeds(text)


@given(st.sets(st.integers(0, 500), min_size=1))
def test_any_list_of_seeds_comes_back_sorted(seeds: set[int]) -> None:
    assert parse_seeds(",".join(map(str, seeds))) == sorted(seeds)


def test_sets_hold_one_value_or_a_grid() -> None:
    assert parse_sets(["hsa.hard_ratio=1.2", "hsa.gamma=[1,1.5]", "mask.alpha=a=b"]) == {
        "hsa": {"hard_ratio": ["1.2"], "gamma": ["1", "1.5"]},
        "mask": {"alpha": ["a=b"]},
    }


@pytest.mark.parametrize("text", ["hsa", "hsa.x", "hsa=1", ".x=1", "hsa.=1", "hsa.x=", "hsa.x=[]", "hsa.x=[1,]"])
def test_sets_that_are_none(text: str) -> None:
    with pytest.raises(BenchmarkError, match="--set"):
        parse_sets([text])


def test_a_parameter_is_set_once() -> None:
    with pytest.raises(BenchmarkError, match="given twice"):
        parse_sets(["ce.x=1", "ce.x=2"])


def test_protocol_values() -> None:
    assert protocol_overrides({"protocol": {"lr": ["0.1"]}, "hsa": {"gamma": ["1", "2"]}}, 3) == {"lr": "0.1", "epochs": 3}
    with pytest.raises(BenchmarkError, match="share their protocol"):
        protocol_overrides({"protocol": {"lr": ["0.1", "0.2"]}}, None)
    with pytest.raises(BenchmarkError, match="--epochs"):
        protocol_overrides({"protocol": {"epochs": ["2"]}}, 3)


def test_the_baseline_is_added_once() -> None:
    methods = parse_settings("hsa,ce", what="--methods")
    assert with_baseline(methods, [Setting("ce")]) == (methods, [])
    assert with_baseline(methods[:1], [Setting("ce")]) == (methods, [Setting("ce")])
