"""``clean``: which labels of a person's own images are wrong."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.cli import campaign as camp
from benchmark.cli import cells as grids
from benchmark.cli import options as opt
from benchmark.cli.output import aside, note, warnings_shown, write
from benchmark.cli.run_groups import check_free
from benchmark.errors import BenchmarkError

if TYPE_CHECKING:
    from benchmark.clean.answer import Answer
    from benchmark.clean.session import Question, Subject
    from benchmark.driver import CampaignResult
    from benchmark.registry import Registry
    from benchmark.spec import RunSpec

OURS = re.compile(r"labels\.csv|report\.html|clean\.json|check\.csv|corrected\.csv|model|runs")
"""All that this command writes."""
METHODS = "hsa,confident_learning,aum,elr"


def add_to(app: typer.Typer) -> None:
    """Register the command of this module."""
    app.command("clean")(clean)


def clean(
    context: typer.Context,
    *,
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A folder of class folders, a csv (path,label …), or an npz.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The folder to write. Its runs let a stopped command go on.")],
    methods: Annotated[str, typer.Option("--methods", metavar="LIST", help="Who is asked: name[:key=value], …")] = METHODS,
    budget: Annotated[int, typer.Option("--budget", min=1, metavar="N", help="Labels that somebody will look at.")] = 200,
    precision: Annotated[
        float, typer.Option("--precision", metavar="SHARE", help="Flag as many labels as keep this share of them wrong.")
    ] = 0.9,
    backbone: Annotated[str, typer.Option("--backbone", metavar="NAME", help="Network of the runs. Default: cnn_small.")] = "",
    features: grids.Features = "",
    image_size: Annotated[
        int | None, typer.Option("--image-size", min=0, metavar="N", help="Pixels a side; 0: as they are. Default: 32.", show_default=False)
    ] = None,
    epochs: grids.Epochs = None,
    seed: Annotated[int, typer.Option("--seed", min=0, metavar="N", help="Of the split, the known wrong labels and the training.")] = 0,
    no_model: Annotated[bool, typer.Option("--no-model", help="Train no model on the corrected labels.")] = False,
    onnx: Annotated[bool, typer.Option("--onnx", help="Also write the model as an ONNX file; needs the extra onnx.")] = False,
    skip_bad: grids.SkipBad = False,
    retry_failed: camp.RetryFailed = False,
    jobs: camp.Jobs = None,
    gpus: camp.Gpus = "",
    device: camp.Device = "auto",
    threads: camp.Threads = 1,
    data_root: opt.DataRoot = None,
    plugin: opt.Plugins = None,
    as_json: opt.AsJson = False,
    quiet: camp.Quiet = False,
) -> int:
    """Find the wrong labels among your own images.

    Asks several methods, checks them on wrong labels that it makes in your data, and writes labels.csv, report.html and a model.
    Stopped or killed, the same command goes on where it was.
    """
    from benchmark.clean.session import Question
    from benchmark.tracking.command import Command

    check_place(path, out)
    question = Question(path, methods, backbone, epochs, features, image_size, seed, budget=budget, precision=precision, skip_bad=skip_bad)
    conditions = camp.conditions_of(
        runs=out / "runs",
        jobs=jobs,
        gpus=gpus,
        device=device,
        threads=threads,
        data_root=data_root,
        plugin=plugin,
        no_tracking=True,
        retry_failed=retry_failed,
        quiet=quiet,
    )
    if onnx:
        if no_model:
            raise BenchmarkError("--onnx writes the model that --no-model leaves out; give one of them")
        from benchmark.clean.onnx_file import check_packages

        check_packages()
    try:
        answer = carry_out(question, out, conditions, Command.of_this_process("clean", 0).line, model=not no_model)
    except BenchmarkError as error:
        raise BenchmarkError(_with_options(str(error))) from error
    if onnx and answer.model is not None:
        from benchmark.clean.onnx_file import export_onnx

        with aside(), warnings_shown():
            export_onnx(answer.model)
    _print(answer, as_json)
    for name in ("labels.csv", "report.html", "clean.json", *(["model"] if answer.model else [])):
        note(f"written: {out / name}")
    if answer.model is None and (out / "model").exists():
        note(f"{out / 'model'} is of an earlier call and not of this answer")
    lacking = set(answer.left_out) - set(answer.runs) or (answer.model is None and not no_model)
    return 1 if lacking else 0


def _with_options(message: str) -> str:
    """What to do next in this command's words: the options of a data set are options of the command here."""
    return re.sub(r"add image_size=(\d+)", r"add --image-size \1", message).replace("add skip_bad=true", "add --skip-bad")


def check_place(path: Path, out: Path) -> None:
    """Refuse a folder that cannot be written to, holds what this command did not write, or would mix the answer with the images.

    Raises:
        BenchmarkError: why, in a line.
    """
    check_free(out, OURS)
    images, place = path.expanduser().resolve(), out.resolve()
    if images.is_dir() and place.is_relative_to(images):
        raise BenchmarkError(
            f"--out {out} lies in {path}, where folders are classes and what is written would be among the images; move it out"
        )
    if images.is_relative_to(place):
        raise BenchmarkError(f"{path} lies in --out {out}, where it might be overwritten; choose another folder")


def carry_out(question: Question, out: Path, conditions: camp.Conditions, command: str, *, model: bool = True) -> Answer:
    """Run what the question needs and write the folder.

    Args:
        out: the folder. conditions: how its runs are run; their folder is ``out/runs``.
        command: as it is shown in the report.
        model: train one on the corrected labels.

    Raises:
        BenchmarkError: unusable images, or no method that could be asked.
        KeyboardInterrupt: it was interrupted; the same call goes on.
    """
    from benchmark.clean.session import Subject, answer_of, cells, corrected, protocol_of, with_model
    from benchmark.files import default_data_root

    opt.check_protocol(protocol_of(question))
    registry, data_root = opt.registry_of(conditions.plugins), conditions.data_root or default_data_root()
    told: set[str] = set()
    with aside(), warnings_shown(told):
        subject = Subject.read(question, registry, data_root, conditions.worker.device, quiet=conditions.quiet)
        asked = cells(subject, out)
    folders = _run([*asked.plain.values(), *asked.check.values()], "methods asked twice", registry, conditions, told)
    with aside(), warnings_shown(told):
        answer = answer_of(subject, asked, folders, command)
    if model:
        with aside(), warnings_shown(told):
            final = corrected(subject, answer, out)
        keeping = replace(conditions, keep_model=True)
        folders = _run([final], "a model of the corrected labels", registry, keeping, told)
        with aside(), warnings_shown(told):
            answer = with_model(answer, final, folders, out)
    with aside(), warnings_shown(told):
        _write(answer, subject, out)
    return answer


def _run(
    specs: Sequence[RunSpec], what: str, registry: Registry, conditions: camp.Conditions, told: set[str]
) -> Callable[[str], Path | None]:
    """Run these cells, those that are done taken as they are; returns where the files of a finished one are."""
    plan = camp.make_plan(registry, specs, conditions, told)
    camp.announce(plan, what, conditions)
    camp.make_data_ready(plan, registry, conditions, told)
    campaign = camp.execute(plan, conditions, told)
    if campaign.interrupted:
        note(f"interrupted; {campaign.finished} of {len(plan.pending)} runs of this step done; give the same command again to go on")
        raise KeyboardInterrupt
    camp.print_failures(campaign, conditions.worker_of(len(plan.pending)))
    _print_declined(campaign)
    return _folders(campaign)


def _print_declined(campaign: CampaignResult) -> None:
    """One line a method that says of these data that they are not for it."""
    found = ((cell, campaign.plan.store.result(cell.key) or {}) for cell in campaign.plan.cells)
    for label, reason in dict.fromkeys(
        (cell.spec.method.name, result.get("reason")) for cell, result in found if result.get("status") == "skipped"
    ):
        note(f"skipped  {label}: {reason}")


def _folders(campaign: CampaignResult) -> Callable[[str], Path | None]:
    store = campaign.plan.store

    def folder_of(key: str) -> Path | None:
        result = store.result(key)
        return store.folder(key) if result is not None and result.get("status") == "done" else None

    return folder_of


def _write(answer: Answer, subject: Subject, out: Path) -> None:
    """labels.csv, clean.json and the page; each appears in one step."""
    from benchmark.files import atomic_write_bytes, atomic_write_text
    from reports.clean_page import page
    from reports.clean_table import clean_json, labels_csv

    atomic_write_bytes(out / "labels.csv", labels_csv(answer).encode("utf-8-sig"))  # so that spreadsheets take it for what it is
    atomic_write_text(out / "clean.json", clean_json(answer))
    atomic_write_text(out / "report.html", page(answer, subject.pictures))


def _print(answer: Answer, as_json: bool) -> None:
    from benchmark.clean.rater_voice import VOICE
    from reports.clean_page.reading import expected_wrong, worth_a_look
    from reports.clean_page.summary import raters_note
    from reports.clean_table import clean_json

    if as_json:
        write(clean_json(answer))
        return
    verdict, n = answer.verdict, len(answer.paths)
    look = worth_a_look(answer)
    expected = expected_wrong(answer, look)
    low, rate, high = (f"{100 * value:.1f}" for value in (verdict.noise_rate.low, verdict.noise_rate.value, verdict.noise_rate.high))
    how = "if raters err on their own" if verdict.check.kind == VOICE else "if they are wrong at random"
    lines = [
        verdict.check.sentence(),
        f"About {rate} % of {n} labels are wrong ({low} to {high} %), {how}.",
        f"Of the {look} most suspicious about {expected.value:.0f} are wrong ({expected.low:.0f} to {expected.high:.0f}).",
    ]
    flagged, share = int(verdict.flagged.sum()), f"{100 * answer.target:.0f} % of them should be wrong"
    lines.append(f"{flagged} labels are flagged; {share}." if flagged else "No label is flagged.")
    if answer.left_out:
        lines.append(f"Not counted: {'; '.join(f'{name}, {why}' for name, why in answer.left_out.items())}.")
    twins = answer.audit.twins
    conflicts, leaks = sum(one.conflict for one in twins), sum(one.leak for one in twins)
    if twins:
        more = f"in {conflicts} the labels differ, {leaks} lie in several parts or groups"
        lines.append(f"{len(twins)} sets of images are copies of each other, or nearly; {more}.")
    if raters_note(answer):
        lines.append(raters_note(answer))
    if verdict.check.by_chance:
        lines.append("The known flips were not found more often than by chance, for all one can tell: do not act on these numbers.")
    write("\n".join(lines))
