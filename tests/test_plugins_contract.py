"""The contract kit over everything that comes with the project, one test a check, so that a failure says which."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from benchmark.conformance import checks_of, run_check
from benchmark.registry import KINDS, Entry, Registry

REGISTRY = Registry()
CASES = [
    pytest.param(entry, function, id=f"{kind}-{entry.name}-{function.__name__}")
    for kind in KINDS
    for entry in REGISTRY.entries(kind)
    for function in checks_of(kind, entry.manifest.get("task", "classification"))
]


@pytest.mark.parametrize(("entry", "function"), CASES)
def test_contract(entry: Entry, function: Callable[[Any], None]) -> None:
    result = run_check(function, REGISTRY.load(entry.kind, entry.name))
    if result.ok is None:
        pytest.skip(result.detail)
    assert result.ok, result.detail
