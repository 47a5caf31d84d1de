"""``labels.csv`` and ``clean.json``: the answer for spreadsheets and for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmark.clean.answer import Answer
from benchmark.clean.audit import Twins
from benchmark.clean.raters import Raters
from benchmark.clean.verdict import Interval
from reports.clean_page.reading import STATES, expected_wrong, noise_by_class, review_order, worth_a_look
from reports.escape import one_line
from reports.machine import csv_text, plain

__all__ = ["SCHEMA", "clean_json", "labels_csv"]

SCHEMA = 1
DIGITS = 4
"""Of a share in the table."""


def labels_csv(answer: Answer) -> str:
    """One line a sample, what to look at first on top.

    ``index``, ``path`` and ``label`` are what the option ``label_file`` reads: ``label`` is the given one, for people to change. Text that
    a spreadsheet would run has an apostrophe in front, which ``label_file`` takes off.
    """
    verdict, scores, order = answer.verdict, answer.scores, review_order(answer)
    header = ["index", "path", "given", "suggested", "confidence", "wrong_probability", "state", "flagged", "review", "rank"]
    header += [f"score_{one_line(name)}" for name in scores.methods]
    header += _rater_header(answer.raters)
    header += ["duplicate_of", "near_duplicate_of", "conflict", "leak"]
    header += ["true"] if scores.true is not None else []
    rank = _ranks(verdict.suspicion)
    copies, asked, classes = _copies(answer), worth_a_look(answer), answer.classes
    rows: list[list[Any]] = []
    for place, i in enumerate(order.tolist(), 1):
        row: list[Any] = [i, answer.paths[i], classes[scores.given[i]], classes[verdict.suggested[i]]]
        row += [_short(verdict.confidence[i]), _short(verdict.wrong[i]), STATES[verdict.state[i]], int(verdict.flagged[i])]
        row += [place if place <= asked else "", int(rank[i]), *(_short(value) for value in scores.suspicion[:, i])]
        row += _rater_cells(answer.raters, i, classes)
        row += copies.get(i, ["", "", 0, 0])
        row += [classes[scores.true[i]]] if scores.true is not None else []
        rows.append([*row, classes[scores.given[i]]])
    return _writable(csv_text([*header, "label"], rows))


def clean_json(answer: Answer) -> str:
    """Everything but what is known of each sample, which is in ``labels.csv``."""
    verdict, n = answer.verdict, len(answer.paths)
    asked, methods = worth_a_look(answer), answer.scores.methods
    found = {
        "schema": SCHEMA,
        "source": answer.source,
        "base": str(answer.base),
        "samples": n,
        "classes": answer.classes,
        "noise_rate": verdict.noise_rate,
        "noise_by_class": [
            {"class": name, "samples": samples, "expected_wrong": wrong, "most_often": other or None}
            for name, samples, wrong, other, _ in noise_by_class(answer)
        ],
        "budget": {"samples": asked, "expected_wrong": expected_wrong(answer, asked)},
        "flagged": {"samples": int(verdict.flagged.sum()), "target": answer.target, "precision": verdict.precision},
        "states": {name: int((verdict.state == state).sum()) for state, name in enumerate(STATES)},
        "curve": [{"samples": m, "precision": point} for m, point in zip(verdict.curve_at, verdict.curve, strict=True)],
        "confusion": np.asarray(verdict.confusion, dtype=float).round(DIGITS).tolist(),
        "weights": verdict.weights,
        "flagged_by": {name: int(answer.scores.flagged[m].sum()) for m, name in enumerate(methods)},
        "self_check": {**vars(verdict.check), "by_chance": verdict.check.by_chance, "sentence": verdict.check.sentence()},
        "audit": {
            "samples": answer.audit.n,
            "classes": answer.audit.classes,
            "twins": [{**vars(twin), "paths": [answer.paths[i] for i in twin.samples]} for twin in answer.audit.twins],
            "unreadable": answer.audit.unreadable,
            "notes": answer.audit.notes,
        },
        "raters": _raters(answer.raters),
        "noise_rate_by_answers": answer.by_answers,
        "model": None if answer.model is None else {"folder": str(answer.model), "accuracy": answer.model_accuracy},
        "provenance": answer.provenance,
        "runs": answer.runs,
        "left_out": answer.left_out,
    }
    return _writable(json.dumps(_plain(found), indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def _plain(value: Any) -> Any:
    """As :func:`reports.machine.plain`; numbers of NumPy become Python's first."""
    if isinstance(value, Interval):
        return plain({name: float(number) for name, number in vars(value).items()})
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return plain(value.item() if isinstance(value, np.generic) else value)


def _raters(raters: Raters | None) -> list[dict[str, Any]] | None:
    if raters is None:
        return None
    columns = zip(raters.names, (raters.labels >= 0).sum(axis=0), raters.rater_quality, raters.agreement, strict=True)
    return [{"name": name, "labels": labels, "quality": quality, "agreement": agreement} for name, labels, quality, agreement in columns]


def _rater_header(raters: Raters | None) -> list[str]:
    return [] if raters is None else [*(f"rater_{one_line(name)}" for name in raters.names), "rater_consensus", "rater_quality"]


def _rater_cells(raters: Raters | None, i: int, classes: Sequence[str]) -> list[Any]:
    if raters is None:
        return []
    labels = [classes[label] if label >= 0 else "" for label in raters.labels[i].tolist()]
    return [*labels, classes[raters.consensus[i]] if raters.consensus[i] >= 0 else "", _short(raters.quality[i])]


def _copies(answer: Answer) -> dict[int, list[Any]]:
    """Sample → what the four columns of copies say; of several copies the first other one is named."""
    found: dict[int, list[Any]] = {}
    for twin in answer.audit.twins:
        for i in twin.samples:
            cells = found.setdefault(i, ["", "", 0, 0])
            cells[not twin.exact] = cells[not twin.exact] or answer.paths[_other(twin, i)]
            cells[2:] = [max(cells[2], int(twin.conflict)), max(cells[3], int(twin.leak))]
    return found


def _other(twin: Twins, i: int) -> int:
    return next(sample for sample in twin.samples if sample != i)


def _ranks(suspicion: np.ndarray) -> np.ndarray:
    """(n,) int64 from 1 for the most suspicious; ties share the lowest."""
    return 1 + np.searchsorted(np.sort(-suspicion), -suspicion, side="left")


def _short(value: float) -> float | str:
    return round(float(value), DIGITS) if np.isfinite(value) else ""


def _writable(text: str) -> str:
    """The text with names of files that are not UTF-8 spelled out, as in ``\\udcff``."""
    return text.encode("utf-8", "backslashreplace").decode()
