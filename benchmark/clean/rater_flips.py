"""Known wrong labels that look as real errors of several raters do: with the answers that make a majority wrong.

A flip that changes a label and leaves the raters' answers is given away by them: they all contradict it. A real wrong label is one that
most of its raters said. So answers are drawn anew, from what is known of each rater (:mod:`benchmark.clean.dawid_skene`), until most of a
sample's own raters are wrong together; the label follows by the rule that made it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmark.clean.dawid_skene import Skill, fit_skill
from benchmark.clean.raters import Raters, majority

__all__ = ["Flips", "can_flip", "draw_flips", "suspicion_of"]

ROUNDS = 400
"""Times that every sample's answers are drawn. A majority that is wrong less often than this finds is made wrong by force."""
MOST = 0.5
"""Share of the rated labels of a class that may be changed: raters who mix up one small class would leave nothing of it."""
LEAST_RATED = 0.5
"""Share of the samples that a rater has seen: of fewer, the flips would leave no answer of theirs as it was."""
LARGEST = 20_000_000
"""Entries of all raters' confusion matrices; more is too much to be learnt from their answers, and for the memory."""


@dataclass(frozen=True)
class Flips:
    """Of n samples and r raters.

    Attributes:
        skill: what was learnt of the raters from their own answers.
        answers: (n, r) int64, those of the changed samples drawn anew, the others as they are.
        labels: (n,) int64, the majority of ``answers``; the given label of samples that were not changed.
    """

    skill: Skill
    answers: np.ndarray
    labels: np.ndarray


def can_flip(raters: Raters, given: np.ndarray, classes: int) -> bool:
    """Whether the raters' answers explain the given labels, and the errors in them: every label is what most of its raters say,
    some raters contradict each other, and most labels have a rater.

    Args:
        raters: of n samples. given: (n,) int64. classes: K.
    """
    rated = raters.labels >= 0
    many = bool(rated.any(axis=1).mean() >= LEAST_RATED)
    made = bool((majority(raters.labels) == given)[rated.any(axis=1)].all())
    differ = bool((rated & (raters.labels != given[:, None])).any())
    return many and made and differ and len(raters.names) * classes**2 <= LARGEST


def draw_flips(raters: Raters, given: np.ndarray, classes: int, rate: float, rng: np.random.Generator) -> Flips:
    """Make a share of the labels wrong as these raters do.

    A sample's true class is drawn from what its answers say of it. Where that is the given class, its raters answer anew, and where most of
    them are wrong now the sample is changed; so samples with few or bad raters are changed more often, as they are wrong more often.

    Args:
        raters: such that :func:`can_flip`. given: (n,) int64. classes: K ≥ 2. rate: share of the n labels.
    """
    skill = fit_skill(raters.labels, classes)
    rated = (raters.labels >= 0).any(axis=1)
    true = _pick(np.cumsum(skill.posterior(raters.labels), axis=1), rng)
    room = np.floor(MOST * np.bincount(given[rated], minlength=classes)).astype(np.int64)
    answers, labels = raters.labels.copy(), given.copy()
    left, missing = rated & (true == given), round(rate * len(given))
    for attempt in range(ROUNDS + 1):
        rows = np.flatnonzero(left & (room[given] > 0))
        if not missing or not len(rows):
            break
        said = _answers(skill.confusion, raters.labels[rows], given[rows], rng)
        if attempt == ROUNDS:
            said = _forced(skill.confusion, raters.labels[rows], given[rows], rng)
        made = majority(said)
        hit = rng.permutation(np.flatnonzero(made != given[rows]))
        hit = hit[_place_in_class(given[rows[hit]]) < room[given[rows[hit]]]][:missing]
        answers[rows[hit]], labels[rows[hit]] = said[hit], made[hit]
        left[rows[hit]] = False
        room -= np.bincount(given[rows[hit]], minlength=classes)
        missing -= len(hit)
    return Flips(skill, answers, labels)


def suspicion_of(skill: Skill, answers: np.ndarray, given: np.ndarray) -> np.ndarray:
    """(n,) float64 P(the given label is wrong | the raters' answers): agreement with a bad rater is worth less than with a good one."""
    wrong: np.ndarray = 1 - skill.posterior(answers)[np.arange(len(given)), given]
    return wrong.clip(0, 1)


def _answers(confusion: np.ndarray, labels: np.ndarray, true: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(m, r) new answers of the raters who answered ``labels`` (m, r), to samples of these classes."""
    found = np.full_like(labels, -1)
    for rater, table in enumerate(np.cumsum(confusion, axis=2)):
        rows = labels[:, rater] >= 0
        found[rows, rater] = _pick_of(table, true[rows], rng)
    return found


def _forced(confusion: np.ndarray, labels: np.ndarray, true: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(m, r) answers of which a random majority of each sample's raters name the same wrong class, one that raters take it for."""
    mixed = confusion.mean(axis=0) * (1 - np.eye(confusion.shape[1]))
    wrong = _pick_of(np.cumsum(mixed / mixed.sum(axis=1, keepdims=True), axis=1), true, rng)
    rated = labels >= 0
    turn = np.where(rated, rng.random(labels.shape), 2).argsort(axis=1).argsort(axis=1)
    chosen = turn < (rated.sum(axis=1) // 2 + 1)[:, None]
    return np.where(rated, np.where(chosen, wrong[:, None], true[:, None]), -1)


def _pick(cumulated: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(m,) int64, one column a row by (m, K) cumulated probabilities."""
    drawn = rng.random((len(cumulated), 1)) * cumulated[:, -1:]
    found: np.ndarray = (cumulated <= drawn).sum(axis=1).clip(max=cumulated.shape[1] - 1)
    return found


def _pick_of(table: np.ndarray, row: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(m,) int64, one column for each of m rows of a (K, K) table of cumulated probabilities; needs no (m, K) numbers."""
    K = len(table)
    starts = np.arange(K)[:, None]
    flat = (table / table[:, -1:] + starts).ravel()  # ascending, as row k lies in (k, k + 1]
    found: np.ndarray = np.searchsorted(flat, row + rng.random(len(row)), side="right") - K * row
    return found.clip(0, K - 1)


def _place_in_class(labels: np.ndarray) -> np.ndarray:
    """(m,) int64: how many earlier ones have the same label."""
    order = np.argsort(labels, kind="stable")
    ordered = labels[order]
    first = np.searchsorted(ordered, ordered, side="left")
    place = np.empty(len(labels), dtype=np.int64)
    place[order] = np.arange(len(labels)) - first
    return place
