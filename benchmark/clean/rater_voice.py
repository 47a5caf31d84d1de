"""The raters as one more voice among the methods, and the known wrong labels that this voice can be judged by."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from benchmark.clean.dawid_skene import fit_skill
from benchmark.clean.rater_flips import can_flip, draw_flips, suspicion_of
from benchmark.clean.raters import Raters, disagreement
from benchmark.clean.scores import Scores, rank_shares

if TYPE_CHECKING:
    from benchmark.clean.rater_flips import Flips

__all__ = ["VOICE", "flips_of", "share_by_answers", "with_raters"]

VOICE = "raters"
"""Name of the voice, and of the kind of its flips."""


def flips_of(raters: Raters | None, given: np.ndarray, classes: int, rate: float, seed: int) -> Flips | None:
    """Labels made wrong as these raters do; None where their answers do not explain the given labels (:func:`can_flip`).

    Args:
        raters: of n samples. given: (n,) int64. classes: K. rate: share to change. seed: of the draw; the same one, the same flips.
    """
    if raters is None or not can_flip(raters, given, classes):
        return None
    return draw_flips(raters, given, classes, rate, np.random.default_rng([seed, 0x726174657273]))


def share_by_answers(raters: Raters | None, given: np.ndarray, flips: Flips | None) -> float | None:
    """The share of wrong labels by the raters' answers alone, if each errs on their own; None where these do not explain the labels."""
    if raters is None or flips is None:
        return None
    rated = (raters.labels >= 0).any(axis=1)
    return float(suspicion_of(flips.skill, raters.labels[rated], given[rated]).mean())


def with_raters(scores: Scores, check: Scores, raters: Raters, flips: Flips | None, classes: int) -> tuple[Scores, Scores]:
    """Both with the raters' voice; as they are where no rater says anything else than the given label, as nothing is ranked by that.

    With flips, the voice is P(label wrong | answers), learnt in either case from the answers that go with the labels; a label that nobody
    rated is as wrong as the others are in the mean, and not called wrong. Without, it is the share of a sample's raters who differ from the
    label: of one that raters have not made, their errors say nothing.

    Args:
        scores: of the labels as they are. check: of the known wrong ones.
        flips: that these were made from; only some of them where a part was left as it is.
    """
    if flips is None:
        shares = [disagreement(raters, one.given) for one in (scores, check)]
        if not shares[0].any():
            return scores, check
        sure = np.nan_to_num(raters.quality, nan=1.0 / max(len(raters.names), 2))
        said = [(share, share > 0.5, raters.consensus, sure) for share in shares]
    else:
        changed = check.given != scores.given
        said = []
        for one, answers in ((scores, raters.labels), (check, np.where(changed[:, None], flips.answers, raters.labels))):
            skill = fit_skill(answers, classes)
            wrong, likely = suspicion_of(skill, answers, one.given), skill.posterior(answers)
            class_, sure, rated = likely.argmax(axis=1), likely.max(axis=1), (answers >= 0).any(axis=1)
            wrong[~rated], class_[~rated], sure[~rated] = wrong[rated].mean(), one.given[~rated], 1 / classes
            said.append((wrong, rated & (wrong > 0.5), class_, sure))
    first, second = (_and(one, *words) for one, words in zip((scores, check), said, strict=True))
    return first, second


def _and(scores: Scores, doubt: np.ndarray, flagged: np.ndarray, suggested: np.ndarray, confidence: np.ndarray) -> Scores:
    """The scores with one more voice: (n,) doubt, in any unit, whether it calls the label wrong, its class and how sure it is of that."""
    suspicion = np.empty(len(doubt))
    for rows in (scores.held_out, ~scores.held_out):
        suspicion[rows] = rank_shares(doubt[rows].round(9))  # the same answers to the same question tie, whatever the order of a sum
    return replace(
        scores,
        methods=(*scores.methods, VOICE),
        suspicion=np.vstack([scores.suspicion, suspicion]),
        flagged=np.vstack([scores.flagged, flagged]),
        suggested=np.vstack([scores.suggested, suggested]),
        confidence=np.vstack([scores.confidence, confidence]),
    )
