"""Budgets as they are written."""

from __future__ import annotations

import pytest

from benchmark.errors import BenchmarkError
from benchmark.training.annotation import budget_in_labels, check_totals, parse_budget


def test_numbers_and_shares() -> None:
    assert parse_budget("70+5%") == ((70.0, False), (0.05, True))
    assert budget_in_labels("5%+10%+200", 1000) == [50, 100, 200]
    assert budget_in_labels("29%", 100) == [29]  # 0.29 · 100 is 28.999… in floating point
    assert budget_in_labels("0.01%", 100) == [1]


@pytest.mark.parametrize("text", ["", "x", "5 %%", "-3", "1e3", "5%,10%", "٣"])
def test_what_is_no_budget(text: str) -> None:
    with pytest.raises(ValueError, match="is no budget; write a number of labels"):
        parse_budget(text)


@pytest.mark.parametrize("text", ["0", "0%", "101%", "2.5"])
def test_what_cannot_be_paid(text: str) -> None:
    with pytest.raises(ValueError, match=f"a budget of {text} is not possible"):
        parse_budget(text)


def test_totals_grow_and_fit() -> None:
    assert check_totals([3, 5], 5, "alr") == [3, 5]
    with pytest.raises(BenchmarkError, match="would pay for 5, 5 labels in all after its rounds; each must exceed"):
        check_totals([5, 5], 9, "alr")
    with pytest.raises(BenchmarkError, match="would pay for 6 labels and there are 5 training samples; lower the budget"):
        check_totals([3, 6], 5, "alr")
