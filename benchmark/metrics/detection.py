"""How well a method finds the wrong labels of the training part, and what that costs among the hard but right ones."""

from __future__ import annotations

import numpy as np

HARD_QUANTILE = 0.75
"""A sample is hard when its hardness is at or above this quantile of the training part's."""


def detection(
    given: np.ndarray,
    true: np.ndarray,
    quality: np.ndarray | None = None,
    suspect: np.ndarray | None = None,
    hardness: np.ndarray | None = None,
) -> dict[str, float | None]:
    """Detection of wrong labels; a label is wrong (the positive class) when ``given != true``.

    Args:
        given, true: (n,) int64 labels.
        quality: (n,) scores, higher = the given label is more likely right; its negative is the score of wrongness.
            Infinities are ranks like others; with a NaN the rank metrics are None.
        suspect: (n,) bool, True = held for wrong.
        hardness: (n,) known difficulty, higher is harder, NaN = unknown.

    Returns:
        Values in [0, 1], None where undefined (without ``quality`` or ``suspect``, whatever needs them). With r the share
        of wrong labels:

        - ``precision`` (None if nothing is flagged), ``recall`` and ``f1`` (None if nothing is wrong) of ``suspect``;
        - ``auroc`` (None if all or no labels are wrong) and ``average_precision`` (None if none is) of the score; equal
          scores enter the curves as one step, so that the order of ties is worth nothing;
        - ``flagged``: share of ``suspect``;
        - ``constant_f1``: 2r / (1 + r), the F1 of flagging everything, and ``random_average_precision``: r, that of a
          random score: what ``f1`` and ``average_precision`` are to be read against. None if nothing is wrong.

        And, with ``hardness``: ``clean_hard_kept``, the share of the truly clean and hard samples that ``suspect`` leaves
        alone, and ``clean_hard_kept_at_rate``, the same share when exactly as many samples are flagged as there are wrong
        labels, lowest quality first and equal qualities by index: the same budget for every method.
    """
    wrong = given != true
    wrong_count = int(wrong.sum())
    values: dict[str, float | None] = {**_of_flags(wrong, suspect), **_of_ranks(wrong, quality)}
    rate = wrong_count / wrong.size if wrong_count else None
    values["constant_f1"] = None if rate is None else 2 * rate / (1 + rate)
    values["random_average_precision"] = rate
    if hardness is not None:
        clean_hard = ~wrong & is_hard(hardness)
        values["clean_hard_kept"] = None if suspect is None else _kept(clean_hard, np.asarray(suspect, dtype=bool))
        values["clean_hard_kept_at_rate"] = None
        if quality is not None and not np.isnan(quality).any():
            values["clean_hard_kept_at_rate"] = _kept(clean_hard, lowest(quality, wrong_count))
    return values


def clean_kept(given: np.ndarray, true: np.ndarray, suspect: np.ndarray, num_classes: int) -> dict[str, float | None]:
    """Of the right labels of each class, the share that is not held for wrong: the recall of clean samples.

    Methods that select over all classes at once give up the rare ones; the mean over the samples does not show it.

    Args:
        given, true: (n,) int64 labels in [0, num_classes).
        suspect: (n,) bool, True = held for wrong.
        num_classes: K.

    Returns:
        ``"0"`` … ``"K-1"`` by true class, ``macro`` (their mean) and ``worst`` (their least), in [0, 1]; None for a class without a
        right label, which counts in neither.
    """
    right, kept = given == true, ~np.asarray(suspect, dtype=bool)
    shares = {str(k): _kept(right & (true == k), ~kept) for k in range(num_classes)}
    known = [share for share in shares.values() if share is not None]
    return {**shares, "macro": float(np.mean(known)) if known else None, "worst": min(known, default=None)}


def open_set(
    given: np.ndarray, true: np.ndarray, foreign: np.ndarray, quality: np.ndarray | None = None, suspect: np.ndarray | None = None
) -> dict[str, float | None]:
    """Detection of foreign images, which show none of the classes, among the rightly labelled ones.

    Args:
        given, true, quality, suspect: as in :func:`detection`.
        foreign: (n,) bool, True = the image was replaced.

    Returns:
        ``share`` of foreign images among all samples; ``flagged``, the share of them that ``suspect`` marks; ``auroc`` and
        ``average_precision`` of the score of wrongness, foreign images against rightly labelled ones.
    """
    compared = foreign | (given == true)
    marked = None if suspect is None or not foreign.any() else float(np.asarray(suspect, dtype=bool)[foreign].mean())
    ranks = _of_ranks(foreign[compared], None if quality is None else quality[compared])
    return {"share": float(foreign.mean()) if foreign.size else None, "flagged": marked, **ranks}


def is_hard(hardness: np.ndarray) -> np.ndarray:
    """(n,) bool: at or above the upper quartile of the known values (linear interpolation); unknown ones are not hard."""
    known = ~np.isnan(hardness)
    if not known.any():
        return known
    return known & (hardness >= np.quantile(hardness[known], HARD_QUANTILE))


def lowest(quality: np.ndarray, count: int) -> np.ndarray:
    """(n,) bool: the ``count`` samples of lowest quality; among equals the one with the smaller index comes first."""
    flagged = np.zeros(quality.size, dtype=bool)
    flagged[np.argsort(quality, kind="stable")[:count]] = True
    return flagged


def _of_flags(wrong: np.ndarray, suspect: np.ndarray | None) -> dict[str, float | None]:
    values: dict[str, float | None] = dict.fromkeys(("precision", "recall", "f1", "flagged"))
    if suspect is None or wrong.size == 0:
        return values
    flags = np.asarray(suspect, dtype=bool)
    hits, flagged, positives = int((wrong & flags).sum()), int(flags.sum()), int(wrong.sum())
    values["flagged"] = flagged / wrong.size
    if flagged:
        values["precision"] = hits / flagged
    if positives:
        values["recall"] = hits / positives
        values["f1"] = 2 * hits / (flagged + positives)
    return values


def _of_ranks(wrong: np.ndarray, quality: np.ndarray | None) -> dict[str, float | None]:
    from sklearn.metrics import average_precision_score, roc_auc_score

    values: dict[str, float | None] = {"auroc": None, "average_precision": None}
    if quality is None or not wrong.any() or np.isnan(quality).any():
        return values
    # dense ranks keep order and ties, and turn infinities into numbers
    wrongness = -np.unique(quality, return_inverse=True)[1].reshape(-1)
    values["average_precision"] = float(average_precision_score(wrong, wrongness))
    if not wrong.all():
        values["auroc"] = float(roc_auc_score(wrong, wrongness))
    return values


def _kept(group: np.ndarray, flagged: np.ndarray) -> float | None:
    """Share of the group that is not flagged; None of an empty group."""
    return float((~flagged[group]).mean()) if group.any() else None
