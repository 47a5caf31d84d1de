"""The command for a picture of the page says in one line what it lacks; what it shows is tested beside the page."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.browser import picture
from tests.browser.driver import NoBrowser


def test_without_a_page(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="is not there; make it with: python -m benchmark report --out DIR"):
        picture.main([str(tmp_path / "none.html"), str(tmp_path / "a.png")])


def test_without_a_browser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_profile: Path) -> None:
        raise NoBrowser("Chromium is not installed")

    monkeypatch.setattr(picture, "start", start)
    (tmp_path / "page.html").write_text("<!doctype html>")
    with pytest.raises(SystemExit, match="error: Chromium is not installed"):
        picture.main([str(tmp_path / "page.html"), str(tmp_path / "a.png")])
    assert not (tmp_path / "a.png").exists()
