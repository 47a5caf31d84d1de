"""From a folder of images to the answer: the runs that are asked, what they say, and the model that is trained on the result."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmark.errors import BenchmarkError
from benchmark.grammar import Setting, parse_settings

if TYPE_CHECKING:
    from benchmark.api import Dataset
    from benchmark.clean.answer import Answer
    from benchmark.clean.audit import Audit
    from benchmark.clean.rater_flips import Flips
    from benchmark.clean.raters import Raters
    from benchmark.registry import Registry
    from benchmark.spec import PluginSpec, RunSpec, TrainingProtocol

__all__ = ["CHECK_RATE", "Asked", "Question", "Subject", "answer_of", "cells", "corrected", "protocol_of", "with_model"]

CHECK_RATE = 0.1
"""Share of the labels that are changed to see what is found."""
HELD_OUT = {"test_fraction": 0.1, "val_fraction": 0.1}
SIDE = 32
"""Pixels that images are brought to where nothing else is asked for: minutes on a laptop, and enough for texture."""
LEAST_SIDE = 4
"""Pixels that images may be brought to: less is a mean colour."""
NO_RUN, NO_VOICE = "its runs have not ended well", "it ranks no label above another"
LINEAR_LR = 1e-2
"""Of a linear classifier on frozen features, which is far from fitted after a run's epochs at the rate that networks take."""

FolderOf = Callable[[str], Path | None]


@dataclass(frozen=True)
class Question:
    """What a person wants to know.

    Attributes:
        path: a folder of class folders, a csv, or an npz.
        methods: settings as on the command line.
        backbone, epochs: of the runs. features: frozen features instead of pixels, empty for none.
        image_size: side in pixels, 0 = as the images are, None = :data:`SIDE`.
        seed: of split, known wrong labels and training.
        budget: labels that somebody will look at. precision: share of the flagged that shall be wrong.
        skip_bad: leave unreadable images out.
    """

    path: Path
    methods: str
    backbone: str = ""
    epochs: int | None = None
    features: str = ""
    image_size: int | None = None
    seed: int = 0
    budget: int = 200
    precision: float = 0.9
    skip_bad: bool = False


@dataclass(frozen=True)
class Asked:
    """The runs of a question: method → its cell on the labels as they are, and with known wrong ones among them.

    ``flips``: where these were made from several raters' answers.
    """

    plain: Mapping[str, RunSpec]
    check: Mapping[str, RunSpec]
    flips: Flips | None = None


@dataclass(frozen=True)
class Subject:
    """The images of a question.

    Attributes:
        plugin: the data set with all its parameters. dataset: an instance. arrays: :class:`~benchmark.api.Arrays`.
        raters: where there are several labels a sample.
    """

    question: Question
    registry: Registry
    data_root: Path
    plugin: PluginSpec
    dataset: Dataset
    arrays: Any
    raters: Raters | None

    @classmethod
    def read(cls, question: Question, registry: Registry, data_root: Path, device: str, *, quiet: bool = False) -> Subject:
        """Decode the images, if that has not been done, with progress on stderr.

        Raises:
            BenchmarkError: nothing there, or images or labels that cannot be used.
        """
        from benchmark.clean.limits import refuse_unfit
        from benchmark.clean.raters import raters_of
        from benchmark.prepare import load, make_ready
        from benchmark.progress import Preparation
        from benchmark.resolve import instantiate_dataset, resolve_plugin

        _refuse(question, registry, data_root)  # before images are decoded, which can take minutes
        plugin = resolve_plugin(registry, "dataset", _data_setting(question), {}, data_root)
        with Preparation(quiet=quiet) as report:
            make_ready(plugin, registry, data_root, device, report)
        dataset = instantiate_dataset(registry, plugin)
        arrays = load(dataset, plugin, data_root)
        refuse_unfit(str(question.path), arrays.labels, len(arrays.classes))
        raters = None if arrays.paths is None else raters_of(question.path, arrays.paths, arrays.classes, arrays.labels)
        return cls(question, registry, data_root, plugin, dataset, arrays, raters)

    @property
    def names(self) -> tuple[str, ...]:
        """A name of every sample: its path, or its position where the images are arrays."""
        if self.arrays.paths is not None:
            return tuple(map(str, self.arrays.paths))
        return tuple(f"{self.question.path.name}[{row}]" for row in range(len(self.arrays.labels)))

    def pictures(self, rows: Sequence[int]) -> list[tuple[str, bytes] | None]:
        """Small pictures of samples, from their files where there are any; None where one cannot be read."""
        from benchmark.data.decode import read_header, read_pixels
        from benchmark.relabel.images import image_files, thumbnail

        files = image_files(self.dataset, self.data_root, None if self.arrays.paths is None else [self.names[row] for row in rows])
        found: list[tuple[str, bytes] | None] = []
        for place, row in enumerate(rows):
            try:
                pixels = self.arrays.images[row] if files is None else read_pixels(files[place], 0, read_header(files[place]).grey)
                found.append(thumbnail(np.asarray(pixels)))
            except Exception:  # a broken image can fail in any way, and the page says that there is none
                found.append(None)
        return found


def cells(subject: Subject, out: Path) -> Asked:
    """The cells to run.

    Where the data know which of their labels are wrong, the labels as they are are those of noise ``human``, and the flips come on top.
    Flips that are made from several raters' answers are written to ``check.csv`` in the folder ``out``, which the runs read.

    Raises:
        BenchmarkError: an unknown method or backbone, or a rate that the classes cannot bear; a file that cannot be written.
    """
    from benchmark.clean.rater_voice import flips_of

    flips = Setting("symmetric", f"{CHECK_RATE:g}")
    plain, check = Setting("none"), flips
    if subject.arrays.clean_labels is not None:
        plain, check = Setting("human"), Setting("human+symmetric", parts=(Setting("human"), flips))
    arrays = subject.arrays
    made = flips_of(subject.raters, arrays.labels, len(arrays.classes), CHECK_RATE, subject.question.seed)
    if made is not None:
        check = Setting("file", str(_write_labels(out / "check.csv", made.labels, subject).resolve()))
    named = {str(setting): setting for setting in parse_settings(subject.question.methods, what="--methods")}
    asked = [_told_nothing(setting, subject.registry) for setting in named.values()]
    place = (subject.question, subject.registry, subject.data_root)
    runs = [dict(zip(named, _specs(*place, asked, noise), strict=True)) for noise in (plain, check)]
    return Asked(runs[0], runs[1], made)


def answer_of(subject: Subject, asked: Asked, folder_of: FolderOf, command: str) -> Answer:
    """What the finished runs say together.

    Raises:
        BenchmarkError: no method has finished both of its runs, or files that cannot be used.
    """
    from benchmark import __version__
    from benchmark.clean.answer import Answer
    from benchmark.clean.rater_voice import VOICE, share_by_answers, with_raters
    from benchmark.clean.raters import crowdlab
    from benchmark.clean.scores import scores_of
    from benchmark.clean.suggestions import pooled
    from benchmark.clean.verdict import judge
    from benchmark.prepare import prepare

    done = [name for name in asked.plain if all(folder_of(runs[name].key()) is not None for runs in (asked.plain, asked.check))]
    if not done:
        raise BenchmarkError("no method has finished both of its runs; what went wrong is said above, --methods asks others")
    parts = prepare(asked.plain[done[0]], subject.registry, subject.data_root).indices
    n, classes = len(subject.arrays.labels), tuple(subject.arrays.classes)
    given = subject.arrays.labels
    both = [scores_of({name: _folder(folder_of, runs[name]) for name in done}, n, parts, given) for runs in (asked.plain, asked.check)]
    left_out = {name: NO_VOICE if name in done else NO_RUN for name in asked.plain if name not in both[0].methods}
    injected = both[1].given != both[0].given
    raters, (scores, check) = subject.raters, both
    if raters is not None:
        scores, check = with_raters(scores, check, raters, asked.flips, len(classes))
    question, kind = subject.question, "symmetric" if asked.flips is None else VOICE
    verdict = judge(scores, check, injected, precision=question.precision, seed=question.seed, classes=len(classes), kind=kind)
    if raters is not None:
        weights = np.array([verdict.weights.get(name, 0.0) for name in scores.methods])
        raters = crowdlab(raters, pooled(scores.suggested, scores.confidence, weights, len(classes)))
    arrays = subject.arrays
    spec = asked.plain[done[0]]
    told = {
        "command": command,
        "version": f"noisy-label-benchmark {__version__}",
        "methods": ", ".join(name for name in done if name not in left_out),
        "network": f"{spec.protocol.backbone}, {spec.protocol.epochs} epochs a stage",
        "images": f"{n} at {'x'.join(map(str, arrays.images.shape[1:]))}",
    }
    if left_out:
        told["not counted"] = "; ".join(f"{name}: {why}" for name, why in left_out.items())
    return Answer(
        source=str(subject.question.path),
        classes=classes,
        paths=subject.names,
        base=subject.question.path if subject.question.path.is_dir() else subject.question.path.parent,
        scores=scores,
        verdict=verdict,
        audit=_audit(subject, scores.given),
        raters=raters,
        budget=subject.question.budget,
        target=subject.question.precision,
        model=None,
        model_accuracy=None,
        provenance=told,
        runs={name: (asked.plain[name].key(), asked.check[name].key()) for name in done},
        left_out=left_out,
        by_answers=share_by_answers(raters, given, asked.flips),
    )


def corrected(subject: Subject, answer: Answer, out: Path) -> RunSpec:
    """The run of cross-entropy on the labels with the suggested class wherever one is flagged; writes them to ``corrected.csv``.

    Raises:
        BenchmarkError: the file cannot be written.
    """
    verdict = answer.verdict
    path = _write_labels(out / "corrected.csv", np.where(verdict.flagged, verdict.suggested, answer.scores.given), subject)
    noise = Setting("none") if subject.arrays.clean_labels is None else Setting("human")
    (spec,) = _specs(subject.question, subject.registry, subject.data_root, [Setting("ce")], noise, path)
    return spec


def with_model(answer: Answer, spec: RunSpec, folder_of: FolderOf, out: Path) -> Answer:
    """The answer with the exported model of a finished run; without one where that run has failed."""
    from benchmark.clean.exporting import export_model

    folder = folder_of(spec.key())
    if folder is None:
        return answer
    model = export_model(folder, out, {"title": f"Classes of {Path(answer.source).name}, trained on corrected labels"})
    return dataclasses.replace(answer, model=model, model_accuracy=_accuracy(folder))


def _write_labels(path: Path, labels: np.ndarray, subject: Subject) -> Path:
    """A file with a label of every sample, in a folder that need not be there yet."""
    from benchmark.noise_file import write
    from benchmark.prepare import content_digest

    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, np.arange(len(labels)), labels, content_digest(subject.arrays), subject.arrays.classes, None)
    return path


def _audit(subject: Subject, given: np.ndarray) -> Audit:
    from benchmark.clean.audit import audit
    from benchmark.clean.headers import file_notes
    from benchmark.data.listed import ListedDataset

    arrays, path = subject.arrays, subject.question.path
    listed = isinstance(subject.dataset, ListedDataset) and arrays.paths is not None
    left_out = subject.dataset.left_out(subject.data_root) if isinstance(subject.dataset, ListedDataset) else {}
    notes = file_notes(path if path.is_dir() else path.parent, arrays.paths) if listed else ()
    parts = {"split": arrays.split, "groups": arrays.groups}
    return audit(arrays.images, given, tuple(arrays.classes), unreadable=left_out, notes=notes, **parts)


def _accuracy(folder: Path) -> float:
    """Share of held-out samples whose forecast of the last epoch is their label."""
    from reports.run_files import read_arrays

    found = read_arrays(folder / "predictions.npz", ("test_last_k", "test_labels"))
    return float((found["test_last_k"][-1].argmax(axis=1) == found["test_labels"]).mean())


def _data_setting(question: Question, label_file: Path | None = None) -> Setting:
    """The data set of a question, with the labels of a file in place of its own if one is given."""
    path = question.path.expanduser()
    if not path.exists():
        raise BenchmarkError(f"{path} does not exist; give a folder of class folders, a csv with the columns path and label, or an npz")
    side = SIDE if question.image_size is None else question.image_size
    options = {"image_size": str(side)} if side else {}
    if question.features:
        options["features"] = question.features
    if label_file is not None:
        options["label_file"] = str(label_file.resolve())
    name = "npz" if path.suffix.lower() == ".npz" else "folder"
    if name == "folder" and question.skip_bad:
        options["skip_bad"] = "true"
    return Setting(name, str(path.resolve()), options)


def _refuse(question: Question, registry: Registry, data_root: Path) -> None:
    """Refuse what is wrong with a question whatever the images look like.

    Raises:
        BenchmarkError: nothing at the path, a number outside its range, an unknown or unfit method, backbone or kind of features.
    """
    if not 0 < question.precision <= 1:
        raise BenchmarkError(f"the precision is {question.precision:g}; give a share above 0, at most 1, e.g. 0.9")
    if question.budget < 1:
        raise BenchmarkError(f"the budget is {question.budget}; give the number of labels that somebody will look at, at least 1")
    if question.image_size is not None and (question.image_size < 0 or 0 < question.image_size < LEAST_SIDE):
        raise BenchmarkError(
            f"images of {question.image_size} pixels a side show nothing; give an image size of {LEAST_SIDE} or more, or 0 for theirs"
        )
    _specs(question, registry, data_root, parse_settings(question.methods, what="--methods"), Setting("none"))


def _specs(
    question: Question, registry: Registry, data_root: Path, methods: Sequence[Setting], noise: Setting, label_file: Path | None = None
) -> list[RunSpec]:
    """Cells of these methods on the question's data."""
    from benchmark.spec import expand

    return expand(
        registry,
        methods=methods,
        datasets=[_data_setting(question, label_file)],
        noise=[noise],
        seeds=[question.seed],
        protocol=protocol_of(question),
        data_root=data_root,
    )


def protocol_of(question: Question) -> TrainingProtocol:
    """How every run of a question trains."""
    from benchmark.spec import protocol as training_protocol

    changes: dict[str, Any] = dict(HELD_OUT)
    if question.epochs is not None:
        changes["epochs"] = question.epochs
    if question.backbone or question.features:
        changes["backbone"] = question.backbone or "linear"
        if changes["backbone"] == "linear":
            changes["lr"] = LINEAR_LR
    return training_protocol("quick", changes)


def _folder(folder_of: FolderOf, spec: RunSpec) -> Path:
    folder = folder_of(spec.key())
    if folder is None:
        raise BenchmarkError(f"run {spec.key()} has no files; give the same command again")
    return folder


def _told_nothing(setting: Setting, registry: Registry) -> Setting:
    """The setting without oracles: a method that would be told the noise rate or its kind where it can be estimates them."""
    from benchmark.params import ranges

    known = ranges(registry.load("method", setting.name).Params)
    silent = {"noise_rate": "estimate", "inject": "symmetric"}
    chosen = {key: value for key, value in silent.items() if key in known and key not in setting.options}
    return dataclasses.replace(setting, options={**chosen, **setting.options})
