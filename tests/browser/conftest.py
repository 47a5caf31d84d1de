"""One Chromium for all tests of pages; they are skipped, with the reason, where there is none."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.browser.driver import Browser, NoBrowser, start
from tests.reports.conftest import result  # noqa: F401


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    try:
        started = start(tmp_path_factory.mktemp("profile"))
    except NoBrowser as reason:
        pytest.skip(str(reason))
    yield Browser(started, tmp_path_factory.mktemp("pages"))
    started.quit()
