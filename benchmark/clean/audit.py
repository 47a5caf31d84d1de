"""What is wrong with a person's images whatever their labels are: copies, near copies under other labels, copies across the parts."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmark.clean.prints import look_alikes, print_distances, take_prints

__all__ = ["FEW", "Audit", "Twins", "audit"]

FEW = 10
"""A class with fewer samples has one held out at most, if any: what is said of it rests on nearly nothing."""
NAMED = 5
BLOCK_BYTES = 32 * 2**20


@dataclass(frozen=True)
class Twins:
    """Images that are the same, or nearly.

    Attributes:
        samples: at least two positions in the data set, ascending.
        exact: their pixels are equal; else they look alike, turned or mirrored perhaps, each as at least one other of them
            (:func:`benchmark.clean.prints.look_alikes`).
        distance: largest distance of their prints from the first one's, in bits of 63; 0 for exact ones. Above
            :data:`benchmark.clean.prints.NEAR` only where others stand between.
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
        n: images. classes: class → samples. twins: exact ones first, then by distance, then by the first sample. A set of near ones
            holds all copies of its members, so an exact pair may stand in two sets.
        unreadable: path → why, of images that were left out (``skip_bad``).
        notes: what a person should know: classes with few samples, mixed sizes or modes that were brought to one, rotations that were
            applied.
    """

    n: int
    classes: dict[str, int]
    twins: tuple[Twins, ...]
    unreadable: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def audit(
    images: Any,
    labels: np.ndarray,
    classes: Sequence[str],
    *,
    split: np.ndarray | None = None,
    groups: np.ndarray | None = None,
    unreadable: Mapping[str, str] | None = None,
    notes: Sequence[str] = (),
) -> Audit:
    """Look for copies among n images and for classes that are too small.

    Args:
        images: (n, H, W, C) uint8: an array, a memory map or :class:`~benchmark.data.rows.ImageRows`, read in blocks. Other arrays, of
            features, say, are searched for equal rows only.
        labels: (n,) int64, positions in ``classes``.
        classes: K names.
        split: (n,) codes of the parts; None where there are none.
        groups: (n,) ids of patients or slides, None likewise.
        unreadable: path → why, of images that were left out.
        notes: what is known of the files, see :func:`benchmark.clean.headers.file_notes`.
    """
    content = _contents(images)
    counts = np.bincount(labels, minlength=len(classes))
    said = [*notes, *_small_classes(classes, counts)]

    def twins(samples: np.ndarray, exact: bool, distance: int) -> Twins:
        apart = [values[samples] for values in (split, groups) if values is not None]
        leak = any(len(np.unique(values)) > 1 for values in apart)
        return Twins(tuple(samples.tolist()), exact, distance, len(np.unique(labels[samples])) > 1, leak)

    found = [twins(samples, True, 0) for samples in _together(content)]
    if len(images.shape) == 4 and len(labels):
        originals, original = np.unique(content, return_inverse=True)
        prints = take_prints(images, originals)
        for samples in _together(look_alikes(prints)[original]):
            members = np.unique(original[samples])
            if len(members) > 1:
                found.append(twins(samples, False, int(print_distances(prints, int(members[0]), members[1:]).max())))
        blank = int(prints.flat[original].sum())
        if blank:
            said.append(
                f"{blank} of {len(labels)} images {'is' if blank == 1 else 'are'} nearly blank: only equal pixels make copies of such"
            )
    found.sort(key=lambda one: (not one.exact, one.distance, one.samples))
    return Audit(len(labels), dict(zip(classes, counts.tolist(), strict=True)), tuple(found), dict(unreadable or {}), tuple(said))


def _contents(images: Any) -> np.ndarray:
    """(n,) int64: the first row with the same content, by a hash of 128 bits."""
    first: dict[bytes, int] = {}
    n = images.shape[0]
    found = np.empty(n, dtype=np.int64)
    count = max(1, BLOCK_BYTES // max(1, int(np.prod(images.shape[1:]))))
    for start in range(0, n, count):
        block = np.ascontiguousarray(images[start : start + count])
        for row, one in enumerate(block, start):
            found[row] = first.setdefault(hashlib.blake2b(one.data, digest_size=16).digest(), row)
    return found


def _together(number: np.ndarray) -> list[np.ndarray]:
    """The positions of each number that occurs more than once, ascending."""
    order = np.argsort(number, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(number[order])) + 1)
    return [part for part in parts if len(part) > 1]


def _small_classes(classes: Sequence[str], counts: np.ndarray) -> list[str]:
    few = np.flatnonzero(counts < FEW)
    if not len(few):
        return []
    named = ", ".join(f"{classes[one]} ({counts[one]})" for one in few[np.argsort(counts[few], kind="stable")][:NAMED])
    more = f" and {len(few) - NAMED} more" if len(few) > NAMED else ""
    words = "1 class has" if len(few) == 1 else f"{len(few)} classes have"
    return [f"{words} fewer than {FEW} samples: {named}{more}; what is said of them rests on little"]
