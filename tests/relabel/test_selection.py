"""Which samples come first, what is suggested, and the reason in words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmark.relabel.selection import most_suspicious, percent

CLASSES = ("normal", "adenoma", "serrated")


def samples(**columns: Any) -> dict[str, np.ndarray]:
    table: dict[str, Any] = {
        "index": [10, 11, 12, 13, 14],
        "given": [0, 1, 2, 0, 1],
        "quality": [0.5, 0.1, 0.1, 0.9, 0.3],
        "suspect": [True, False, False, True, False],
    }
    return {name: np.array(values) for name, values in (table | columns).items()}


def order(top: int = 9, answered: frozenset[int] = frozenset(), **columns: Any) -> list[int]:
    return [candidate.index for candidate in most_suspicious(samples(**columns), CLASSES, top, answered)]


def test_suspects_come_first_and_the_lowest_quality_within_both() -> None:
    assert order() == [10, 13, 11, 12, 14]  # on a tie the lower index
    assert order(top=2) == [10, 13]
    assert order(suspect=[False] * 5) == [11, 12, 14, 10, 13]


def test_answered_samples_make_room_for_the_next() -> None:
    assert order(top=2, answered=frozenset({10, 11})) == [13, 12]
    assert order(answered=frozenset(range(10, 15))) == []


def test_the_networks_view_is_told_with_both_probabilities() -> None:
    found = most_suspicious(
        samples(suggested=[1, 1, 2, 0, 0], confidence=[0.944, 0.3, 0.4, 0.999, 0.5], given_probability=[0.03, 0.3, 0.4, 0.999, 0.2]),
        CLASSES,
        3,
    )
    assert [(candidate.suggestion, candidate.confidence) for candidate in found] == [(1, 0.944), (0, 0.999), (1, 0.3)]
    assert found[0].reason == "the network gives 'normal' 3 % and 'adenoma' 94 %; label quality 0.5, rank 4 of 5 from the bottom"
    assert (
        found[1].reason
        == "the network agrees with 'normal' (>99 %); the method suspects it; label quality 0.9, rank 5 of 5 from the bottom"
    )
    assert found[2].reason == "the network agrees with 'adenoma' (30 %); label quality 0.1, rank 1 of 5 from the bottom"


def test_what_the_method_made_of_it_is_told_where_it_is_another_class() -> None:
    found = most_suspicious(
        samples(suggested=[1] * 5, confidence=[0.5] * 5, given_probability=[0.1] * 5, corrected=[2, 1, 1, -1, 1]), CLASSES, 5
    )
    reasons = {candidate.index: candidate.reason for candidate in found}
    assert "; the method would make it 'serrated'; " in reasons[10]
    assert "; the method left it out; " in reasons[13]
    assert "the method" not in reasons[12]  # as the network says


def test_older_runs_suggest_what_was_corrected() -> None:
    found = most_suspicious(samples(corrected=[1, 1, -1, 0, 0]), CLASSES, 5)
    assert [(candidate.index, candidate.suggestion, candidate.confidence) for candidate in found] == [
        (10, 1, None),
        (13, None, None),  # corrected to what it was
        (11, None, None),
        (12, None, None),  # dropped
        (14, 0, None),
    ]
    assert found[0].reason == "the method would make it 'adenoma'; label quality 0.5, rank 4 of 5 from the bottom"
    assert found[3].reason.startswith("the method left it out; ")
    assert [candidate.suggestion for candidate in most_suspicious(samples(), CLASSES, 5)] == [None] * 5
    assert most_suspicious(samples(), CLASSES, 1)[0].reason == "the method suspects it; label quality 0.5, rank 4 of 5 from the bottom"


@pytest.mark.parametrize(
    ("share", "text"), [(0.0, "<1 %"), (0.03, "3 %"), (0.944, "94 %"), (0.994, "99 %"), (0.996, ">99 %"), (1.0, ">99 %")]
)
def test_a_percentage_never_pretends_certainty(share: float, text: str) -> None:
    assert percent(share) == text
