"""Who is asked about what, and how much is paid: budgets and strategies as words, and methods with each of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from benchmark.errors import BenchmarkError, unknown_name

if TYPE_CHECKING:
    from benchmark.grammar import Setting
    from benchmark.registry import Registry

FLOOR = "random"
"""The strategy that is always run."""


def read_budgets(text: str) -> str:
    """``5%, 10%,20%`` as the parameter of a method: ``5%+10%+20%``.

    Raises:
        BenchmarkError: what is between two commas is no budget, or does not exceed those before it. Numbers and shares can be compared
            only when the number of samples is known.
    """
    from benchmark.training.annotation import parse_budget

    parts = [part.strip() for part in text.replace("+", ",").split(",")]
    try:
        amounts = [parse_budget(part)[0] for part in parts]
    except ValueError as error:
        raise BenchmarkError(f"--budget {text}: {error}") from None
    largest = {True: 0.0, False: 0.0}  # of the shares, of the numbers
    for part, (amount, is_share) in zip(parts, amounts, strict=True):
        if amount <= largest[is_share]:
            raise BenchmarkError(f"--budget {text}: {part} is not more than a budget before it; write growing totals, e.g. 5%,10%,20%")
        largest[is_share] = amount
    return "+".join(f"{amount * 100:.10g}%" if is_share else f"{amount:.0f}" for amount, is_share in amounts)


def read_strategies(text: str) -> list[Setting]:
    """``random, entropy:balanced=true`` as settings whose names are strategies.

    Raises:
        BenchmarkError: anything but ``balanced`` follows a name.
    """
    from benchmark.grammar import parse_settings

    found = parse_settings(text, what="--strategies")
    for strategy in found:
        if strategy.argument is not None or set(strategy.options) - {"balanced"}:
            words = "only balanced=true may follow the name of a strategy; parameters of the method belong into --methods or --set"
            raise BenchmarkError(f"--strategies '{strategy}': {words}")
    return found


def with_strategies(
    registry: Registry,
    methods: Sequence[Setting],
    asked: Sequence[Setting] | None,
    amounts: str,
    overrides: Mapping[str, Mapping[str, Any]],
) -> list[Setting]:
    """The methods, those that ask for labels once with each strategy that they know, and with ``random``.

    Raises:
        BenchmarkError: no method asks for labels, one says itself how it asks, or none knows a strategy.
    """
    from benchmark.grammar import Setting

    known = {method.name: known_strategies(registry, method.name) for method in methods}
    active = {name: names for name, names in known.items() if names is not None}
    if not active:
        able = [entry.name for entry in registry.entries("method") if not registry.check(entry) and known_strategies(registry, entry.name)]
        listed = ", ".join(dict.fromkeys(method.name for method in methods))
        raise BenchmarkError(f"--methods {listed}: none of them asks for labels; add one that does: {', '.join(able) or 'there is none'}")
    every = list(dict.fromkeys(name for names in active.values() for name in names))
    chosen = [Setting(name) for name in every] if asked is None else list(asked)
    for strategy in chosen:
        if strategy.name not in every:
            raise unknown_name("strategy", strategy.name, every)
    if not any(strategy.name == FLOOR and not strategy.options for strategy in chosen):
        chosen.append(Setting(FLOOR))
    found = []
    for method in methods:
        if known[method.name] is None:
            found.append(method)
            continue
        for key, option in (("budget", "--budget"), ("acquisition", "--strategies")):
            if key in method.options or key in overrides.get(method.name, {}):
                raise BenchmarkError(f"{method.name} is given {key} of its own; leave it out and use {option}")
        for strategy in chosen:
            if strategy.name in active[method.name] or strategy.name == FLOOR:
                own = {**method.options, "acquisition": strategy.name, **strategy.options, "budget": amounts}
                found.append(dataclasses.replace(method, options=own))
    return found


def known_strategies(registry: Registry, method: str) -> tuple[str, ...] | None:
    """The strategies of a method; None if it asks for no labels, which is to say lacks the parameters ``budget`` and ``acquisition``."""
    from benchmark.params import ranges

    params = ranges(registry.load("method", method).Params)
    return tuple(params["acquisition"].choices or ()) if {"budget", "acquisition"} <= set(params) else None
