"""What lies behind a number: curves by epoch, confusions, calibration and detection of one method under one condition, over its seeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["LARGEST_CONFUSION", "LISTED_CONFUSIONS", "Band", "Calibration", "Confusion", "Detection", "Evidence"]

LARGEST_CONFUSION = 30
"""Classes: a larger matrix is no picture, and its counts no table."""

LISTED_CONFUSIONS = 12
"""How many of the most frequent confusions are named."""


@dataclass(frozen=True)
class Band:
    """A series over seeds. mean, low (least), high (greatest): as long as what it is drawn over; None where no seed has a value."""

    mean: tuple[float | None, ...]
    low: tuple[float | None, ...]
    high: tuple[float | None, ...]


@dataclass(frozen=True)
class Confusion:
    """Test samples by true class (rows) and predicted class (columns), of the selected epoch.

    Attributes:
        counts: K × K, summed over seeds; None with more than :data:`LARGEST_CONFUSION` classes.
        recall: per class, over seeds; None for a class that no test part has. top: (true class, predicted class, share of the true
            class), of all seeds together, the most frequent confusions first.
    """

    counts: tuple[tuple[int, ...], ...] | None
    recall: Band
    top: tuple[tuple[int, int, float], ...]


@dataclass(frozen=True)
class Calibration:
    """Test samples of all seeds in bins of equal width of the confidence of the predicted class, at the selected epoch.

    Attributes:
        edges: B + 1; a bin holds its upper edge. confidence, accuracy: mean in each bin, None where it is empty. share: of the samples.
    """

    edges: tuple[float, ...]
    confidence: tuple[float | None, ...]
    accuracy: tuple[float | None, ...]
    share: tuple[float, ...]


@dataclass(frozen=True)
class Detection:
    """Precision over recall of wrong training labels (of masks: wrong pixels), ranked by the method's label quality.

    Of each recall, the precision of the smallest set of suspects that reaches it; labels of the same quality are suspected together.

    Attributes:
        precision: over ``recall``. chance: share of wrong labels, what a random order would have everywhere.
    """

    recall: tuple[float, ...]
    precision: Band
    chance: float


@dataclass(frozen=True)
class Evidence:
    """One method in one group, over its seeds; what a task or a run does not have is None or absent.

    Attributes:
        seeds: those whose files could be read. missing: seed → why not, one line.
        epochs: of the final stage, from 0. curves: ``test`` (the task's headline metric), ``validation``, ``fit_wrong``, ``fit_right``
            → over epochs; of each, those that the history has.
        selected: mean epoch that the noisy validation part chose.
        classes: names of the K classes, empty where there are none.
        cost: ``seconds``, ``samples_per_second``, ``peak_memory_mb``, ``gpu_peak_memory_mb``, ``parameters`` → mean over seeds.
    """

    seeds: tuple[int, ...]
    missing: Mapping[int, str]
    epochs: tuple[int, ...]
    curves: Mapping[str, Band]
    selected: float | None
    classes: tuple[str, ...]
    confusion: Confusion | None
    calibration: Calibration | None
    detection: Detection | None
    cost: Mapping[str, float]
