"""The only door to the truth: every question is asked by name, counted, and marked in every table."""

from __future__ import annotations

from collections import Counter

import numpy as np

from benchmark.api import Noise


class Oracle:
    """What a method may ask for that a real data set would not tell.

    Args:
        truth: (n,) int64 true training labels; None where nobody knows them.
        noise: the noise model that was applied.
        realised_rate: share of wrong training labels; None where unknown.
        num_classes: K.
        class_names: K names.

    Attributes:
        used: question → how often it was asked (for labels: how many were returned).
    """

    def __init__(
        self, truth: np.ndarray | None, noise: Noise, realised_rate: float | None, num_classes: int, class_names: tuple[str, ...]
    ) -> None:
        self._truth, self._noise, self._rate = truth, noise, realised_rate
        self._num_classes, self._class_names = num_classes, class_names
        self.used: Counter[str] = Counter()

    @property
    def knows_rate(self) -> bool:
        """Whether noise of a known rate was injected here; asking this is free.

        A rate of 0 injects nothing: the labels may still be wrong as they came, so their rate is not known.
        """
        return bool(self._noise.rate) and self._rate is not None

    def noise_rate(self) -> float | None:
        """The realised share of wrong training labels, None where there is no reference. Metered as ``noise_rate``."""
        if self._rate is not None:
            self.used["noise_rate"] += 1
        return self._rate

    def imitate_noise(self, labels: np.ndarray, rate: float, rng: np.random.Generator) -> np.ndarray:
        """Noise of the same kind at another rate on (m,) labels. Metered as ``noise_kind``.

        Raises:
            LookupError: the kind is unknown (the noise is real) or takes no rate.
        """
        if self._noise.rate is None or self._noise.rate == 0:
            raise LookupError("the kind of noise is unknown")
        self.used["noise_kind"] += 1
        return self._noise.with_rate(rate).apply(labels, self._num_classes, rng, class_names=self._class_names)

    def labels(self, indices: np.ndarray) -> np.ndarray:
        """True labels of (m,) training samples. Metered as ``labels``, one a sample.

        Raises:
            LookupError: there is no reference.
        """
        if self._truth is None:
            raise LookupError("these data have no reference labels")
        self.used["labels"] += len(indices)
        return self._truth[indices]
