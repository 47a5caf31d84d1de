"""The training samples of a condition that are most likely mislabelled, by the votes of all its methods, with their pictures."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Gallery", "Suspect"]


@dataclass(frozen=True)
class Suspect:
    """One training sample.

    Attributes:
        index: in the data set. path: file name, empty where the data are arrays.
        given: class name of its label. suggested: what most methods suggest instead, None if none does. true: None where nobody knows.
        rank: mean over methods of its rank by label quality, as a share: 0 = the most suspicious.
        votes: methods that hold the label for wrong. voters: methods asked.
        picture: media type and content, None where the data are not on this machine.
    """

    index: int
    path: str
    given: str
    suggested: str | None
    true: str | None
    rank: float
    votes: int
    voters: int
    picture: tuple[str, bytes] | None


@dataclass(frozen=True)
class Gallery:
    """Of one group, at one seed, since the samples differ between seeds.

    Attributes:
        seed: the lowest that all methods have. methods: who voted. n: training samples.
        suspects: the most suspicious first. note: why there are none, or no pictures; empty else.
    """

    seed: int
    methods: tuple[str, ...]
    n: int
    suspects: tuple[Suspect, ...]
    note: str
