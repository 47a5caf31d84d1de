"""The steps from scores to a verdict: weights, calibration, what is flagged, and the check of all that on the known wrong labels."""

from __future__ import annotations

import numpy as np

from benchmark.clean.bootstrap import Counts, Estimate, estimate, interval_of, replicate, wilson
from benchmark.clean.calibration import bins_of, edges_for
from benchmark.clean.scores import Scores
from benchmark.clean.stacking import consensus, cross_fitted, fit_each, folds_of, positions
from benchmark.clean.suggestions import confusion, pooled, suggest
from benchmark.clean.verdict import EASY, HARD, NOISY, Interval, SelfCheck, Verdict
from benchmark.errors import BenchmarkError

__all__ = ["judge", "judged_clean"]

HARD_SHARE = 0.2
"""Where hsa has no opinion (held-out samples, runs without it), this share of most suspicious samples is hard if not noisy."""

CURVE = (10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000)


def judge(
    scores: Scores, check: Scores, injected: np.ndarray, *, precision: float, seed: int, classes: int | None = None, kind: str = "symmetric"
) -> Verdict:
    """See :func:`benchmark.clean.verdict.judge`."""
    scores, check = _comparable(scores, check, injected, precision)
    rng = np.random.default_rng([seed, 0x636C65616E])
    held = scores.held_out
    K = max(classes or int(max(scores.given.max(), check.given.max(), scores.suggested.max())) + 1, 2)
    everyone = np.ones(len(held), dtype=bool)
    place, checked = _among(scores.suspicion, held, everyone), _among(check.suspicion, held, ~injected)
    edges = edges_for(len(held) - int(injected.sum()))
    clean = judged_clean(place, checked, held, injected, edges, K)
    used, fold = injected | clean, folds_of(injected, rng)
    each = fit_each(checked, injected, used, held)
    weights = each[0]
    suspicion = consensus(each[held.astype(int)].T, place)
    ranked = cross_fitted(checked, injected, used, held, fold)
    position = _among(suspicion[None], held, everyone)[0]
    counts = _counts(position, _among(ranked[None], held, ~injected)[0], held, injected, edges, K)
    found, again = estimate(counts), replicate(counts, rng)
    where = bins_of(position, edges)
    wrong = found.wrong[held.astype(int), where]
    order = np.lexsort((-suspicion, -wrong))
    enough = np.cumsum(wrong[order]) / np.arange(1, len(order) + 1) >= precision
    number = int(np.flatnonzero(enough)[-1]) + 1 if enough.any() else 0
    flagged = np.zeros(len(held), dtype=bool)
    flagged[order[:number]] = True
    at = (*(m for m in CURVE if m < len(order)), len(order))
    first = [_top(m, order, wrong, held, where, again, rng) for m in (*at, *([number] if number else []))]
    probability = pooled(scores.suggested, scores.confidence, weights, K)
    suggested, confidence = suggest(probability, scores.given, wrong)
    return Verdict(
        wrong=wrong,
        suspicion=suspicion,
        suggested=suggested,
        confidence=confidence,
        state=_states(flagged | (wrong > 0.5), scores.hardness, position),
        flagged=flagged,
        precision=first[-1] if number else None,
        noise_rate=Interval(*interval_of(found.rate, np.array([one.rate for one in again]), len(held), rng)),
        curve_at=at,
        curve=tuple(first[: len(at)]),
        confusion=confusion(probability, scores.given, wrong),
        weights=dict(zip(scores.methods, weights.tolist(), strict=True)),
        check=_self_check(ranked, checked, injected, clean, fold, precision, scores.methods, kind),
    )


def judged_clean(place: np.ndarray, checked: np.ndarray, held: np.ndarray, injected: np.ndarray, edges: np.ndarray, K: int) -> np.ndarray:
    """(n,) bool: unchanged labels that are not among the most suspicious of the labels as they are.

    Not judged clean is as large a share as is wrong by a first estimate, with all methods weighing the same, but at most half.

    Args:
        place, checked: (m, n) positions in the runs on the labels as they are, and with the known wrong ones.
        held, injected: (n,) bool. edges: of the bins. K: classes.
    """
    equal = np.full(len(place), 1 / len(place))
    suspicion = _among(consensus(equal, place)[None], held, np.ones(len(held), dtype=bool))[0]
    counts = _counts(suspicion, _among(consensus(equal, checked)[None], held, ~injected)[0], held, injected, edges, K)
    clean: np.ndarray = (suspicion <= np.quantile(suspicion, 1 - estimate(counts).rate)) & ~injected
    return clean


def _comparable(scores: Scores, check: Scores, injected: np.ndarray, precision: float) -> tuple[Scores, Scores]:
    """Both with the methods that vote in both."""
    from dataclasses import replace

    n = len(scores.given)
    if len(check.given) != n or injected.shape != (n,) or not np.array_equal(scores.part > 0, check.part > 0):
        raise BenchmarkError("the runs with known wrong labels are of other samples or parts than those without; run both again")
    if not 0 < precision <= 1:
        raise BenchmarkError(f"--precision is {precision}; give a number above 0, at most 1")
    if not injected.any() or injected.all():
        raise BenchmarkError(f"{int(injected.sum())} of {n} labels were changed for the self-check: nothing to learn from; raise the rate")
    both = [method for method in scores.methods if method in check.methods]
    if not both:
        raise BenchmarkError("no method ranks the labels both as they are and with known wrong ones; ask other methods")

    def only(of: Scores) -> Scores:
        rows = [of.methods.index(method) for method in both]
        arrays = {name: getattr(of, name)[rows] for name in ("suspicion", "flagged", "suggested", "confidence")}
        return replace(of, methods=tuple(both), **arrays)

    return only(scores), only(check)


def _among(values: np.ndarray, held: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """(m, n) positions of (m, n) numbers among those of the reference samples that were judged alike."""
    found = np.full(values.shape, 0.5)
    for rows in (held, ~held):
        known = rows & reference
        if known.any():
            for place, row in zip(found, values, strict=True):
                place[rows] = positions(row[rows], row[known])
    return found


def _counts(position: np.ndarray, again: np.ndarray, held: np.ndarray, injected: np.ndarray, edges: np.ndarray, K: int) -> Counts:
    """Numbers by bin of (n,) positions in the runs on the labels as they are and, ``again``, in those with the known wrong ones."""
    size, row = len(edges) - 1, held.astype(np.int64)
    first, second = bins_of(position, edges), bins_of(again, edges)
    joint = np.bincount(((row * size + first) * size + second)[~injected], minlength=2 * size * size)
    flips = np.bincount((row * size + second)[injected], minlength=2 * size)
    return Counts(joint.reshape(2, size, size), flips.reshape(2, size), K)


def _top(
    m: int, order: np.ndarray, wrong: np.ndarray, held: np.ndarray, where: np.ndarray, again: list[Estimate], rng: np.random.Generator
) -> Interval:
    """Estimated share of wrong labels among the m first."""
    rows, size = order[:m], again[0].wrong.shape[1]
    numbers = np.bincount(held[rows] * size + where[rows], minlength=2 * size)
    means = np.stack([one.wrong.ravel() for one in again]) @ numbers / m
    return Interval(*interval_of(float(wrong[rows].mean()), means, m, rng))


def _states(noisy: np.ndarray, hardness: np.ndarray, position: np.ndarray) -> np.ndarray:
    """(n,) uint8. Noisy: flagged, or more likely wrong than not. Hard: not noisy, and hsa calls it hard, or without its word suspicious."""
    hard = np.where(np.isnan(hardness), position > 1 - HARD_SHARE, hardness >= 0.5)
    state: np.ndarray = np.where(noisy, NOISY, np.where(hard, HARD, EASY)).astype(np.uint8)
    return state


def _self_check(
    ranked: np.ndarray,
    checked: np.ndarray,
    injected: np.ndarray,
    clean: np.ndarray,
    fold: np.ndarray,
    precision: float,
    methods: tuple[str, ...],
    kind: str,
) -> SelfCheck:
    """Weights and cut of every fold come from the other four."""
    from sklearn.metrics import average_precision_score

    used = injected | clean
    called = np.zeros(len(ranked), dtype=bool)
    for number in range(int(fold.max()) + 1):
        learn, rows = used & (fold != number), used & (fold == number)
        cut = _cut(ranked[learn], injected[learn], precision)
        called[rows] = ranked[rows] >= cut
    hits, size, changed = int((called & injected).sum()), int(called.sum()), int(injected.sum())
    return SelfCheck(
        rate=changed / len(injected),
        changed=changed,
        kind=kind,
        flagged=size,
        found=Interval(*wilson(hits, changed)),
        precision=Interval(*wilson(hits, size)),
        average_precision=float(average_precision_score(injected[used], ranked[used])),
        alone={name: float(average_precision_score(injected[used], row[used])) for name, row in zip(methods, checked, strict=True)},
    )


def _cut(score: np.ndarray, positive: np.ndarray, precision: float) -> float:
    """The lowest score above which the share of positives is as asked for; infinite if there is none."""
    order = np.argsort(-score, kind="stable")
    good = np.cumsum(positive[order]) / np.arange(1, len(order) + 1) >= precision
    return float(score[order[np.flatnonzero(good)[-1]]]) if good.any() else float("inf")
