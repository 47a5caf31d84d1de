"""The harness from Python, for notebooks: ``from benchmark import clean_labels, report, run``.

Each function does what the command of its name does, and hands back a table. Progress and notes go to stderr.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.errors import BenchmarkError

if TYPE_CHECKING:
    import pandas as pd

    from benchmark.clean.answer import Answer

__all__ = ["CleanLabels", "clean_labels", "report", "run"]


@dataclass(frozen=True)
class CleanLabels:
    """What :func:`clean_labels` has found.

    Attributes:
        table: one row a sample, as in labels.csv, what to look at first on top.
        answer: everything, :class:`benchmark.clean.answer.Answer`.
    """

    table: pd.DataFrame
    answer: Answer

    @property
    def noise_rate(self) -> float:
        """Estimated share of wrong labels."""
        return self.answer.verdict.noise_rate.value

    @property
    def check(self) -> str:
        """What the procedure finds on these data when it is known which labels are wrong, in a sentence."""
        return self.answer.verdict.check.sentence()


def run(
    methods: str | None = None,
    datasets: str | None = None,
    noise: str | None = None,
    *,
    seeds: str = "0",
    runs: str | Path = "runs",
    protocol: str = "quick",
    epochs: int | None = None,
    sets: Sequence[str] = (),
    baseline: str | None = None,
    task: str = "",
    features: str = "",
    jobs: int | None = None,
    device: str = "auto",
    plugins: Sequence[str] = (),
    quiet: bool = False,
) -> pd.DataFrame:
    """Run and compare methods × data × noise × seeds; finished cells are taken as they are.

    Args:
        methods, datasets, noise, seeds, sets: as on the command line, e.g. ``"hsa,coteaching"``, ``"digits"``, ``"0.2,0.4"``, ``"0-4"``,
            ``["hsa.hard_ratio=1.2"]``. None: the task's own.
        runs: the folder of runs. Nothing is mirrored in MLflow; ``python -m benchmark sync`` does that later.
        plugins: files or folders with more plugins.

    Returns:
        One row a run: ``dataset``, ``noise``, ``method``, ``seed``, ``status``, ``run_key``, and a column a metric, e.g.
        ``selected/accuracy`` (shares in [0, 1]).

    Raises:
        BenchmarkError: something that no run could use, or no run that ended well.
    """
    from benchmark.cli.campaign import conditions_of, print_failures, results_of
    from benchmark.cli.run import carry_out
    from reports.rows import flatten_all

    conditions = conditions_of(runs=Path(runs), jobs=jobs, device=device, plugin=list(plugins), no_tracking=True, quiet=quiet)
    asked: dict[str, Any] = {"task": task, "methods": methods, "datasets": datasets, "noise": noise, "baseline": baseline}
    chosen: dict[str, Any] = {
        "seeds": seeds,
        "protocol": protocol,
        "epochs": epochs,
        "sets": list(sets),
        "features": features,
        "skip_bad": False,
    }
    campaign, _ = carry_out(conditions, **asked, **chosen)
    if campaign is None:
        raise AssertionError("these conditions ask for runs, not for a plan")
    if campaign.interrupted:
        raise KeyboardInterrupt
    print_failures(campaign, conditions.worker)
    results = results_of(campaign)
    if not results:
        raise BenchmarkError("no run has ended well; what went wrong is printed above")
    return _frame(flatten_all(results))


def report(
    runs: str | Path = "runs",
    out: str | Path | None = None,
    *,
    filter: str | None = None,
    rank_by: str | None = None,
    plugins: Sequence[str] = (),
) -> pd.DataFrame:
    """Compare the finished runs of a folder.

    Args:
        runs: the folder of runs.
        out: where to write the leaderboard page, tables and figures; None writes nothing.
        filter: only runs for which it holds, e.g. ``'dataset == "tissue" and rate <= 0.4'``.
        rank_by: key of the metric that ranks; None: the task's headline metric at the selected epoch.
        plugins: files or folders with more plugins.

    Returns:
        One row a condition and method, as in ``leaderboard.csv``: means over seeds, sample sd, n, interval, rank, marks, run keys.

    Raises:
        BenchmarkError: no such folder, no finished runs, or a filter or metric that cannot be used.
    """
    import pandas as pd

    from benchmark.cli.options import registry_of
    from benchmark.cli.report import check_out
    from benchmark.cli.report_board import board_of, write_folder
    from reports.formats import records

    folder, registry = Path(runs), registry_of(plugins)
    if out is not None:
        check_out(Path(out))
    board = board_of(folder, registry, condition=filter, rank_by=rank_by)
    if out is not None:
        write_folder(board, Path(out), folder, registry)
    return pd.DataFrame([row for chapter in board.chapters for row in records(chapter.comparison)])


def clean_labels(
    path: str | Path,
    out: str | Path,
    *,
    methods: str | None = None,
    budget: int = 200,
    precision: float = 0.9,
    backbone: str = "",
    features: str = "",
    image_size: int | None = None,
    epochs: int | None = None,
    seed: int = 0,
    model: bool = True,
    skip_bad: bool = False,
    retry_failed: bool = False,
    jobs: int | None = None,
    device: str = "auto",
    quiet: bool = False,
) -> CleanLabels:
    """Find the wrong labels among one's own images; see docs/clean.md.

    Args:
        path: a folder of class folders, a csv with the columns path and label, or an npz.
        out: the folder to write; its runs let a call that was stopped go on.
        methods: who is asked; None: the command's four. budget: labels that somebody will look at.
        precision: flag as many labels as keep this share of them wrong.
        image_size: pixels a side, 0 as they are, None 32.
        model: train one on the corrected labels.
        retry_failed: run again what has failed in an earlier call.

    Raises:
        BenchmarkError: images or labels that cannot be used.
    """
    import io

    import pandas as pd

    from benchmark.clean.session import Question
    from benchmark.cli.campaign import conditions_of
    from benchmark.cli.clean import METHODS, carry_out, check_place
    from reports.clean_table import labels_csv

    check_place(Path(path), Path(out))
    asked = (methods or METHODS, backbone, epochs, features, image_size, seed)
    question = Question(Path(path), *asked, budget=budget, precision=precision, skip_bad=skip_bad)
    conditions = conditions_of(runs=Path(out) / "runs", jobs=jobs, device=device, no_tracking=True, retry_failed=retry_failed, quiet=quiet)
    answer = carry_out(question, Path(out), conditions, f"clean_labels({str(path)!r}, {str(out)!r})", model=model)
    table = pd.read_csv(io.StringIO(labels_csv(answer)), keep_default_na=False, na_values=[""])
    return CleanLabels(table, answer)


def _frame(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Flat rows as a table, without what is not a number or a word."""
    import pandas as pd

    plain = [{key: value for key, value in row.items() if not isinstance(value, (dict, list))} for row in rows]
    return pd.DataFrame(plain)
