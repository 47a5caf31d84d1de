"""Whose seconds are counted: several runs may share one process, and each is charged for its own work only."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

_here = threading.local()


def member() -> Any:
    """The run that this thread trains, one of a group (:class:`benchmark.training.together.Member`); None where there is no group."""
    return getattr(_here, "member", None)


def belong_to(one: Any) -> None:
    """This thread trains a run of a group from now on."""
    _here.member = one


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """What a run of a group computes inside it computes by itself, and no other has its turn meanwhile.

    Needed where the run holds a lock that others may wait for, and where not a bit may depend on who else is there.
    """
    one = member()
    if one is None:
        yield
        return
    before, one.alone = one.alone, True
    try:
        yield
    finally:
        one.alone = before


def seconds() -> float:
    """Seconds from an arbitrary start, for differences.

    Of a run in a group: the time that its own thread worked, and its share of the work that was done for several runs at once. So the
    seconds of all runs of a group add up to the time that the group took.
    """
    one = member()
    return time.perf_counter() if one is None else float(one.seconds())
