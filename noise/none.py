"""No noise: the upper bound that every method is compared with."""

from __future__ import annotations

import numpy as np

from benchmark.api import Noise, Samples, noise


@noise("none", version=1, source="", task="any")
class NoNoise(Noise):
    """Leaves the true labels as they are; its rate is 0."""

    @property
    def rate(self) -> float:
        """Always 0."""
        return 0.0

    def with_rate(self, rate: float) -> NoNoise:
        """Itself: no noise is no noise at any rate."""
        return self

    def apply(self, samples: Samples, rng: np.random.Generator) -> np.ndarray:
        """A copy of the labels; nothing is drawn from ``rng``."""
        return np.array(samples.labels)
