"""The curve of precision as SVG, which needs no script."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from benchmark.clean.answer import Answer
from benchmark.clean.verdict import Interval
from benchmark.html_page import text
from reports.clean_page.reading import precision_at, worth_a_look
from reports.clean_page.words import between, share

__all__ = ["precision_curve"]

WIDE, HIGH = 420, 240
LEFT, RIGHT, TOP, BOTTOM = 44, WIDE - 14, 22, HIGH - 38
MOST_POINTS = 120
ROOM = 95
"""Units that the name of a mark needs."""
BEYOND = 3
"""So many times what is marked is shown: of 50,000 samples a budget of 200 would else be a line at the edge."""


def precision_curve(answer: Answer) -> str:
    """A card with the curve, its band, and marks at the budget, at what is called wrong, and at the target; empty without a curve."""
    verdict = answer.verdict
    asked, flagged = worth_a_look(answer), int(verdict.flagged.sum())
    points = _points(answer, BEYOND * max(asked, flagged, 10))
    if not points:
        return ""
    most = points[-1][0]

    def px(m: float) -> float:
        return LEFT + m / most * (RIGHT - LEFT)

    def py(value: float) -> float:
        return BOTTOM - value * (BOTTOM - TOP)

    parts = [_frame(px, most, py)]
    band = [(px(m), py(found.high)) for m, found in points] + [(px(m), py(found.low)) for m, found in reversed(points)]
    if all(math.isfinite(y) for _, y in band):
        parts.append(f'<path class="band" d="{_path(band)}Z"/>')
    parts.append(f'<path class="line" d="{_path([(px(m), py(found.value)) for m, found in points])}"/>')
    parts.append(f'<line class="guide" x1="{LEFT}" x2="{RIGHT}" y1="{py(answer.target):.1f}" y2="{py(answer.target):.1f}"/>')
    parts.append(_word(RIGHT, py(answer.target) - 4, f"asked for {share(answer.target)}", "end"))
    marks: dict[int, list[str]] = {}
    for m, words in ((flagged, f"called wrong {flagged:,}"), (asked, f"to look at {asked:,}")):
        marks.setdefault(m, []).append(words)
    for row, (m, told) in enumerate(sorted(each for each in marks.items() if 0 < each[0] <= most)):
        parts.append(f'<line class="mark" x1="{px(m):.1f}" x2="{px(m):.1f}" y1="{TOP}" y2="{BOTTOM}"/>')
        room = row == 0 and px(m) - LEFT > ROOM  # the name of the first mark stands left of it, clear of the second
        before = room or RIGHT - px(m) < ROOM
        parts.append(_word(px(m) + (-4 if before else 4), BOTTOM - 26 + 15 * row, ", ".join(told), "end" if before else "start"))
    said = "; ".join(f"of the {m:,} most suspicious {share(p.value)} ({between(p)})" for m, p in _told(points))
    label = text(f"Estimated share of wrong labels among the most suspicious: {said}. Asked for {share(answer.target)}.")
    drawn = "".join(parts)
    return (
        '<div class="chart drawn-curve"><h5>How many of the most suspicious labels are wrong<small>estimate with its 95 % band</small></h5>'
        f'<svg viewBox="0 0 {WIDE} {HIGH}" role="img" aria-label="{label}">{drawn}</svg></div>'
    )


def _points(answer: Answer, most: int) -> list[tuple[int, Interval]]:
    """Evenly spread ones from the first of the curve to ``most``; none without a curve."""
    if not answer.verdict.curve_at:
        return []
    last = min(most, len(answer.paths))
    places = np.unique(np.linspace(min(answer.verdict.curve_at[0], last), last, MOST_POINTS).round().astype(int)).tolist()
    return list(zip(places, precision_at(answer, places), strict=True))


def _told(points: Sequence[tuple[int, Interval]]) -> list[tuple[int, Interval]]:
    places = sorted({round(part * (len(points) - 1)) for part in (0, 0.25, 0.5, 0.75, 1)})
    return [points[place] for place in places]


def _frame(px: Callable[[float], float], most: int, py: Callable[[float], float]) -> str:
    """Both axes with their ticks and names."""
    parts = []
    for value in (0, 0.25, 0.5, 0.75, 1):
        parts.append(f'<line class="rule" x1="{LEFT}" x2="{RIGHT}" y1="{py(value):.1f}" y2="{py(value):.1f}"/>')
        parts.append(_word(LEFT - 6, py(value) + 4, f"{100 * value:.0f} %", "end"))
    by = _step(most / 4)
    parts += [_word(px(m), BOTTOM + 16, f"{m:,}", "middle") for m in range(0, most + 1, by)]
    parts.append(f'<line class="axis" x1="{LEFT}" x2="{RIGHT}" y1="{BOTTOM}" y2="{BOTTOM}"/>')
    parts.append(_word((LEFT + RIGHT) / 2, HIGH - 6, "number of most suspicious labels", "middle"))
    parts.append(_word(6, TOP - 8, "share that is wrong", "start"))
    return "".join(parts)


def _step(raw: float) -> int:
    """A round whole step of at least ``raw``."""
    power = 10 ** max(0, math.floor(math.log10(max(raw, 1))))
    return next(int(times * power) for times in (1, 2, 5, 10) if times * power >= raw - 1e-9)


def _word(x: float, y: float, words: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text(words)}</text>'


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "".join(f"{'L' if place else 'M'}{x:.1f} {y:.1f}" for place, (x, y) in enumerate(points))
