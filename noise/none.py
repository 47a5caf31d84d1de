"""No noise: the upper bound that every method is compared with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmark.api import Noise, noise


@noise("none", version=1, source="")
class NoNoise(Noise):
    """Leaves the true labels as they are; its rate is 0."""

    @property
    def rate(self) -> float:
        """Always 0."""
        return 0.0

    def with_rate(self, rate: float) -> NoNoise:
        """Itself: no noise is no noise at any rate."""
        return self

    def apply(
        self,
        labels: np.ndarray,
        num_classes: int,
        rng: np.random.Generator,
        *,
        images: np.ndarray | None = None,
        class_names: Sequence[str] = (),
        given: np.ndarray | None = None,
    ) -> np.ndarray:
        """A copy of ``labels``, (n,) int64; nothing is drawn from ``rng``."""
        return np.array(labels, dtype=np.int64)
