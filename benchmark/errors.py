"""Errors that a user can act on: one line that says what is wrong, what is near, and what to do next."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

MOST_NAMES = 60
"""An error lists what exists unless that is more than this."""


class BenchmarkError(Exception):
    """A problem with the input or the surroundings, told in one line. The command line prints it and exits with 2."""


class DivergedError(BenchmarkError):
    """A training loss became NaN or infinite. The run is marked as diverged; the others go on."""


class LeaseLostError(BenchmarkError):
    """Another driver has taken over this run's folder; this worker must stop writing to it."""


def unknown_name(kind: str, name: str, known: Iterable[str], next_step: str = "") -> BenchmarkError:
    """An error for a name that does not exist: the near matches (at most three), then all that exist, then the next step.

    Args:
        kind: what the name stands for, in the singular, e.g. ``"method"``.
        name: what the user wrote.
        known: every name that would have been accepted.
        next_step: a sentence appended at the end.
    """
    names = sorted(known)
    folded = {known_name.lower(): known_name for known_name in names}
    near = [folded[match] for match in difflib.get_close_matches(name.lower(), folded, n=3, cutoff=0.5)]
    parts = [f"unknown {kind} '{name}'"]
    if near:
        parts.append("did you mean " + " or ".join(f"'{match}'" for match in near) + "?")
    if len(names) <= MOST_NAMES:
        parts.append(f"known: {', '.join(names) or 'none'}")
    if next_step:
        parts.append(next_step)
    return BenchmarkError("; ".join(parts))
