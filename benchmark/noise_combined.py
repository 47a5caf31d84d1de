"""Several noise models as one, each applied to the labels that the one before it left: ``symmetric:0.1+human``."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from benchmark.api import Dataset, Noise, NoParams, Samples
from benchmark.errors import BenchmarkError


class Combined(Noise):
    """The noise models ``parts``, one after the other, each with a generator of its own.

    A part sees the labels that the parts before it left. One whose labels come from elsewhere (``absolute``: people's, or
    those of a file) is asked with the true labels, and its errors are laid over the others': what it has right undoes no
    earlier error. The rate of the whole is not known beforehand.

    Attributes:
        name: the parts' names, joined by ``+``.
        injected: True if any part's errors are this program's doing.
    """

    def __init__(self, parts: Sequence[Noise]) -> None:
        super().__init__(NoParams())
        self.parts = tuple(parts)
        self.name = "+".join(part.name for part in self.parts)  # type: ignore[misc]
        self.manifest = {"version": 1}  # type: ignore[misc]
        self.injected = any(part.injected for part in self.parts)  # type: ignore[misc]

    @property
    def rate(self) -> None:
        """None: errors of one part may hit those of another, so the rates do not add up."""
        return None

    @property
    def is_particular(self) -> bool:
        """True if any part is."""
        return any(part.is_particular for part in self.parts)

    def with_rate(self, rate: float) -> Noise:
        """Refused: how a rate would be shared among the parts is not known (BenchmarkError)."""
        raise BenchmarkError(f"{self.name} cannot be drawn at a rate; imitate one of its parts")

    def fingerprint(self, root: Path, dataset: Callable[[str], Dataset]) -> str | None:
        """The parts' fingerprints, as a JSON list; None if no part has one."""
        found = [part.fingerprint(root, dataset) for part in self.parts]
        return json.dumps(found) if any(print_ is not None for print_ in found) else None

    def apply(self, samples: Samples, rng: np.random.Generator) -> np.ndarray:
        """The labels after the last part; errors as those of the parts."""
        labels = np.array(samples.labels)
        for part, own in zip(self.parts, rng.spawn(len(self.parts)), strict=True):
            if part.absolute:
                given = part.apply(samples, own)
                labels = np.where(given != samples.labels, given, labels)
            else:
                labels = part.apply(dataclasses.replace(samples, labels=labels), own)
        return labels

    def replace_images(self, samples: Samples, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray] | None:
        """The parts' replacements together; where two replace the same image, the later one's stands."""
        found = [part.replace_images(samples, own) for part, own in zip(self.parts, rng.spawn(len(self.parts)), strict=True)]
        there = [replacement for replacement in found if replacement is not None]
        if not there:
            return None
        positions = np.concatenate([replacement[0] for replacement in there])
        images = np.concatenate([replacement[1] for replacement in there])
        unique, from_end = np.unique(positions[::-1], return_index=True)
        return unique, images[len(positions) - 1 - from_end]
