"""The catalogue ``list methods --json``: every method says what it is, where it is from, what it needs and what it costs."""

from __future__ import annotations

import contextlib
import datetime
import io
import json
import re
from typing import Any

import pytest

from benchmark import conformance
from benchmark.cli import main
from benchmark.conformance import tiny_run
from benchmark.registry import Registry
from benchmark.spec import protocol
from benchmark.training.context import RunContext

NAMES = [entry.name for entry in Registry().entries("method")]
PUBLISHED = re.compile(r"arXiv \d{4}\.\d{4,5}|doi 10\.\d{4,}/\S+|openreview\.net/forum\?id=\w+|pp\. \d+-\d+")
"""How a paper is named so that it can be found; what has no paper (a baseline, a floor) has no year either."""

NEEDS = {"pixels", "noise_rate"}


@pytest.fixture(scope="module")
def catalogue() -> dict[str, dict[str, Any]]:
    """The rows that the command prints, by name."""
    with contextlib.redirect_stdout(io.StringIO()) as written:
        assert main(["list", "methods", "--json"]) == 0
    return {row["name"]: row for row in json.loads(written.getvalue())["methods"]}


@pytest.mark.parametrize("name", NAMES)
def test_a_row_is_complete(name: str, catalogue: dict[str, dict[str, Any]]) -> None:
    row = catalogue[name]
    manifest = row["manifest"]
    missing = {"paper", "year", "family", "needs", "cost"} - set(manifest)
    assert not missing, f"@method of {name} lacks {', '.join(sorted(missing))}"
    assert row["summary"].endswith(".") and row["error"] is None
    assert len(manifest["paper"].split()) >= 4 and len(manifest["family"]) > 3
    assert isinstance(manifest["cost"], float) and manifest["cost"] > 0
    assert isinstance(manifest["needs"], list) and set(manifest["needs"]) <= NEEDS
    if PUBLISHED.search(manifest["paper"]):
        assert 1990 < manifest["year"] <= datetime.datetime.now(datetime.UTC).year
        assert str(manifest["year"]) in manifest["paper"], "the year is that of the paper"
    else:
        assert manifest["year"] is None, f"{name} has a year and no paper that can be found"


@pytest.mark.parametrize("name", NAMES)
def test_a_noise_rate_is_needed_where_it_is_asked_for(name: str, catalogue, monkeypatch) -> None:
    """At the default settings; whether anybody could tell it does not matter."""
    asked = []
    answer = RunContext.noise_rate
    monkeypatch.setattr(RunContext, "noise_rate", lambda run, setting: asked.append(setting) or answer(run, setting))
    monkeypatch.setattr(conformance, "protocol", lambda name, given: protocol(name, {**given, "epochs": 1}))
    tiny_run(Registry().load("method", name))
    assert bool(asked) == ("noise_rate" in catalogue[name]["manifest"]["needs"])
