"""Failures by cause: messages that differ in numbers, paths and keys only are one; and text of others made fit for a terminal."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from benchmark.tracking.command import masked

__all__ = ["Failure", "FailureGroup", "cause", "group_failures", "printable"]

_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~])")
"""Escape sequences of terminals: control sequences, strings (titles, links), and the short ones."""

_KEY = re.compile(r"\b(?=[0-9a-f]*\d)[0-9a-f]{12,}\b|\b0x[0-9a-fA-F]+\b")
_PATH = re.compile(r"(?<![\w.])(?:[A-Za-z]:)?(?:\.{0,2}|~)?(?:[/\\][\w.@+~=%-]+)+[/\\]?|\b[\w.@+~=-]+(?:/[\w.@+~=-]+)+")
_NUMBER = re.compile(r"(?<![\w.])[-+]?\d+(?:[.,]\d+)*(?:[eE][-+]?\d+)?(?=[a-zA-Z]{0,3}\b|\W|$)")


@dataclass(frozen=True)
class Failure:
    """One cell that ended badly: its key, its name in words, and why, as a line."""

    key: str
    label: str
    message: str


@dataclass(frozen=True)
class FailureGroup:
    """Failures of one cause: what their messages have in common, how many there are, and one of them."""

    cause: str
    count: int
    example: Failure


def group_failures(failures: Iterable[Failure]) -> list[FailureGroup]:
    """Groups by cause, the most frequent first; the example is the first of its group.

    Messages that are the same word for word are shown as they are, else with ``#``, ``PATH`` and ``KEY`` for what differs.
    """
    groups: dict[str, list[Failure]] = {}
    for failure in failures:
        groups.setdefault(cause(failure.message), []).append(failure)
    found = []
    for text, members in groups.items():
        same = len({failure.message for failure in members}) == 1
        found.append(FailureGroup(printable(members[0].message) if same else text, len(members), members[0]))
    return sorted(found, key=lambda group: (-group.count, group.cause))


def cause(message: str) -> str:
    """A message with numbers, paths and keys replaced, without secrets and control characters."""
    text = _KEY.sub("KEY", printable(message))
    return _NUMBER.sub("#", _PATH.sub("PATH", text)) or "no message"


def printable(text: str) -> str:
    """Text of unknown origin as one line that moves no cursor, changes no colour or direction and tells no password."""
    if not (text.isascii() and text.isprintable()):
        text = _ESCAPE.sub("", text)
        text = "".join(
            " " if char in "\t\n\r\v\f\u2028\u2029\x85" else "" if unicodedata.category(char)[0] == "C" else char for char in text
        )
    return masked(" ".join(text.split()))
