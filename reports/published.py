"""Published figures beside ours: a small table of sources, and which of its rows a group's method can be held against."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Published"]


@dataclass(frozen=True)
class Published:
    """A figure that someone else has printed for the same data, noise, method and backbone.

    Attributes:
        key: of our metric that it is held against, e.g. ``last/accuracy``.
        value: share in [0, 1]. sd: over ``n`` runs, None where unknown.
        source: where it is printed. protocol: how it was made, in a few words.
        difference: our mean minus it; None where we have no such number.
    """

    key: str
    value: float
    sd: float | None
    n: int | None
    source: str
    protocol: str
    difference: float | None = None
