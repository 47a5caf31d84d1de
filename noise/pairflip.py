"""Pair-flip (asymmetric) label noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmark.api import Noise, Samples, hp, noise
from benchmark.noise_matrix import draw_from_matrix
from benchmark.noise_tools import check_rate, protected_classes, unprotected


@noise("pairflip", version=2, task="classification+bags", source="Han et al. (2018), Co-teaching, NeurIPS, section 4 and appendix A")
class PairFlip(Noise):
    """A wrong label is always the next class: annotators who mistake each class for one similar class.

    With rate r the transition matrix is ``T_ii = 1 - r`` and ``T_i,next(i) = r``, where next(i) is the next unprotected
    class and the last is followed by the first (Han et al. 2018). From r = 0.5 on, the wrong label is as likely as the
    right one and no method can tell which is which; the record of the noise then says ``solvable: false``.
    """

    @dataclass(frozen=True)
    class Params:
        """The share of labels that flip, and which classes stay out of it."""

        rate: float = hp(0.2, tune=False, search=(0.0, 0.45), help="share of the labels that flip, in [0, 1)")
        protect: str = hp("", tune=False, help="classes (names or ids joined by +) that neither flip nor receive flips")

        def __post_init__(self) -> None:
            check_rate("pairflip", self.rate)

    argument = "rate"

    def apply(self, samples: Samples, rng: np.random.Generator) -> np.ndarray:
        """Flip an exact number of labels of each class, ``rate * n_i`` rounded up or down, and in all their rounded sum.

        Returns:
            (n,) int64.

        Raises:
            BenchmarkError: an unknown class in ``protect``, or fewer than two unprotected classes and a rate above 0.
        """
        protected = protected_classes("pairflip", self.params.protect, samples.num_classes, samples.class_names)
        allowed = unprotected("pairflip", samples.labels, samples.num_classes, self.params.rate, protected)
        transition = np.eye(samples.num_classes)
        if self.params.rate:
            transition[allowed, allowed] = 1 - self.params.rate
            transition[allowed, np.roll(allowed, -1)] = self.params.rate
        return draw_from_matrix(samples.labels, transition, rng)
