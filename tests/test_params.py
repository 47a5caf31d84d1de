"""Hyperparameters: ranges, reading values from text, and the errors that say what is wrong."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.errors import BenchmarkError
from benchmark.params import NoParams, Range, defaults, hp, ranges, resolve
from benchmark.registry import KINDS, Registry


@dataclass(frozen=True)
class Params:
    count: int = hp(3, 1, 10)
    rate: float = hp(0.2, 0.0, 0.9, log=False, search=(0.1, 0.5), help="a share")
    free: float = hp(0.0)
    noise_rate: float | str = hp("auto", 0.0, 0.95, choices=("auto", "estimate"))
    limit: int | None = hp(None, 1)
    either: int | float = hp(1)
    flag: bool = hp(False)
    kind: str = hp("a", choices=("a", "b"))
    word: str = hp("")
    size: int = hp(32, choices=(32, 64))


def value(key: str, given_value: Any) -> Any:
    return getattr(resolve(Params, {key: given_value}, "toy"), key)


@pytest.mark.parametrize(
    ("key", "text", "expected"),
    [
        ("count", "7", 7),
        ("count", " 7 ", 7),
        ("rate", "0.5", 0.5),
        ("rate", "5e-1", 0.5),
        ("rate", "0", 0.0),
        ("free", "-0", 0.0),
        ("noise_rate", "0.3", 0.3),
        ("noise_rate", "estimate", "estimate"),
        ("limit", "none", None),
        ("limit", "None", None),
        ("limit", "4", 4),
        ("either", "4", 4),
        ("either", "4.5", 4.5),
        ("flag", "true", True),
        ("flag", "No", False),
        ("flag", "on", True),
        ("flag", "off", False),
        ("kind", "b", "b"),
        ("word", " x y ", "x y"),
        ("word", "3", "3"),
        ("size", "64", 64),
    ],
)
def test_text_becomes_the_type_of_its_field(key: str, text: str, expected: Any) -> None:
    found = value(key, text)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("key", "plain", "expected"),
    [
        ("rate", 0, 0.0),
        ("rate", np.float64(0.5), 0.5),
        ("rate", np.float32(0.5), 0.5),
        ("count", np.int64(4), 4),
        ("limit", None, None),
        ("flag", True, True),
        ("noise_rate", 0, 0.0),
    ],
)
def test_values_that_are_no_text_become_plain_ones(key: str, plain: Any, expected: Any) -> None:
    found = value(key, plain)
    assert found == expected
    assert type(found) is type(expected)


def test_minus_zero_is_zero_because_equal_values_must_have_equal_keys() -> None:
    assert math.copysign(1.0, value("free", -0.0)) == 1.0
    assert math.copysign(1.0, value("free", "-0.0")) == 1.0


@pytest.mark.parametrize(
    ("key", "wrong", "message"),
    [
        ("count", "x", "toy.count: 'x' is not a whole number"),
        ("count", "1.5", "toy.count: '1.5' is not a whole number"),
        ("count", "", "toy.count: '' is not a whole number"),
        ("count", True, "toy.count: True is not a whole number"),
        ("count", None, "toy.count: None is not a whole number"),
        ("count", "9" * 400, "outside [1, 10]"),
        ("count", "0", "toy.count = 0 is outside [1, 10]"),
        ("rate", "0.91", "toy.rate = 0.91 is outside [0, 0.9]"),
        ("rate", "0,5", "toy.rate: '0,5' is not a number"),
        ("rate", False, "toy.rate: False is not a number"),
        ("noise_rate", "0.99", "toy.noise_rate = 0.99 is outside [0, 0.95]"),
        ("noise_rate", "estimat", "toy.noise_rate = 'estimat' is not one of auto, estimate"),
        ("noise_rate", True, "toy.noise_rate: True is not a number or a word (auto, estimate)"),
        ("limit", "few", "toy.limit: 'few' is not a whole number or none"),
        ("limit", "0", "toy.limit = 0 is outside [1, inf]"),
        ("flag", "1", "toy.flag: '1' is not true or false"),
        ("flag", 1, "toy.flag: 1 is not true or false"),
        ("kind", "c", "toy.kind = 'c' is not one of a, b"),
        ("word", None, "toy.word: None is not a word"),
        ("word", ["a"], "toy.word: ['a'] is not a word"),
        ("size", "48", "toy.size = 48 is not one of 32, 64"),
    ],
)
def test_wrong_values_are_refused_in_one_line(key: str, wrong: Any, message: str) -> None:
    with pytest.raises(BenchmarkError) as caught:
        value(key, wrong)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["free", "rate", "count", "noise_rate", "either"])
@pytest.mark.parametrize("wrong", ["nan", "inf", "-inf", "1e999", math.nan, math.inf, np.float64("nan")])
def test_what_is_not_finite_is_refused_everywhere(key: str, wrong: Any) -> None:
    with pytest.raises(BenchmarkError):
        value(key, wrong)


def test_an_unknown_key_names_near_matches_and_all_that_exist() -> None:
    with pytest.raises(BenchmarkError) as caught:
        resolve(Params, {"Rates": 1}, "toy")
    message = str(caught.value)
    assert message.startswith("unknown parameter of toy 'Rates'; did you mean 'rate'")
    assert "known: count, either, flag" in message
    with pytest.raises(BenchmarkError, match="known: none"):
        resolve(NoParams, {"x": 1}, "ce")


def test_a_required_parameter_is_asked_for() -> None:
    @dataclass(frozen=True)
    class Needs:
        path: str
        size: int = hp(1)

    with pytest.raises(BenchmarkError, match="toy needs path; write toy:path=value"):
        resolve(Needs, {"size": 2}, "toy")
    assert defaults(Needs) == {"size": 1}
    assert resolve(Needs, {"path": "x"}, "toy") == Needs("x", 1)


@pytest.mark.parametrize("error", [ValueError, TypeError, BenchmarkError])
def test_a_combination_that_post_init_refuses(error: type[Exception]) -> None:
    @dataclass(frozen=True)
    class Pair:
        low: int = hp(1)
        high: int = hp(2)

        def __post_init__(self) -> None:
            if self.low > self.high:
                raise error("low is above high")

    with pytest.raises(BenchmarkError, match="low is above high"):
        resolve(Pair, {"low": 3}, "toy")


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ((2.0, 0.0, 1.0), {}),
        (("c",), {"choices": ("a", "b")}),
        ((math.nan,), {}),
        ((0.5, 0.0, 1.0), {"search": (0.1, 1.5)}),
    ],
)
def test_a_plugin_cannot_declare_a_default_or_a_search_outside_its_range(arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"default|search"):
        hp(*arguments, **options)


def test_ranges_keep_what_was_declared_in_order() -> None:
    found = ranges(Params)
    assert list(found)[:3] == ["count", "rate", "free"]
    assert found["rate"] == Range(0.0, 0.9, search=(0.1, 0.5), help="a share")
    assert ranges(NoParams) == {}


@given(st.fixed_dictionaries({}, optional={"count": st.integers(1, 10), "free": st.floats(-1e300, 1e300), "word": st.text()}))
def test_resolved_values_survive_text_and_json(values: dict[str, Any]) -> None:
    first = resolve(Params, values, "toy")
    kept = {key: getattr(first, key) for key in ranges(Params)}
    assert resolve(Params, json.loads(json.dumps(kept)), "toy") == first
    assert resolve(Params, {key: str(kept[key]) for key in kept}, "toy") == first


def test_every_preset_is_accepted() -> None:
    registry = Registry()
    for kind in KINDS:
        for entry in registry.entries(kind):
            cls = registry.load(kind, entry.name)
            for name, preset in cls.presets.items():
                resolved = resolve(cls.Params, preset, f"{entry.name}:{name}")
                assert {key: getattr(resolved, key) for key in preset} == preset
