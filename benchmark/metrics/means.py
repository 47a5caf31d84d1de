"""Means of metrics over epochs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Metrics = dict[str, float | None]


def mean_of(epochs: Sequence[Metrics]) -> Metrics:
    """The mean of each metric over the epochs; None where any epoch's is None, so that no mean hides a gap."""
    means: Metrics = {}
    for name in epochs[0]:
        values = [epoch[name] for epoch in epochs]
        known = [value for value in values if value is not None]
        means[name] = float(np.mean(known)) if len(known) == len(values) else None
    return means
