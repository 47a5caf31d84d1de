"""Foreign text made safe for a page. Names of methods and data come from plugins, folders and command lines."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import Any

from benchmark.html_page import one_line

__all__ = ["DAGGER", "Escape", "csv_cell", "latex", "markdown", "one_line"]

Escape = Callable[[str], str]
DAGGER = "†"
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
MARKDOWN = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", **{char: f"\\{char}" for char in "\\`*_|[]~$#"}})
LATEX = str.maketrans(
    {char: f"\\{char}" for char in "&%$#_{}"}
    | {char: f"{{{char}}}" for char in "[]*"}  # after a line break, LaTeX would read them as its arguments
    | {"\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "–": "--"}
    | {"<": "\\textless{}", ">": "\\textgreater{}", "|": "\\textbar{}", DAGGER: "\\textsuperscript{\\dag}"}
    | {"±": "$\\pm$", "→": "$\\rightarrow$", "·": "$\\cdot$"}
)
NOT_IN_PDFLATEX = re.compile("[^\x00-\x7f¡-ª¬®-º¼-ÏÑ-Ýß-ïñ-ýÿ-ăĆ-ďĒ-ėĚ-ĥĨ-ĭİ-ķĹ-ľŁ-ňŌ-ťŨ-űŴ-ž—‘’“”‡•…‰€™]+")
"""What pdfLaTeX stops at; it was tried out, character by character, without any package."""

ADDRESS = re.compile(r"(?i)(https?|ftp|www)([:.])")


def markdown(text: str) -> str:
    """One line in which Markdown and HTML find nothing to interpret, and GitHub no address to make a link of."""
    return ADDRESS.sub(lambda found: f"{found[1]}\\{found[2]}", one_line(text).translate(MARKDOWN))


def latex(text: str) -> str:
    """One line in which LaTeX finds nothing to interpret; the signs of our own tables become its commands.

    Characters that pdfLaTeX does not have stand there as ``U+4E2D``, and as themselves in LuaLaTeX and XeLaTeX.
    """
    return NOT_IN_PDFLATEX.sub(_by_engine, unicodedata.normalize("NFC", one_line(text)).translate(LATEX))


def _by_engine(found: re.Match[str]) -> str:
    numbers = " ".join(f"U+{ord(char):04X}" for char in found[0])
    return f"\\ifdefined\\Umathcode {found[0]}\\else {numbers}\\fi{{}}"


def csv_cell(value: Any) -> Any:
    """A cell that no spreadsheet runs as a formula: such text gets a leading apostrophe; tuples are joined, numbers stay."""
    if isinstance(value, tuple):
        value = " ".join(str(item) for item in value)
    return "'" + value if isinstance(value, str) and value.lstrip(" \n").startswith(FORMULA_STARTS) else value
