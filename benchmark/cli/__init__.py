"""The command line: parse, call, print. Nothing heavy is imported before a command needs it.

Results go to stdout and everything else (plans, progress, notes, errors) to stderr, so that ``--format json`` can be
piped. Exit codes: 0 all is well, 1 a cell or a check failed, 2 the command cannot be carried out as written (one line
says why), 130 interrupted.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from benchmark.cli import (
    authoring,
    budget,
    clean,
    gallery,
    heatmaps,
    listing,
    noise,
    predict,
    relabel,
    report,
    results,
    retention,
    run,
    showing,
    status,
    sweep,
    tile,
)
from benchmark.errors import BenchmarkError

__all__ = ["app", "main"]

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: a third of the start-up time, no boxes, brackets in the text stay what they are
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Which noisy-label method should I use, and which of my labels are wrong?",
)
for group in (
    *(run, clean, sweep, budget, listing, showing, status, report, results),
    *(retention, gallery, heatmaps, noise, relabel, predict, tile, authoring),
):
    group.add_to(app)


def main(argv: Sequence[str] | None = None) -> int:
    """Carry out one command.

    Args:
        argv: the words after the program's name; None reads ``sys.argv``.

    Returns:
        The exit code.
    """
    words = sys.argv[1:] if argv is None else list(argv)
    try:
        code = app(args=words or ["--help"], prog_name="python -m benchmark", standalone_mode=False, obj=words)
    except BenchmarkError as error:
        message = str(error)
    except KeyboardInterrupt:
        return 130
    except SystemExit as error:  # the reader of a pipe has gone
        return error.code if isinstance(error.code, int) else 1
    except Exception as error:
        problem = _usage_error(error)
        if problem is None:
            raise
        message = problem
    else:
        if not words:
            return 2  # the help was all we could do
        return code if isinstance(code, int) else 0
    sys.stderr.write(f"error: {' '.join(message.splitlines())}\n")  # one line, never wrapped, coloured or read as markup
    return 2


def _usage_error(error: Exception) -> str | None:
    """What the user can mend, in words; None for an error in the program."""
    if isinstance(error, OSError) and error.strerror is not None:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if not hasattr(error, "format_message"):  # Typer's errors come from its own copy of click, or from click itself
        return None
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "python -m benchmark"
    return f"{str(error.format_message()).rstrip('.')}; see: {command} --help"
