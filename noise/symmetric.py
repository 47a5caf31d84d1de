"""Symmetric (uniform) label noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmark.api import Noise, Samples, hp, noise
from benchmark.noise_matrix import draw_from_matrix
from benchmark.noise_tools import check_rate, protected_classes, unprotected


@noise(
    "symmetric",
    version=2,
    task="classification+bags",
    source="Natarajan et al. (2013), NeurIPS; Han et al. (2018), Co-teaching; inclusive: Li et al. (2020), DivideMix",
)
class Symmetric(Noise):
    """A wrong label is any other class, all alike.

    With rate r and K unprotected classes, the transition matrix is ``T_ii = 1 - r`` and ``T_ij = r / (K - 1)``
    (Natarajan et al. 2013; Han et al. 2018). ``inclusive`` draws the new label from all K classes, the old one among
    them (the CIFAR convention of DivideMix): ``T_ii = 1 - r (K - 1) / K``, ``T_ij = r / K``, so fewer labels end up wrong
    than r says. Published tables mix the two; compare only like with like.
    """

    @dataclass(frozen=True)
    class Params:
        """The share of labels drawn anew, how, and which classes stay out of it."""

        rate: float = hp(0.2, tune=False, search=(0.0, 0.8), help="share of the labels that are drawn anew, in [0, 1)")
        inclusive: bool = hp(False, tune=False, help="draw from all classes: the realised rate is rate * (K - 1) / K")
        protect: str = hp("", tune=False, help="classes (names or ids joined by +) that neither flip nor receive flips")

        def __post_init__(self) -> None:
            check_rate("symmetric", self.rate)

    argument = "rate"

    def apply(self, samples: Samples, rng: np.random.Generator) -> np.ndarray:
        """Flip an exact number of labels of each class to each other class, ``n_i T_ij`` rounded up or down.

        The whole number of wrong labels is its expectation, n counting the samples of unprotected classes, rounded.

        Returns:
            (n,) int64.

        Raises:
            BenchmarkError: an unknown class in ``protect``, or fewer than two unprotected classes and a rate above 0.
        """
        p = self.params
        protected = protected_classes("symmetric", p.protect, samples.num_classes, samples.class_names)
        allowed = unprotected("symmetric", samples.labels, samples.num_classes, p.rate, protected)
        transition = np.eye(samples.num_classes)
        if p.rate:
            wrong = p.rate / len(allowed) if p.inclusive else p.rate / (len(allowed) - 1)
            transition[np.ix_(allowed, allowed)] = wrong
            transition[allowed, allowed] = 1 - wrong * (len(allowed) - 1)
        return draw_from_matrix(samples.labels, transition, rng)
