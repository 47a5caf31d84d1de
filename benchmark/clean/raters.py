"""Several people's labels of the same images: who agrees, who is reliable, and what they say together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Raters"]


@dataclass(frozen=True)
class Raters:
    """Of n samples and r raters.

    Attributes:
        names: of the raters, as the csv's columns say.
        labels: (n, r) int64, −1 = not rated.
        consensus: (n,) int64, by cleanlab's CROWDLAB with the methods' forecasts; before there are any, the majority.
        quality: (n,) float64 in [0, 1], of the consensus label; of the majority: the share of raters who agree.
        rater_quality: (r,) float64 in [0, 1]; NaN before CROWDLAB. agreement: (r,) float64, with the consensus.
    """

    names: tuple[str, ...]
    labels: np.ndarray
    consensus: np.ndarray
    quality: np.ndarray
    rater_quality: np.ndarray
    agreement: np.ndarray
