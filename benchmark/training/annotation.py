"""Budgets of labels that an annotator is paid for, as they are written on the command line."""

from __future__ import annotations

import math
import re

from benchmark.errors import BenchmarkError

_AMOUNT = re.compile(r"(\d+(?:\.\d+)?|\.\d+)(%?)", re.ASCII)


def parse_budget(text: str) -> tuple[tuple[float, bool], ...]:
    """Budgets joined by ``+``, each a number of labels (``70``) or a share of the training samples (``5%``).

    Returns:
        (amount, whether it is a share) of each; a share is in (0, 1].

    Raises:
        ValueError: the text is not that, or an amount is 0, a fraction of a label, or more than all samples.
    """
    amounts = []
    for part in text.split("+"):
        match = _AMOUNT.fullmatch(part.strip())
        if match is None:
            raise ValueError(f"'{part.strip()}' is no budget; write a number of labels (70) or a share of the training samples (5%)")
        amount, is_share = float(match[1]), bool(match[2])
        if amount == 0 or (is_share and amount > 100) or (not is_share and amount != int(amount)):
            raise ValueError(f"a budget of {part.strip()} is not possible; write at least 1 label, or a share of at most 100%")
        amounts.append((amount / 100 if is_share else amount, is_share))
    return tuple(amounts)


def budget_in_labels(text: str, n: int) -> list[int]:
    """Budgets as numbers of labels among n training samples; a share is rounded down, to at least 1 label."""
    return [max(1, math.floor(amount * n + 1e-9)) if is_share else int(amount) for amount, is_share in parse_budget(text)]


def check_totals(totals: list[int], n: int, who: str) -> list[int]:
    """Labels paid for in all after each round, which must grow and fit into the training part.

    Raises:
        BenchmarkError: they do not.
    """
    if any(later <= earlier for earlier, later in zip([0, *totals], totals, strict=False)):
        raise BenchmarkError(f"{who} would pay for {', '.join(map(str, totals))} labels in all after its rounds; each must exceed the last")
    if totals and totals[-1] > n:
        raise BenchmarkError(f"{who} would pay for {totals[-1]} labels and there are {n} training samples; lower the budget")
    return totals
