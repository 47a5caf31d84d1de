from __future__ import annotations

import pytest

from reports.cells import cells
from reports.families import families
from reports.rows import flatten_all


def of(result, name: str, label: str, nominal: float | None, version: int = 1, **params) -> dict:
    made = result(noise=label)
    made["spec"]["noise"] = {"name": name, "params": params, "version": version, "fingerprint": None}
    made["noise"]["nominal_rate"] = nominal
    return made


def found(results) -> list[tuple[str, float | None]]:
    return families(cells(flatten_all(results), None))


@pytest.mark.parametrize(
    ("name", "label", "rate", "params", "expected"),
    [
        ("none", "none", 0.0, {}, ("none", 0.0)),
        ("symmetric", "symmetric:0.4", 0.4, {"rate": 0.4, "inclusive": False}, ("symmetric", 0.4)),
        ("symmetric", "symmetric:0.0:inclusive=True", 0.0, {"rate": 0.0, "inclusive": True}, ("symmetric:inclusive=True", 0.0)),
        ("open_set", "open_set:npz:a.npz:rate=0.3", 0.3, {"source": "npz:a.npz", "rate": 0.3}, ("open_set:npz:a.npz", 0.3)),
        ("open_set", "open_set:digits", 0.2, {"source": "digits", "rate": 0.2}, ("open_set:digits", 0.2)),
        ("mask", "mask:0.5:beta=5", 0.5, {"alpha": 0.5, "beta": "5"}, ("mask:beta=5", 0.5)),
        ("pathologist", "pathologist", None, {"rate": None, "rater": "A"}, ("pathologist", None)),
        ("symmetric+human", "symmetric:0.1+human", None, {}, ("symmetric:0.1+human", None)),
    ],
)
def test_the_label_without_the_rate(result, name: str, label: str, rate: float | None, params: dict, expected: tuple) -> None:
    assert found([of(result, name, label, rate, **params)]) == [expected]


def test_rates_of_one_model_are_one_family(result) -> None:
    results = [of(result, "symmetric", f"symmetric:{rate}", rate, rate=rate, protect="") for rate in (0.2, 0.4)]
    assert found(results) == [("symmetric", 0.2), ("symmetric", 0.4)]


def test_two_models_of_one_name_are_two_families(result) -> None:
    results = [of(result, "symmetric", f"symmetric:{rate}", rate, version, rate=rate) for rate, version in ((0.2, 1), (0.4, 1), (0.4, 2))]
    first, second, third = (family for family, _ in sorted(found(results), key=lambda each: (each[1] or 0, each[0])))
    assert len({first, second, third}) == 2 and first in (second, third)
    assert all(family.startswith("symmetric #") for family in (first, second, third))


def test_without_a_record_the_spec_knows_the_rate(result) -> None:
    skipped = of(result, "symmetric", "symmetric:0.4", None, rate=0.4)
    assert found([skipped]) == [("symmetric", 0.4)]
    clean = of(result, "none", "none", None)
    clean["noise"] = {}
    assert found([clean]) == [("none", 0.0)]
