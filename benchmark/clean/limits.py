"""What is too large or too little to be cleaned, said before anything runs."""

from __future__ import annotations

import os

import numpy as np

from benchmark.errors import BenchmarkError

__all__ = ["refuse_unfit"]

BYTES_A_FORECAST = 30
"""Peak memory of a run by samples × classes; measured: 20,000 samples of 10,000 classes took 5.4 GB."""
LEAST = 20
"""Samples below which a tenth of the labels is less than two: no known wrong ones to learn from."""
LEAST_SHARED = 2.0
"""Samples a class on average below which a model has nothing to compare a sample with."""


def refuse_unfit(source: str, labels: np.ndarray, classes: int, memory: int | None = None) -> None:
    """Refuse data whose forecasts do not fit into memory, that have hardly more samples than classes, or fewer than :data:`LEAST`.

    A class with few samples is no reason: its last one is never taken from training, and what is said of it is marked (see
    :func:`benchmark.clean.audit.audit`).

    Args:
        source: what was read, for messages.
        labels: (n,) int64.
        classes: K.
        memory: bytes; by default those of this machine.

    Raises:
        BenchmarkError: with the figures.
    """
    n = len(labels)
    if n < LEAST_SHARED * classes:
        raise BenchmarkError(
            f"{source} has {n} samples of {classes} classes; a wrong label is found by comparison, so give at least "
            f"{LEAST_SHARED:g} a class on average; are file names or ids taken for labels?"
        )
    if n < LEAST:
        raise BenchmarkError(
            f"{source} has {n} samples; what is wrong is learnt from a tenth of the labels that is made wrong, so give {LEAST} or more"
        )
    if memory is None:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 8 * 2**30
    needed = BYTES_A_FORECAST * n * classes
    if needed > memory:
        raise BenchmarkError(
            f"{source} has {n} samples of {classes} classes, which needs about {needed / 2**30:.0f} GiB of memory and this machine has "
            f"{memory / 2**30:.0f}; clean fewer classes at a time, or fewer samples"
        )
