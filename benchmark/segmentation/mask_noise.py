"""Noisy masks: a share alpha of each task's masks is dilated, eroded, made ragged, moved or bent by up to beta.

The noise of Zhang et al. (2020), "Characterizing label errors: confident learning for noisy-labeled image segmentation"
(MICCAI). There, (alpha, beta) are all that is reported; the same radius destroys a clavicle and hardly touches a lung. So
what was really done is recorded: Dice of noisy and clean masks, the share of wrong pixels and how many objects are gone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmark.errors import BenchmarkError, unknown_name
from benchmark.seeds import numpy_generator
from benchmark.segmentation import VOID
from benchmark.segmentation.mask_operations import OPERATIONS, Radius

KINDS = ("dilate", "erode", "edge")
"""The paper's kinds of noise; each is equally likely."""

UNTOUCHED = -1
"""The code of a mask that was not drawn."""

RngOf = Callable[[int, int], np.random.Generator]
"""(task, row) → the generator of that mask's noise."""


@dataclass(frozen=True)
class TaskNoise:
    """What one task's masks met.

    Attributes:
        radius: beta as it was asked for, ``10`` or ``rel0.15``.
        masks, corrupted: how many there are, and how many were drawn.
        objectless: drawn masks that show no object; noise leaves them as they are.
        dice: mean Dice of noisy and clean masks over the drawn ones that show an object (over the classes of each, where there
            are several); None where there are none.
        pixel_error_rate: share of wrong pixels among those of all the task's masks that are not void; None without any.
        emptied: masks of which a class that was there is gone.
        kinds: kind of noise → how many masks drew it.
    """

    radius: str
    masks: int
    corrupted: int
    objectless: int
    dice: float | None
    pixel_error_rate: float | None
    emptied: int
    kinds: dict[str, int]


@dataclass(frozen=True)
class MaskNoiseRecord:
    """One draw of noise.

    Attributes:
        alpha: the share of masks that was asked for.
        names: the kinds of noise; ``kinds`` holds positions in it.
        kinds: (n, T) int8, :data:`UNTOUCHED` where a mask was not drawn.
        dice: (n, T) float32, Dice of noisy and clean mask (mean over the classes that the clean one shows); NaN where it shows none.
        emptied: (n, T) bool, a class that was there is gone.
        tasks: T summaries.
    """

    alpha: float
    names: tuple[str, ...]
    kinds: np.ndarray
    dice: np.ndarray
    emptied: np.ndarray
    tasks: tuple[TaskNoise, ...]

    def summary(self) -> dict[str, Any]:
        """JSON-serialisable: ``alpha`` and ``tasks``, one dictionary of :class:`TaskNoise`'s attributes each."""
        return {"alpha": self.alpha, "tasks": [{**vars(task), "kinds": dict(task.kinds)} for task in self.tasks]}


def generators(seed: Any, ids: Sequence[Any], tasks: Sequence[Any]) -> RngOf:
    """One generator per seed, task and image, so that an image's noise does not depend on which others there are.

    Args:
        seed: the run's seed, or any JSON-serialisable name of the draw.
        ids: n names of the images (file names, positions in the whole set); JSON-serialisable.
        tasks: T names of the tasks.
    """
    return lambda task, row: numpy_generator("mask_noise", seed, tasks[task], ids[row])


def corrupt(
    labels: np.ndarray,
    alpha: float,
    beta: str | float | Sequence[str | float],
    kinds: Sequence[str] = KINDS,
    *,
    rng_of: RngOf,
) -> tuple[np.ndarray, MaskNoiseRecord]:
    """Noisy masks and what was done to them.

    Of each task's n masks, ``int(n * alpha)`` are drawn: each image's generator gives a number, and the lowest are taken. So
    more noise keeps the masks that less noise has changed, and changes them in the same way. For each of them one kind is
    drawn, all equally likely, and applied to the mask of each foreground class, lowest id first. The noisy masks are laid
    over an empty map in that order: where two meet the higher id wins, and what none covers is background. Void stays void
    and is part of no object.

    Args:
        labels: (n, T, H, W) uint8 class ids, 0 the background, 255 void; never changed.
        alpha: the share of masks in [0, 1].
        beta: how far the noise reaches, in pixels (``10``) or as a share of the square root of the object's area
            (``"rel0.15"``); one for all tasks or one each. Radius of dilation and erosion, bound of the radii along the edge, of
            the distance of a translation and of the displacements of elastic deformation.
        kinds: names of :data:`~benchmark.segmentation.mask_operations.OPERATIONS`.
        rng_of: the generator of a mask by task and row; see :func:`generators`.

    Returns:
        (n, T, H, W) uint8, a new array, and the record.

    Raises:
        BenchmarkError: alpha outside [0, 1], no or unknown kinds, a radius that is none, another number of radii than tasks, or
            labels that are not (n, T, H, W) uint8.

    Source: Zhang et al. (2020), section 3; ``translate`` and ``elastic`` (Simard et al. 2003) are not theirs.
    """
    if labels.ndim != 4 or labels.dtype != np.uint8:
        raise BenchmarkError(f"masks must be (n, T, H, W) uint8 class ids, not {labels.shape} {labels.dtype}")
    if not 0 <= alpha <= 1:
        raise BenchmarkError(f"alpha is the share of masks that are noisy, in [0, 1]; not {alpha:g}")
    names = _checked(kinds)
    n, T = labels.shape[:2]
    radii = _radii(beta, T)
    noisy = labels.copy()
    codes = np.full((n, T), UNTOUCHED, dtype=np.int8)
    dice = np.full((n, T), np.nan, dtype=np.float32)
    emptied = np.zeros((n, T), dtype=bool)
    count = math.floor(n * alpha + 1e-9)  # 0.29 * 100 is a little less than 29
    for task in range(T):
        sources = [rng_of(task, row) for row in range(n)]
        drawn = np.argsort([source.random() for source in sources], kind="stable")[:count]
        for row in drawn.tolist():
            code = int(sources[row].integers(len(names)))
            codes[row, task] = code
            noisy[row, task] = _noisy(labels[row, task], OPERATIONS[names[code]], radii[task], sources[row])
        for row in range(n):
            dice[row, task], emptied[row, task] = _compare(labels[row, task], noisy[row, task], touched=codes[row, task] != UNTOUCHED)
    tasks = tuple(
        _summary(labels[:, task], noisy[:, task], codes[:, task], dice[:, task], emptied[:, task], names, radii[task]) for task in range(T)
    )
    return noisy, MaskNoiseRecord(float(alpha), names, codes, dice, emptied, tasks)


def _checked(kinds: Sequence[str]) -> tuple[str, ...]:
    names = (kinds,) if isinstance(kinds, str) else tuple(kinds)
    for name in names:
        if name not in OPERATIONS:
            raise unknown_name("kind of mask noise", name, OPERATIONS)
    if not names:
        raise BenchmarkError(f"mask noise needs at least one kind of: {', '.join(OPERATIONS)}")
    return names


def _radii(beta: str | float | Sequence[str | float], tasks: int) -> list[Radius]:
    given = list(beta) if isinstance(beta, (Sequence, np.ndarray)) and not isinstance(beta, str) else [beta] * tasks
    if len(given) != tasks:
        raise BenchmarkError(f"beta gives {len(given)} radii for {tasks} tasks; give one for all, or one a task")
    return [Radius.parse(one) for one in given]


def _noisy(
    clean: np.ndarray, operation: Callable[[np.ndarray, float, np.random.Generator], np.ndarray], radius: Radius, rng: np.random.Generator
) -> np.ndarray:
    """One (H, W) label map after noise on each of its foreground classes."""
    result = np.zeros_like(clean)
    for j in _foreground(clean):
        mask = clean == j
        result[operation(mask, radius.pixels(mask), rng)] = j
    result[clean == VOID] = VOID
    return result


def _foreground(clean: np.ndarray) -> list[int]:
    """The class ids of a label map, without background and void, ascending."""
    counts = np.bincount(clean.reshape(-1), minlength=256)
    return (np.flatnonzero(counts[1:VOID]) + 1).tolist()


def _compare(clean: np.ndarray, noisy: np.ndarray, *, touched: bool) -> tuple[float, bool]:
    """Mean Dice over the classes of the clean map (NaN where it has none), and whether one of them is gone."""
    there = _foreground(clean)
    if not there or not touched:
        return (1.0 if there else math.nan), False
    before, after = (np.bincount(labels.reshape(-1), minlength=256)[there] for labels in (clean, noisy))
    both = np.bincount(clean[clean == noisy].reshape(-1), minlength=256)[there]
    return float(np.mean(2 * both / (before + after))), bool((after == 0).any())


def _summary(
    clean: np.ndarray, noisy: np.ndarray, codes: np.ndarray, dice: np.ndarray, emptied: np.ndarray, names: tuple[str, ...], radius: Radius
) -> TaskNoise:
    drawn = codes != UNTOUCHED
    known = drawn & ~np.isnan(dice)
    pixels = int(np.count_nonzero(clean != VOID))
    return TaskNoise(
        radius=str(radius),
        masks=len(codes),
        corrupted=int(drawn.sum()),
        objectless=int((drawn & ~known).sum()),
        dice=float(dice[known].mean(dtype=np.float64)) if known.any() else None,
        pixel_error_rate=int(np.count_nonzero(clean != noisy)) / pixels if pixels else None,
        emptied=int(emptied.sum()),
        kinds={name: int((codes == code).sum()) for code, name in enumerate(names)},
    )
