"""What the methods say of every sample, from the files of their runs: on the labels as they are, and with known wrong ones among them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Scores"]


@dataclass(frozen=True)
class Scores:
    """Of n samples, m methods and K classes; one row a sample of the data set, in its order.

    Attributes:
        methods: short names.
        given: (n,) int64 labels of these runs; in the check with the known wrong ones.
        part: (n,) uint8, 0 = a method trained on it, 1 = held out for validation, 2 = for testing. Held-out samples are judged by the
            forecast of a model that has not seen them.
        suspicion: (m, n) float64 in [0, 1], rank share within what was judged alike (part 0, or 1 and 2), 1 = the most suspicious; ties
            share their mean.
        flagged: (m, n) bool, what the method itself holds for wrong (held out: the forecast is another class).
        suggested: (m, n) int64, the class its final model takes for the most likely.
        confidence: (m, n) float64, the probability of that class.
        hardness: (n,) float64, higher is harder, NaN = not said: what hsa says of samples that it does not hold for wrong, as a rank share.
        true: (n,) int64; None where nobody knows, which is the rule.
    """

    methods: tuple[str, ...]
    given: np.ndarray
    part: np.ndarray
    suspicion: np.ndarray
    flagged: np.ndarray
    suggested: np.ndarray
    confidence: np.ndarray
    hardness: np.ndarray
    true: np.ndarray | None
