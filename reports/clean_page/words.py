"""Numbers and foreign names as the page writes them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from benchmark.clean.verdict import Interval
from benchmark.html_page import text

__all__ = ["between", "chance", "how_many", "name", "named", "share", "table"]


def share(value: float) -> str:
    """A share in percent: one decimal below ten, none above; – where there is no number."""
    if not math.isfinite(value):
        return "–"
    return f"{100 * value:.1f} %" if 100 * abs(value) < 9.95 else f"{100 * value:.0f} %"


def chance(value: float) -> str:
    """A probability; nothing is certain, so the ends are said as bounds."""
    return "> 99 %" if value > 0.99 else "< 1 %" if value < 0.01 else share(value)


def between(found: Interval, times: float | None = None) -> str:
    """``7.1 to 9.4 %``, or with ``times`` the numbers of so many; empty where there is no interval."""
    if not (math.isfinite(found.low) and math.isfinite(found.high)):
        return ""
    if times is not None:
        least, most = times * found.low, times * found.high
        return f"{least:,.0f} to {most:,.0f}" if most >= 10 else f"{how_many(least)} to {how_many(most)}"
    low, high = share(found.low), share(found.high)
    return f"{low.removesuffix(' %')} to {high}"


def how_many(value: float) -> str:
    """A number of samples: whole from ten on; below, where that says more, with one decimal."""
    if not math.isfinite(value):
        return "–"
    return f"{value:,.0f}" if value >= 10 or float(value).is_integer() else f"{value:.1f}"


def name(words: str) -> str:
    """A foreign name as HTML that keeps its own direction of writing."""
    return f"<bdi>{text(words)}</bdi>"


def named(many: int, one: str, several: str = "") -> str:
    """``1 label``, ``2,000 labels``."""
    return f"{many:,} {one if many == 1 else several or one + 's'}"


def table(label: str, heads: Sequence[tuple[str, str]], rows: Sequence[str], sorts: bool = True) -> str:
    """A table that scrolls inside its frame, and that the page's script sorts.

    Args:
        label: what it shows. heads: title and the direction of the first press, ``up`` or ``down``.
        rows: HTML of ``tr`` elements.
    """
    shown = "".join(f'<th scope="col"{f" data-first={first}" if sorts else ""}>{text(title)}</th>' for title, first in heads)
    return (
        f'<div class="box" role="region" tabindex="0" aria-label="{text(label)}"><table class="grid{" sorts" if sorts else ""}">'
        f"<thead><tr>{shown}</tr></thead>\n<tbody>\n{chr(10).join(rows)}\n</tbody></table></div>"
    )
