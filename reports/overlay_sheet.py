"""``overlays.png``: strips of tiles below each other, pixel by pixel as they were made, with a legend and words around them."""

from __future__ import annotations

import bisect
import functools
import io
import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from benchmark.errors import BenchmarkError
from reports import style
from reports.escape import one_line
from reports.overlays import FALSE_ALARM, FLAGGED, HIT, MISSED, Strip, object_colours

__all__ = ["Key", "Table", "contact_sheet", "legend"]

DPI = 150
LINE = 21
"""Pixels from one line of text to the next."""
GAP, MARGIN, SWATCH = 10, 28, 16
"""Pixels between tiles, around everything, and of a colour's square in the legend."""
NARROWEST = 192
"""Pixels of a column: words stand below narrow tiles, too."""
SMALL, LARGE = 6.5, 8.5
"""Points of the text below tiles and of titles."""
MOST_PIXELS = 2**16 - 1
"""Of either side of an image that can be drawn."""


@dataclass(frozen=True)
class Table:
    """Strips with the same columns. title: what they show."""

    title: str
    strips: Sequence[Strip]


@dataclass(frozen=True)
class Key:
    """An entry of the legend. colour: hexadecimal; ``""`` = hatched in grey. outline: whether it is the colour of an outline."""

    label: str
    colour: str
    outline: bool = False


def legend(objects: Sequence[str], *, referenced: bool, void: bool) -> list[Key]:
    """What the colours mean: of the objects, of flagged pixels with or without a truth, and void if there is any."""
    keys = [Key(name, colour, outline=True) for name, colour in object_colours(objects).items()]
    if referenced:
        keys += [Key("flagged, and wrong", HIT), Key("flagged, but right", FALSE_ALARM), Key("wrong, not flagged", MISSED)]
    else:
        keys.append(Key("flagged (whether it is wrong is not known)", FLAGGED))
    keys.append(Key("outline of the given mask", style.INK, outline=True))
    return [*keys, Key("void", "")] if void else keys


def contact_sheet(title: str, keys: Sequence[Key], tables: Sequence[Table]) -> bytes:
    """A PNG of some tables; the same content gives the same bytes.

    Args:
        title: above everything. Names in it, in the legend and in the tables are foreign text: nothing in them is markup.
        keys: the legend.
        tables: those without strips are left out.

    Raises:
        BenchmarkError: more strips or tiles than an image can hold.
    """
    import matplotlib
    from matplotlib.figure import Figure

    stream = io.BytesIO()
    with matplotlib.rc_context(style.RC), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # names in any script; the font has not all of them
        sheet = _Sheet(tables)
        sheet.heading(title, keys)
        for table in tables:
            if table.strips:
                sheet.table(table)
        canvas = sheet.canvas()
        height, width = canvas.shape[:2]
        figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)
        figure.figimage(canvas)
        for text in sheet.texts:
            at = text.x / width, 1 - text.y / height
            figure.text(*at, text.words, va="baseline", fontsize=text.size, color=text.colour, fontweight=text.weight)
        figure.savefig(stream, format="png", dpi=DPI, metadata={"Software": None})
    return stream.getvalue()


@dataclass(frozen=True)
class _Text:
    x: float
    y: float
    words: str
    size: float = SMALL
    colour: str = style.INK
    weight: str = "normal"


class _Sheet:
    """Where everything stands, from top to bottom."""

    def __init__(self, tables: Sequence[Table]) -> None:
        strips = [strip for table in tables for strip in table.strips]
        self._cell = max((tile.pixels.shape[1] for strip in strips for tile in strip.tiles), default=0)
        self._cell = max(self._cell, NARROWEST)
        self.width = 2 * MARGIN + max((len(strip.tiles) for strip in strips), default=1) * (self._cell + GAP) - GAP
        self.y = MARGIN
        self.texts: list[_Text] = []
        self._pictures: list[tuple[int, int, np.ndarray]] = []

    def heading(self, title: str, keys: Sequence[Key]) -> None:
        """The title and the legend, in as many lines as it takes."""
        room = self.width - 2 * MARGIN
        self._line(_cut(title, room, LARGE, "bold"), "bold")
        x = MARGIN
        for key in keys:
            words = _cut(key.label, room - SWATCH - 8)
            long = SWATCH + 8 + math.ceil(_width(words)) + 28
            if x > MARGIN and x + long - 28 > self.width - MARGIN:
                x, self.y = MARGIN, self.y + LINE + 4
            self._pictures.append((x, self.y + 4, _swatch(key)))
            self.texts.append(_Text(x + SWATCH + 8, self.y + LINE - 4, words))
            x += long
        self.y += LINE + 20

    def table(self, table: Table) -> None:
        """A title, the names of methods and columns, and the strips."""
        self._line(_cut(table.title, self.width - 2 * MARGIN, LARGE))
        self.y += 2
        tiles, step = table.strips[0].tiles, self._cell + GAP
        if any(tile.method for tile in tiles):
            for method, start, stop in _spans([tile.method for tile in tiles]):
                left, long = MARGIN + start * step, (stop - start) * step - GAP
                if method:
                    self.texts.append(_Text(left, self.y + LINE - 6, _cut(method, long, weight="bold"), weight="bold"))
                    self._pictures.append((left, self.y + LINE, np.full((2, long, 3), 160, dtype=np.uint8)))
            self.y += LINE + 4
        for place, tile in enumerate(tiles):
            self.texts.append(_Text(MARGIN + place * step, self.y + LINE - 6, tile.title, colour=style.QUIET))
        self.y += LINE
        for strip in table.strips:
            height = max(tile.pixels.shape[0] for tile in strip.tiles)
            for place, tile in enumerate(strip.tiles):
                x = MARGIN + place * step
                self._pictures.append((x, self.y, tile.pixels))
                for number, words in enumerate(tile.lines, 1):
                    self.texts.append(_Text(x, self.y + height + number * LINE - 4, _cut(words, self._cell)))
            self.y += height + max(len(tile.lines) for tile in strip.tiles) * LINE + 2 * GAP
        self.y += 2 * GAP

    def canvas(self) -> np.ndarray:
        """(h, w, 3) uint8: the pictures on white."""
        height = self.y + MARGIN - 3 * GAP
        if max(height, self.width) > MOST_PIXELS:
            problem = f"a sheet of {self.width:,} × {height:,} pixels cannot be drawn (at most {MOST_PIXELS:,} a side)"
            raise BenchmarkError(f"{problem}; ask for fewer images or --methods")
        canvas = np.full((height, self.width, 3), 255, dtype=np.uint8)
        for x, y, pixels in self._pictures:
            canvas[y : y + pixels.shape[0], x : x + pixels.shape[1]] = pixels
        return canvas

    def _line(self, words: str, weight: str = "normal") -> None:
        self.texts.append(_Text(MARGIN, self.y + LINE - 2, words, LARGE, weight=weight))
        self.y += math.ceil(LINE * LARGE / SMALL)


def _spans(names: Sequence[str]) -> Iterator[tuple[str, int, int]]:
    """Runs of the same name: it, where it starts, and where it has ended."""
    start = 0
    for name, run in groupby(names):
        stop = start + len(list(run))
        yield name, start, stop
        start = stop


def _swatch(key: Key) -> np.ndarray:
    ink = [int((key.colour or style.QUIET)[start : start + 2], 16) for start in (1, 3, 5)]
    square = np.full((SWATCH, SWATCH, 3), ink, dtype=np.uint8)
    if key.outline:
        square[3:-3, 3:-3] = (square[3:-3, 3:-3] * 0.3 + 255 * 0.7).astype(np.uint8)
    if not key.colour:
        square[np.add.outer(np.arange(SWATCH), np.arange(SWATCH)) % 6 >= 2] = 255
    return square


def _cut(words: str, room: float, size: float = SMALL, weight: str = "normal") -> str:
    """One line, without its end where it is wider than so many pixels."""
    words = one_line(words)
    if _width(words, size, weight) <= room:
        return words
    kept = bisect.bisect_right(range(len(words)), room, key=lambda letters: _width(f"{words[:letters]}…", size, weight)) - 1
    return f"{words[: max(kept, 0)]}…"


@functools.lru_cache(4096)
def _width(words: str, size: float = SMALL, weight: str = "normal") -> float:
    """Pixels that a line of text takes as it is drawn, whole pixels a letter."""
    from matplotlib.backends.backend_agg import RendererAgg
    from matplotlib.font_manager import FontProperties

    renderer = RendererAgg(1, 1, DPI)
    width, _, _ = renderer.get_text_width_height_descent(words, FontProperties(size=size, weight=weight), ismath=False)
    return float(width)
