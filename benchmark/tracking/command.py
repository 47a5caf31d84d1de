"""The command a tracker works for, and how its words are shown without secrets."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from benchmark.errors import BenchmarkError

_USERINFO = re.compile(r"://(?:[^\s/]*|[^\s/:@]*:\S*)@")  # SQLAlchemy takes a password with slashes
_PASSWORD = re.compile(r"://[^\s/:@]*:(\S*)@")
_VARIABLES = ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")
_QUERY_SECRET = re.compile(r"(?i)([?&][^=&\s]*(?:pass|secret|token|key|sig)[^=&\s]*=)[^&\s)]+")
_SECRET_OPTION = re.compile(r"(?i)(?:^|[-_.])(?:password|passwd|secret|token|api[-_]?key|credentials?)$")
_ASSIGNED_SECRET = re.compile(
    r"(?is)((?:pass(?:words?|wd|phrase)?|secrets?|token|api[-_]?keys?|credentials?)\d*(?:[-_.][\w.-]*)?=).+"
)  # to the word's end, because quotes and spaces are the shell's
_SCRIPTS = ("setup", "teardown")  # of --slurm: lines of a shell, where logins are set
MASK = "***"
_SHORTEST = 4  # a shorter password is hidden in addresses only: it occurs within ordinary words


@dataclass(frozen=True)
class Command:
    """One command of the benchmark, as its parent run shows it.

    Attributes:
        name: e.g. ``"run"``; the name of the parent run.
        cells: how many runs the command asked for.
        line: the whole command line, secrets masked.
        host, pid: of the driver, so that a later command can see that this one has died.
        started: Unix milliseconds.
    """

    name: str
    cells: int
    line: str
    host: str
    pid: int
    started: int

    @classmethod
    def of_this_process(cls, name: str, cells: int) -> Command:
        """The command that this process runs; its words come from ``sys.argv``."""
        line = " ".join(["python -m benchmark", *map(shlex.quote, masked_arguments(sys.argv[1:]))])
        line = line.encode("utf-8", "replace").decode()  # a file's name need not be UTF-8
        return cls(masked(name), cells, line, socket.gethostname(), os.getpid(), int(time.time() * 1000))


def masked(text: str, uri: str = "") -> str:
    """The text without the user and password of any address, without the password of ``uri`` and the secrets of MLflow's variables."""
    text = _QUERY_SECRET.sub(rf"\1{MASK}", _USERINFO.sub(f"://{MASK}@", text))
    secrets = [os.environ.get(name, "") for name in _VARIABLES] + _PASSWORD.findall(uri)
    with contextlib.suppress(ValueError):  # a URI that is none
        secrets.append(urlsplit(uri).password or "")
    written = {form for secret in secrets for form in (secret, unquote(secret)) if len(secret) >= _SHORTEST}
    for secret in sorted(written, key=len, reverse=True):
        text = text.replace(secret, MASK)
    return text


def masked_arguments(arguments: Sequence[str]) -> list[str]:
    """A command line's words without credentials in addresses, values of ``--token``, ``A_TOKEN=…``, … and ``--slurm setup=…``."""
    shown: list[str] = []
    hide_next, before = False, ""
    for word in arguments:
        option, equals, _ = word.partition("=")
        flag, script = ("--slurm=", word[8:]) if word.startswith("--slurm=") else ("", word if before == "--slurm" else "")
        name, given, _ = script.partition("=")
        if hide_next and not word.startswith("-"):
            shown.append(MASK)
        elif given and name.strip() in _SCRIPTS:
            shown.append(f"{flag}{name}={MASK}")
        elif equals and _SECRET_OPTION.search(option):
            shown.append(f"{option}={MASK}")
        else:
            shown.append(_ASSIGNED_SECRET.sub(rf"\1{MASK}", masked(word)))
        hide_next = word.startswith("-") and not equals and _SECRET_OPTION.search(option) is not None
        before = word
    return shown


def one_line(error: BaseException, uri: str = "", limit: int = 400) -> str:
    """An exception as one line without secrets and SQL, cut to ``limit`` characters; of our own errors the words alone."""
    text = " ".join(masked(str(error), uri).partition("[SQL:")[0].split())
    if not (text and isinstance(error, BenchmarkError)):
        text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return text if len(text) <= limit else text[: limit - 1] + "…"


def repair(runs: Path, uri: str | None) -> str:
    """The command that brings the mirror up to date later."""
    words = ["python -m benchmark sync --runs", shlex.quote(str(runs))]
    if uri:
        words += ["--tracking-uri", shlex.quote(masked(uri, uri))]
    return " ".join(words)
