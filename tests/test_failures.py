"""Failures by cause, and text of others on a terminal."""

from __future__ import annotations

import pytest

from benchmark.failures import Failure, cause, group_failures, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain words", "plain words"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;a title\x07text", "text"),
        ("\x1b]8;;http://evil\x1b\\a link\x1b]8;;\x1b\\", "a link"),
        ("\x1bPq a picture\x1b\\text", "text"),
        ("\x1b(0 \x1bc reset", "reset"),
        ("\x1b[2J\x1b[Hgone", "gone"),
        ("\x9b31mred", "31mred"),
        ("one\r\ntwo\tthree\x00\x07\x08", "one two three"),
        ("left\u202eright\u200b", "leftright"),
        ("a\u2028b", "a b"),
        ("half \ud800 a pair", "half a pair"),
        ("Größe 3 µm", "Größe 3 µm"),
        ("\x1b", ""),
        ("https://user:hunter22@host/db", "https://***@host/db"),
    ],
)
def test_text_of_others_is_one_harmless_line(text: str, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("Tried to allocate 2.50 GiB on cuda:0", "Tried to allocate # GiB on cuda:#"),
        ("loss is 1e-07 at step 12", "loss is # at step #"),
        ("runs/00ab12cd34ef5678/last.pt is corrupt", "PATH is corrupt"),
        ("cannot read /data/set 1/img.png", "cannot read PATH PATH"),
        ("run 00ab12cd34ef5678 was taken over", "run KEY was taken over"),
        ("object at 0x7f3a10", "object at KEY"),
        ("resnet18 needs 3 channels", "resnet18 needs # channels"),
        ("deadbeef cafe", "deadbeef cafe"),
        ("C:\\data\\x.png is missing", "PATH is missing"),
        ("", "no message"),
        ("\x1b[31m\x1b[0m", "no message"),
    ],
)
def test_a_cause_is_what_messages_have_in_common(message: str, expected: str) -> None:
    assert cause(message) == expected


def test_groups_are_counted_and_the_most_frequent_is_first() -> None:
    failures = [Failure(f"{n:016x}", f"cell {n}", f"RuntimeError: {n} MiB") for n in range(300)]
    failures += [Failure("a" * 16, "other", "ValueError: 3 of 4"), Failure("b" * 16, "another", "ValueError: 3 of 4")]
    first, second = group_failures(failures)
    assert (first.cause, first.count, first.example) == ("RuntimeError: # MiB", 300, failures[0])
    assert (second.cause, second.count, second.example.label) == ("ValueError: 3 of 4", 2, "other")  # word for word the same
    assert group_failures([]) == []
