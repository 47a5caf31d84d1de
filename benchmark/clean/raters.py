"""Several people's labels of the same images: who agrees, who is reliable, and what they say together."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmark.data.listing import names_inside
from benchmark.data.rater_columns import labels_of_raters, rater_columns
from benchmark.data.tables import read_table
from benchmark.errors import BenchmarkError

__all__ = ["Raters", "crowdlab", "disagreement", "majority", "raters_of", "tally"]

LEAST = 1e-6
"""Forecasts are kept away from 0, which CROWDLAB divides by."""


@dataclass(frozen=True)
class Raters:
    """Of n samples and r raters.

    Attributes:
        names: of the raters, as the csv's columns say.
        labels: (n, r) int64, −1 = not rated.
        consensus: (n,) int64, by cleanlab's CROWDLAB with the methods' forecasts; before there are any, the majority, of a tie the choice
            of the first rater among the tied. The given label where nobody rated.
        quality: (n,) float64 in [0, 1], of the consensus label; of the majority: the share of raters who agree. NaN where nobody rated.
        rater_quality: (r,) float64 in [0, 1]; NaN before CROWDLAB, and of a rater without samples.
        agreement: (r,) float64, share of a rater's labels that are the consensus; NaN of a rater without samples.
    """

    names: tuple[str, ...]
    labels: np.ndarray
    consensus: np.ndarray
    quality: np.ndarray
    rater_quality: np.ndarray
    agreement: np.ndarray


def raters_of(path: Path, names: Sequence[str], classes: Sequence[str], given: np.ndarray) -> Raters | None:
    """What the raters of a person's csv say of the samples of the data set ``folder``.

    Args:
        path: what the data set was read from. A folder, or a csv without columns of raters, has None.
        names: n paths of the samples, as in :class:`benchmark.api.Arrays`; the csv may hold more.
        classes: K names.
        given: (n,) int64 given labels.

    Raises:
        BenchmarkError: the csv cannot be used, or has changed so that it lacks a sample or has a class more.
    """
    path = path.expanduser()
    if not path.is_file():
        return None
    table = read_table(path)
    columns = rater_columns(table.header)
    if not columns or "path" not in table.header:
        return None
    _, ratings = labels_of_raters(table)
    rows = {name: row for row, name in enumerate(names_inside(path, path.parent, zip(table.places(), table.column("path"), strict=True)))}
    codes = {name: code for code, name in enumerate(classes)} | {"": -1}
    try:
        picked = [rows[name] for name in names]
        labels = np.array([[codes[column[row]] for column in ratings] for row in picked], dtype=np.int64)
    except KeyError as error:
        raise BenchmarkError(f"{path} has changed since it was read: '{error.args[0]}' is missing or new; give the command again") from None
    return tally(tuple(columns), labels.reshape(len(picked), len(columns)), given)


def tally(names: Sequence[str], labels: np.ndarray, given: np.ndarray) -> Raters:
    """The majority of some raters.

    Args:
        names: r.
        labels: (n, r) int64, −1 = not rated.
        given: (n,) int64, what stands where nobody rated.
    """
    rated = labels >= 0
    anyone = rated.any(axis=1)
    consensus = np.where(anyone, majority(labels), given)
    agree = ((labels == consensus[:, None]) & rated).sum(axis=1)
    quality = np.where(anyone, agree / np.maximum(rated.sum(axis=1), 1), np.nan)
    return Raters(tuple(names), labels, consensus, quality, np.full(len(names), np.nan), _agreement(labels, consensus))


def majority(labels: np.ndarray) -> np.ndarray:
    """(n,) int64, what most of a sample's raters say, of a tie the choice of the first among the tied: the rule that makes given labels.

    Args:
        labels: (n, r) int64, −1 = not rated. −1 stands where nobody rated.
    """
    # A rater's label is as frequent as there are equal ones in its row; argmax takes the first rater among the most frequent.
    frequency = np.stack([(labels == column[:, None]).sum(axis=1) for column in labels.T], axis=1)
    best = np.where(labels >= 0, frequency, 0).argmax(axis=1)
    said: np.ndarray = labels[np.arange(len(labels)), best]
    return said


def crowdlab(raters: Raters, pred_probs: np.ndarray) -> Raters:
    """Consensus, its quality and the raters' quality by CROWDLAB (Goh, Tkachenko and Mueller, 2022), as cleanlab has it.

    Args:
        raters: as :func:`raters_of` gives them.
        pred_probs: (n, K) forecasts of models that have not been trained on the sample.

    Returns:
        ``raters`` unchanged where no sample has two ratings: there is nothing then that tells one rater from another.
    """
    from cleanlab.multiannotator import get_label_quality_multiannotator

    rows, columns = np.flatnonzero((raters.labels >= 0).any(axis=1)), np.flatnonzero((raters.labels >= 0).any(axis=0))
    labels = raters.labels[np.ix_(rows, columns)]
    if not ((labels >= 0).sum(axis=1) > 1).any():
        return raters
    likely = np.clip(np.asarray(pred_probs, dtype=np.float64)[rows], LEAST, None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that nobody agrees on anything shows in the result
        said = get_label_quality_multiannotator(
            np.where(labels < 0, np.nan, labels.astype(np.float64)), likely / likely.sum(axis=1, keepdims=True), verbose=False
        )
    consensus, quality = raters.consensus.copy(), np.full(len(raters.consensus), np.nan)
    consensus[rows] = said["label_quality"]["consensus_label"].to_numpy(np.int64)
    quality[rows] = said["label_quality"]["consensus_quality_score"].to_numpy(np.float64)
    of_raters = np.full(len(raters.names), np.nan)
    of_raters[columns] = said["annotator_stats"]["annotator_quality"].sort_index().to_numpy(np.float64)  # it lists the worst rater first
    return replace(raters, consensus=consensus, quality=quality, rater_quality=of_raters, agreement=_agreement(raters.labels, consensus))


def disagreement(raters: Raters, given: np.ndarray) -> np.ndarray:
    """(n,) float64 share of a sample's raters whose label is not the given one; 0 where nobody rated."""
    rated = raters.labels >= 0
    differ = rated & (raters.labels != given[:, None])
    share: np.ndarray = differ.sum(axis=1) / np.maximum(rated.sum(axis=1), 1)
    return share


def _agreement(labels: np.ndarray, consensus: np.ndarray) -> np.ndarray:
    """(r,) share of each rater's labels that are the consensus; NaN without any."""
    rated = labels >= 0
    count = rated.sum(axis=0)
    return np.where(count > 0, ((labels == consensus[:, None]) & rated).sum(axis=0) / np.maximum(count, 1), np.nan)
