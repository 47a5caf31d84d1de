"""For tests of several folders: workers that are killed, and pages of HTML as a browser reads them."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from PIL.Image import Image

    from benchmark.engines.base import WorkerOptions

ALONE = ("meta", "img", "br")
HARMLESS = {
    *("html", "head", "title", "style", "body", "header", "main", "section", "nav", "article", "figure", "figcaption", "div"),
    *("h1", "h2", "h3", "h4", "p", "a", "b", "i", "ul", "li", "dl", "dt", "dd", *ALONE),
}


@dataclass
class Page:
    """What is on a page: tags with their attributes, texts, addresses of links, pictures."""

    tags: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    pictures: list[Image] = field(default_factory=list)

    def within(self, name: str) -> list[dict[str, str]]:
        """The attributes of all elements of a name."""
        return [about for tag, about in self.tags if tag == name]


class _Reader(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.page, self.open = Page(), list[str]()
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.page.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in ALONE:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.page.words.append(data)
        else:
            assert not re.search(r"url\s*\(|@import|https?:|//", data)  # a style can load things, too


@pytest.fixture
def read_page() -> Callable[[str], Page]:
    """Reads a page and checks what holds of all: it is whole, loads nothing, runs nothing, and can be used without eyes or mouse."""

    def read(text: str) -> Page:
        from PIL import Image

        reader = _Reader(text)
        page, ids = reader.page, [about["id"] for _, about in reader.page.tags if "id" in about]
        assert text.startswith("<!doctype html>") and reader.open == [] and len(ids) == len(set(ids))
        assert {tag for tag, _ in page.tags} <= HARMLESS  # no script, link, iframe, form or base among them
        assert not [name for _, about in page.tags for name in about if name.startswith("on") or name in ("srcset", "action", "background")]
        page.links = [about["href"] for _, about in page.tags if "href" in about]
        assert all(link[:1] == "#" and link[1:] in ids for link in page.links)
        for about in page.within("img"):
            kind, _, content = about["src"].partition(";base64,")
            assert kind.startswith("data:image/")
            page.pictures.append(Image.open(io.BytesIO(base64.b64decode(content, validate=True))))
            assert kind == f"data:image/{str(page.pictures[-1].format).lower()}" and about["alt"]
        assert not [tag for tag, about in page.tags if "src" in about and tag != "img"]
        assert page.within("html") == [{"lang": "en"}] and len(page.within("title")) == len(page.within("h1")) == 1
        (policy,) = (about["content"] for about in page.within("meta") if about.get("http-equiv") == "Content-Security-Policy")
        assert policy.startswith("default-src 'none'; img-src data:;") and "http" not in policy
        assert [about["content"] for about in page.within("meta") if about.get("name") == "viewport"] == [
            "width=device-width, initial-scale=1"
        ]
        return page

    return read


ATTEMPT = """
import json, sys
from benchmark import worker
from benchmark.engines.base import WorkerOptions
outcome = worker.execute(sys.argv[2], WorkerOptions.from_dict(json.loads(sys.argv[1])), lambda event: None)
print(outcome.status, outcome.message)
"""


@pytest.fixture
def attempt() -> Callable[[WorkerOptions, str, Callable[[], bool]], str]:
    """Runs the worker in a process of its own; SIGKILLs it as soon as its last argument holds. Returns what it printed."""

    def call(options: WorkerOptions, key: str, dies: Callable[[], bool]) -> str:
        command = [sys.executable, "-c", ATTEMPT, json.dumps(options.to_dict()), key]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
            while process.poll() is None:
                if dies():
                    process.send_signal(signal.SIGKILL)
                time.sleep(0.001)
            assert process.stdout is not None
            return process.stdout.read().strip()

    return call


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Training in this process as workers train; for modules that mark themselves with it."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
