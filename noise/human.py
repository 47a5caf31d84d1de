"""The data set's own label errors, where a reference tells them from the truth."""

from __future__ import annotations

import numpy as np

from benchmark.api import Noise, Samples, noise
from benchmark.errors import BenchmarkError


@noise(
    "human",
    version=1,
    source="Zhu et al. (2021), Hard Sample Aware Noise Robust Learning (Chaoyang); Wei et al. (2022), CIFAR-N",
    task="any",
)
class HumanNoise(Noise):
    """Real annotators' errors: training uses the labels as given, the reference stays in the harness.

    Only for data sets with a reference (``Arrays.clean_labels``, the ``clean_label`` column of ``folder:``). The rate is
    whatever the annotators' was; it is recorded with the run.
    """

    injected = False
    absolute = True
    """The labels do not depend on those of another model; see :class:`benchmark.noise_combined.Combined`."""

    def with_rate(self, rate: float) -> HumanNoise:
        """Refused: people's errors cannot be drawn at a rate (BenchmarkError)."""
        raise BenchmarkError("human noise cannot be drawn at a rate; imitate it with another model, such as symmetric")

    def apply(self, samples: Samples, rng: np.random.Generator) -> np.ndarray:
        """A copy of ``samples.given``; nothing is drawn from ``rng``.

        Raises:
            BenchmarkError: the data set has no reference, so ``samples.given`` is None.
        """
        given = samples.given
        if given is None:
            other = "mask:0.5" if samples.tasks else "symmetric:0.2"
            raise BenchmarkError(f"human noise needs a data set with reference labels beside the given ones; use {other} here, say")
        if len(given) != len(samples.labels):
            raise BenchmarkError(f"human noise: {len(given)} given labels for {len(samples.labels)} true ones")
        return np.array(given)
