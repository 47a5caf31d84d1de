"""Errors of one line that name what is near and what exists."""

from __future__ import annotations

import pickle

import pytest

from benchmark.errors import MOST_NAMES, BenchmarkError, DivergedError, LeaseLostError, unknown_name


def test_near_matches_then_all_that_exist_then_the_next_step() -> None:
    error = unknown_name("method", "hsaa", ["hsa", "ce", "coteaching"], "see: python -m benchmark list methods")
    assert str(error) == "unknown method 'hsaa'; did you mean 'hsa'?; known: ce, coteaching, hsa; see: python -m benchmark list methods"


def test_without_a_near_match() -> None:
    assert str(unknown_name("method", "zzz", {"ce": 1})) == "unknown method 'zzz'; known: ce"
    assert str(unknown_name("method", "zzz", [])) == "unknown method 'zzz'; known: none"


def test_case_does_not_hide_a_match_and_three_are_enough() -> None:
    assert "did you mean 'hsa'?" in str(unknown_name("method", "HSA", ["hsa", "ce"]))
    assert "did you mean 'HSA'?" in str(unknown_name("method", "hsa", ["HSA", "ce"]))
    assert str(unknown_name("method", "rate", [f"rate{i}" for i in range(9)])).count("'rate") == 1 + 3


def test_a_long_list_is_left_out_but_not_its_near_matches() -> None:
    names = [f"name{i}" for i in range(MOST_NAMES + 1)]
    message = str(unknown_name("class", "name7x", names, "see the list"))
    assert "'name7'" in message
    assert "known:" not in message
    assert message.endswith("see the list")
    assert "known:" in str(unknown_name("class", "x", names[:-1]))


@pytest.mark.parametrize("kind", [BenchmarkError, DivergedError, LeaseLostError])
def test_errors_cross_a_process_boundary(kind: type[BenchmarkError]) -> None:
    again = pickle.loads(pickle.dumps(kind("lost")))
    assert type(again) is kind
    assert str(again) == "lost"
    assert issubclass(kind, BenchmarkError)
