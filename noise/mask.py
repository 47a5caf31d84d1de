"""Masks as hurried annotators draw them: too large, too small, ragged, beside the object, bent."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmark.api import Noise, Samples, hp, noise
from benchmark.errors import BenchmarkError, unknown_name
from benchmark.segmentation.mask_noise import corrupt, generators
from benchmark.segmentation.mask_operations import OPERATIONS, Radius


@noise(
    "mask",
    version=1,
    task="segmentation",
    source="Zhang et al. (2020), Characterizing Label Errors: Confident Learning for Noisy-labeled Image Segmentation, MICCAI, section 3; "
    "translate and elastic (Simard et al. 2003) are not theirs",
)
class MaskNoise(Noise):
    """A share alpha of each task's masks is dilated, eroded or made ragged by up to beta; the others stay right.

    Of n masks exactly ``int(alpha n)`` change, each by one of ``kinds``, all equally likely. ``beta`` is the radius of dilation and
    erosion, the bound of the radii along a ragged edge, of the distance of ``translate`` and of the displacements of ``elastic``: in
    pixels (``5``), or as a share of the square root of the object's area (``rel0.15``); one for all tasks or, joined by ``+``, one
    each. Neither says how wrong the masks are: the same radius erases a clavicle and hardly touches a lung. The realised share of wrong
    pixels, the Dice of the changed masks and the number of objects that are gone are recorded with every run.

    Each mask has a generator of its own, from data, noise, seed, task and the image's position, so that its noise does not depend on
    which other images train.
    """

    @dataclass(frozen=True)
    class Params:
        """How many masks are wrong, how far, and in which ways."""

        alpha: float = hp(0.5, 0.0, 1.0, tune=False, search=(0.0, 0.8), help="share of each task's masks that are changed, in [0, 1]")
        beta: str = hp("rel0.15", tune=False, help="how far: pixels (5) or a share of √area (rel0.15); one, or one a task joined by +")
        kinds: str = hp("dilate+erode+edge", tune=False, help="ways, joined by +: dilate, erode, edge, translate, elastic")

        def __post_init__(self) -> None:
            for radius in _words(self.beta, "beta"):
                try:
                    Radius.parse(radius)
                except BenchmarkError as error:
                    raise BenchmarkError(f"mask.beta: {error}") from None
            for kind in _words(self.kinds, "kinds"):
                if kind not in OPERATIONS:
                    raise unknown_name("kind of mask noise", kind, OPERATIONS)

    argument = "alpha"

    @property
    def rate(self) -> None:
        """None: alpha is a share of masks, and says little about the share of wrong pixels."""
        return None

    @property
    def is_particular(self) -> bool:
        """True with a radius for each task: there must be as many."""
        return len(_words(self.params.beta, "beta")) > 1

    def with_rate(self, rate: float) -> MaskNoise:
        """The same noise on another share of the masks."""
        return type(self)(dataclasses.replace(self.params, alpha=rate))

    def apply(self, samples: Samples, rng: np.random.Generator) -> np.ndarray:
        """Noisy masks.

        Args:
            samples: labels (n, T, H, W) uint8; each mask's generator comes from ``names``, ``tasks`` and ``positions``.
            rng: only used where the samples have no names: for labels alone.

        Returns:
            (n, T, H, W) uint8.

        Raises:
            BenchmarkError: labels that are no masks, or another number of radii than tasks.
        """
        masks = np.asarray(samples.labels)
        if masks.ndim != 4 or masks.dtype != np.uint8:
            raise BenchmarkError(f"mask noise needs masks, (n, T, H, W) uint8, and these labels are {masks.shape} {masks.dtype}")
        beta = _words(self.params.beta, "beta")
        tasks = samples.tasks or tuple(f"task {task}" for task in range(masks.shape[1]))
        if len(beta) not in (1, len(tasks)):
            raise BenchmarkError(
                f"mask.beta = {self.params.beta} gives {len(beta)} radii, and the tasks are {len(tasks)} ({', '.join(tasks)}); "
                "give one for all, or one each"
            )
        # Kinds and radii are among the names so that two mask models joined by + do not pick the same masks.
        names = [*(samples.names or [int(rng.integers(2**53))]), self.params.beta, self.params.kinds]
        positions = np.arange(len(masks)) if samples.positions is None else samples.positions
        own = generators(names, positions.tolist(), tasks)
        noisy, _ = corrupt(masks, self.params.alpha, beta if len(beta) > 1 else beta[0], _words(self.params.kinds, "kinds"), rng_of=own)
        return noisy


def _words(text: str, name: str) -> Sequence[str]:
    words = [word.strip() for word in text.split("+")]
    if not all(words):
        raise BenchmarkError(f"mask.{name} = '{text}' is empty, or has nothing on one side of a +")
    return words
