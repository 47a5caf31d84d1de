"""From a folder of runs, or its mirror, to the leaderboard of those that were asked for, and to its folder."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.cli.options import check_choice, parse_seeds
from benchmark.cli.output import note, warnings_shown
from benchmark.cli.results import existing_store, is_stale
from benchmark.errors import BenchmarkError

if TYPE_CHECKING:
    from benchmark.registry import Registry
    from benchmark.store import RunStore
    from reports.board import Board
    from reports.filters import Filter
    from reports.rows import Row

POSTHOC = ("nemenyi", "wilcoxon-holm")


def board_of(
    runs: Path,
    registry: Registry,
    *,
    command: str = "",
    names: Mapping[str, list[str] | None] | None = None,
    seeds: str | None = None,
    condition: str | None = None,
    rank_by: str | None = None,
    columns: list[str] | None = None,
    baseline: str | None = None,
    posthoc: str = POSTHOC[0],
    task: str | None = None,
    source: str = "files",
    trials: bool = False,
    tracking_uri: str | None = None,
) -> Board:
    """The leaderboard of a folder of runs, or of its mirror; the arguments are the options of those names.

    Raises:
        BenchmarkError: nothing that was asked for is there, or it cannot be compared as asked.
    """
    from reports.board import build, provenance_of

    wanted = None if seeds is None else parse_seeds(seeds)
    chosen = _filter(condition)
    results = _of_task(_wanted_results(source, runs, tracking_uri, trials, registry), task, source, runs)
    if baseline is not None:  # a default may be absent: there are no differences then
        plans = [row["spec"] for row in results]
        check_choice("--baseline", baseline, {str(s["method"]["name"]) for s in plans} | set(filter(None, map(_method_label, plans))))
    rows = _rows(results, names or {}, wanted, chosen, runs)
    said = [f"{kind} {', '.join(values)}" for kind, values in (names or {}).items() if values]
    said += [f"seeds {seeds}"] if seeds else []
    said = list(map(_shown, [*said, *([condition.strip()] if condition else [])]))
    origin = provenance_of(rows, command, str(runs) if source == "files" else "MLflow", said)
    options: dict[str, Any] = {"rank_by": rank_by, "compact": columns, "baseline": baseline, "seeds": wanted, "posthoc": posthoc}
    return build(rows, provenance=origin, **options)


def write_folder(
    board: Board,
    out: Path,
    runs: Path,
    registry: Registry,
    data_root: Path | None = None,
    gallery: int = 12,
    more: Mapping[str, str] | None = None,
) -> list[Path]:
    """Write the folder of ``--out``; see :func:`reports.board_files.write_board`."""
    from benchmark.files import default_data_root
    from benchmark.store import RunStore
    from reports.board_files import write_board

    folders = RunStore(runs) if runs.is_dir() else None
    return write_board(board, out, folders, registry, data_root or default_data_root(), gallery, more=more)


def _filter(text: str | None) -> Filter | None:
    if text is None:
        return None
    from reports.filters import parse_filter

    return parse_filter(text)


def _wanted_results(source: str, runs: Path, tracking_uri: str | None, trials: bool, registry: Registry) -> list[dict[str, Any]]:
    """All results with their staleness, without those that only a search has asked for."""
    found = _results(source, runs, tracking_uri)
    results = [row for row in _sound(found, registry) if trials or not _only_a_trial(row)]
    if not results:
        raise BenchmarkError("these runs are all trials of searches; add --trials to see them, or give the sweep command again")
    return results


def _sound(results: Sequence[dict[str, Any]], registry: Registry) -> list[dict[str, Any]]:
    """Those that can be read, with their staleness; of each other one a warning: one foreign file must not hide a thousand sound ones."""
    from reports.sound import problem_of, without_secrets

    kept = []
    for result in results:
        problem = problem_of(result)
        if problem is None:
            kept.append({**without_secrets(result), "stale": is_stale(result, registry)})
        else:
            note(f"warning: run {result.get('run_key')} is left out, its result is none: {problem}")
    if not kept:
        raise BenchmarkError("none of these results can be read; run the cells again")
    return kept


def _of_task(results: list[dict[str, Any]], task: str | None, source: str, runs: Path) -> list[dict[str, Any]]:
    if task is None:
        return results
    kept = [row for row in results if (row.get("data") or {}).get("task", "classification") == task]
    if not kept:
        place = f"{runs}; see: python -m benchmark status --runs {runs}" if source == "files" else "the MLflow store; leave --task out"
        raise BenchmarkError(f"no finished runs of {task} in {place}")
    return kept


def _rows(
    results: Sequence[Mapping[str, Any]],
    names: Mapping[str, list[str] | None],
    seeds: list[int] | None,
    chosen: Filter | None,
    runs: Path,
) -> list[Row]:
    """Flat rows of what was asked for."""
    from reports.rows import flatten_all, select

    rows = select(flatten_all(results), seeds=seeds, **names)
    if not rows:
        raise BenchmarkError("no run has all of these names and seeds at once; choose other --methods, --datasets, --noise or --seeds")
    if chosen is None:
        return rows
    kept = chosen.keep(rows)
    if not kept:
        see = f"python -m benchmark report --runs {shlex.quote(str(runs))} --format csv"
        raise BenchmarkError(f"--filter '{chosen.text}': none of {len(rows)} runs; see: {see}")
    return kept


def _results(source: str, runs: Path, tracking_uri: str | None) -> list[dict[str, Any]]:
    """The contents of ``result.json`` of all runs, sorted by key, those of trials with ``named``; BenchmarkError if there are none."""
    if source == "mlflow":
        from benchmark.tracking import read_results

        with warnings_shown():
            return read_results(runs, tracking_uri)
    if tracking_uri is not None:
        raise BenchmarkError("--tracking-uri says nothing of files; add --from mlflow, or leave it out")
    store = existing_store(runs)
    with warnings_shown():
        results = list(store.rows())
    if not results:
        raise BenchmarkError(f"no finished runs in {runs}; see: python -m benchmark status --runs {runs}")
    return [{**row, "named": _is_named(store, row["run_key"])} if _is_trial(row) else row for row in results]


def _is_trial(result: Mapping[str, Any]) -> bool:
    from benchmark.spec import is_trial

    spec = result.get("spec")
    return isinstance(spec, dict) and is_trial(spec)


def _is_named(store: RunStore, key: str) -> bool:
    """Whether a command has asked for a trial by name since: its spec.json says so, which is no trial's then."""
    from benchmark.spec import is_trial

    try:
        return not is_trial(store.spec(key).to_dict())
    except BenchmarkError:
        return False


def _only_a_trial(result: Mapping[str, Any]) -> bool:
    """Whether nobody but a search has asked for this run."""
    return _is_trial(result) and not result["named"]


def _method_label(spec: Mapping[str, Any]) -> str | None:
    return (spec.get("labels") or {}).get("method")


def _shown(text: str) -> str:
    from reports.sound import without_secrets

    return str(without_secrets(text))
