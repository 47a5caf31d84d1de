"""The frame of all pages: foreign text stays text, and nothing is loaded from anywhere."""

from __future__ import annotations

import base64
import hashlib
import io
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from benchmark.html_page import LARGEST_WEBP, POLICY, document, encoded, image, one_line, paragraphs, policy, section, text

ReadPage = Callable[[str], Any]
"""Reads and checks a page; see conftest.py."""

EVIL = "</title><script src=//x.y/z>alert(1)</script>\n<img src=x onerror='a()'>\" onload=\"a()"
TOLD = "</title><script src=//x.y/z>alert(1)</script> <img src=x onerror='a()'>\" onload=\"a()"


def test_foreign_text_is_inert_wherever_it_stands(read_page: ReadPage) -> None:
    body = section(1, EVIL, [EVIL], [image("image/png", *_png(EVIL))], paragraphs([EVIL]), f"<p>{text(EVIL)}</p>")
    page = read_page(document(EVIL, [EVIL], body))
    # title, h1, note; h2, above, link, below, h3
    assert [words for words in page.words if words.strip()] == [TOLD] * 8
    assert [about["alt"] for about in page.within("img")] == [TOLD]


def _png(alt: str) -> tuple[bytes, str]:
    from PIL import Image

    stream = io.BytesIO()
    Image.new("RGB", (2, 3)).save(stream, "png")
    return stream.getvalue(), alt


def test_nothing_may_be_loaded_and_there_is_a_style_for_each_place(read_page: ReadPage) -> None:
    whole = document("a", [], "", "p { margin: 7px; }")
    assert read_page(whole).within("meta")[2]["content"] == POLICY
    assert POLICY.split("; ")[:2] == ["default-src 'none'", "img-src data:"]
    assert {"base-uri 'none'", "form-action 'none'"} < set(POLICY.split("; "))  # what default-src does not cover
    assert "prefers-color-scheme: dark" in whole and "@media print" in whole and ":focus-visible" in whole
    assert whole.index("@media print") < whole.index("margin: 7px")  # a page's own style has the last word
    read_page(document("", [], ""))  # nothing to say is no error


def test_a_page_has_no_script_or_the_one_that_its_policy_names() -> None:
    code = "document.title = '<é>';"
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    whole = document("a", [], "", script=code, top="<p>first</p>")
    assert f"{POLICY}; script-src 'sha256-{digest}'\"" in whole and f"<script>{code}</script>\n</head>" in whole
    assert whole.index("<p>first</p>") < whole.index("<h1>")
    assert policy() == POLICY and "script" not in document("a", [], "")


@pytest.mark.parametrize("code", ["a('</SCRIPT>')", "a('<!--')", "a\r\nb", "\0"])
def test_a_script_that_a_browser_would_read_otherwise_is_refused(code: str) -> None:
    with pytest.raises(ValueError, match="must hold no </script"):
        document("a", [], "", script=code)


@pytest.mark.parametrize(
    "smuggled",
    ["<script></script>", '<img alt="a" src="https://x.y/z.png">', '<a href="https://x.y">a</a>', '<p onclick="a()"></p>', "<p>"],
)
def test_the_reader_of_pages_would_see_it(read_page: ReadPage, smuggled: str) -> None:
    with pytest.raises(AssertionError):
        read_page(document("a", [], smuggled))


def test_a_section_links_to_its_parts_in_their_order(read_page: ReadPage) -> None:
    made: list[str] = []

    def parts():
        for name in ("one", "two"):
            made.append(name)
            yield f"<p>{name}</p>"

    page = read_page(document("a", [], section(3, "b", ["x", "y"], parts())))
    assert page.links == ["#m3-1", "#m3-2"] == [f"#{about['id']}" for about in page.within("h3")]
    assert [words for words in page.words if words.strip()] == ["a", "a", "b", "x", "y", "x", "one", "y", "two"] and made == ["one", "two"]
    with pytest.raises(ValueError, match="shorter"):
        section(1, "b", ["x", "y"], ["one"])


def test_text_is_one_printable_line() -> None:
    assert one_line("a\u202e\tb\n\x1b[31m c\ud800 ") == "a b [31m c"
    assert text("a<b & \"c\" 'd'") == "a&lt;b &amp; &quot;c&quot; &#x27;d&#x27;"


@pytest.mark.parametrize(("size", "media"), [((30, 20), "webp"), ((3, LARGEST_WEBP), "webp"), ((3, LARGEST_WEBP + 1), "png")])
def test_a_picture_is_webp_where_that_can_hold_it(size: tuple[int, int], media: str) -> None:
    from PIL import Image

    kind, content = encoded(Image.new("RGBA", size, (200, 100, 50, 255)))
    found = Image.open(io.BytesIO(content))
    assert (kind, found.size, found.mode) == (f"image/{media}", size, "RGB")
    assert all(abs(value - meant) <= 4 for value, meant in zip(found.getpixel((1, 1)), (200, 100, 50), strict=True))


def test_a_picture_without_webp(monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import Image, features

    monkeypatch.setattr(features, "check", lambda name: name != "webp")
    assert encoded(Image.new("RGB", (4, 4)))[0] == "image/png"


def test_the_frame_imports_nothing_heavy() -> None:
    code = "import sys, benchmark.html_page, reports.escape; print([name for name in ('numpy', 'PIL', 'torch') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
