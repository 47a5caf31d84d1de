"""What is wrong with a person's images whatever their labels are: copies, near copies under other labels, copies across the parts."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Audit", "Twins"]


@dataclass(frozen=True)
class Twins:
    """Images that are the same, or nearly.

    Attributes:
        samples: at least two positions in the data set, ascending.
        exact: their pixels are equal; else they look alike (the distance of their prints is at most :data:`NEAR`).
        distance: largest distance of prints among them, 0 for exact ones.
        conflict: their labels differ. leak: they lie in different parts (train, val, test) or, where there are groups, in different groups.
    """

    samples: tuple[int, ...]
    exact: bool
    distance: int
    conflict: bool
    leak: bool


@dataclass(frozen=True)
class Audit:
    """What was found.

    Attributes:
        n: images. classes: class → samples. twins: exact ones first, then by distance.
        unreadable: path → why, of images that were left out (``skip_bad``).
        notes: what a person should know: classes with few samples, mixed sizes or modes that were brought to one, rotations that were applied.
    """

    n: int
    classes: dict[str, int]
    twins: tuple[Twins, ...]
    unreadable: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
