"""The contract kit: what every plugin must do, checked on tiny data. ``python -m benchmark check FILE`` runs it.

Each check is a small function; a plugin passes when none raises. The project's own tests run the same checks over the
whole registry.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmark import params as hyper
from benchmark.api import Method, TrainingData
from benchmark.bags.data import BagData
from benchmark.bags.method import BagMethod
from benchmark.conformance_bags import BagCase, check_pseudo_labels, check_tile_scores, first_bags, odd_bags, tile_judgements, tiny_bags
from benchmark.conformance_data import FEATURES, WRONG, MaskCase, TinyMaskNoise, TinyNoise, odd_masks, tiny_data, tiny_masks
from benchmark.conformance_sources import NOISE_CHECKS, dataset_keeps_the_contract
from benchmark.conformance_sources import NotApplicableError as _NotApplicableError
from benchmark.data.rows import ImageRows
from benchmark.errors import BenchmarkError, DivergedError
from benchmark.params import resolve
from benchmark.registry import KINDS, Entry, Registry, scan_path
from benchmark.resolve import instantiate_used, resolve_used
from benchmark.segmentation import VOID
from benchmark.segmentation.method import MaskMethod
from benchmark.spec import TrainingProtocol, canonical_json, protocol
from benchmark.tasks import defaults_of, task_of
from benchmark.training.context import RunContext
from benchmark.training.images import MappedImages
from benchmark.training.networks import Networks
from benchmark.training.oracle import Oracle


@dataclass(frozen=True)
class CheckResult:
    """One line of the kit's report: what was checked, whether it holds (None: does not apply), and why not."""

    name: str
    ok: bool | None
    detail: str = ""


def check(target: str, registry: Registry) -> list[CheckResult]:
    """Run the kit on every plugin of a file or folder, or on one registered name.

    Args:
        target: a path, or the name of a registered method, data set or noise model.
        registry: where a name is looked up; the plugins of a path need not be in it.

    Raises:
        BenchmarkError: the target is neither a path nor a name, or holds no plugin, or one whose name is taken.
    """
    path = Path(target)
    if path.exists():
        found = scan_path(path.resolve())
        if any(entry not in registry.entries(entry.kind) for entry in found):
            registry = Registry([path])
    else:
        found = [entry for kind in KINDS for entry in registry.entries(kind) if entry.name == target]
        if not found:
            raise BenchmarkError(f"'{target}' is neither a file nor a registered plugin; see: python -m benchmark list")
    results = []
    for entry in found:
        prefix = f"{entry.kind} {entry.name}: "
        results += [CheckResult(prefix + r.name, r.ok, r.detail) for r in check_entry(entry, registry)]
    return results


def check_entry(entry: Entry, registry: Registry) -> Iterator[CheckResult]:
    """The checks of one registered plugin; stops after the first if it cannot be imported, or is for labels that do not exist."""
    problem = entry.error or registry.check(entry)
    yield CheckResult("imports under its declared name", problem is None, problem or "")
    if problem is not None:
        return
    cls = registry.load(entry.kind, entry.name)
    try:
        checks = checks_of(entry.kind, cls.task)
    except BenchmarkError as error:
        yield CheckResult("is for a kind of labels that exists", False, str(error))
        return
    for function in checks:
        yield run_check(function, cls)


def checks_of(kind: str, task: str = "classification") -> tuple[Callable[[Any], None], ...]:
    """The checks of a kind of plugin for a task; each takes its class and raises what is wrong.

    Raises:
        BenchmarkError: there is no such task; only noise can be for any, or for several.
    """
    if kind == "noise":
        names = list(NOISE_CHECKS) if task == "any" else task.split("+")
        for name in names:
            defaults_of(name)
        return parameters_are_sound, *(NOISE_CHECKS[name] for name in names)
    defaults_of(task)
    if kind == "dataset":
        return parameters_are_sound, dataset_keeps_the_contract
    return {"segmentation": MASK_METHOD_CHECKS, "bags": BAG_METHOD_CHECKS}.get(task, METHOD_CHECKS)


def run_check(function: Callable[[Any], None], cls: Any) -> CheckResult:
    """One check of one plugin's class."""
    name = function.__name__.replace("_", " ")
    try:
        function(cls)
    except _NotApplicableError as reason:
        return CheckResult(name, None, str(reason))
    except Exception as error:  # a plugin under test may raise anything
        return CheckResult(name, False, f"{type(error).__name__}: {error}")
    return CheckResult(name, True)


# ------------------------------------------------------------------------------------------------- a tiny run


@dataclass(frozen=True)
class TinyRun:
    """One finished training on tiny data."""

    data: TrainingData
    method: Method
    run: RunContext
    networks: Networks
    probabilities: Tensor
    judgements: dict[str, Tensor]


class _KilledError(Exception):
    """Stands for a SIGKILL between two epochs."""


class _Killer:
    """An observer that ends the run after a number of epochs."""

    def __init__(self, after: int | None, images: Any) -> None:
        self.epochs, self._after, self._images = 0, after, images

    def after_epoch(self, line: dict[str, Any], predict: Any, *, final: bool = True) -> None:
        self.epochs += 1
        if predict is not None:
            predict(self._images)
        if self._after is not None and self.epochs > self._after:
            raise _KilledError

    def after_round(self, paid: int, predict: Any) -> None:
        predict(self._images)

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to restore."""


def tiny_run(
    cls: type[Method],
    *,
    labels: np.ndarray | None = None,
    channels: int | None = None,
    size: tuple[int, int] | None = None,
    masks: MaskCase | None = None,
    bags: BagCase | None = None,
    folder: Path | None = None,
    shared: Path | None = None,
    kill_after: int | None = None,
    rate: float = WRONG,
    **changes: Any,
) -> TinyRun:
    """Train a method for two epochs a stage on :func:`tiny_data` or, of masks, on :func:`tiny_masks` (or ``masks``), or, of bags, on
    :func:`tiny_bags` (or ``bags``): features by default, pixels where the method needs them.

    Raises what the method raises.
    """
    noise: TinyNoise | TinyMaskNoise
    own: dict[str, Any]
    data: TrainingData
    if cls.task == "segmentation":
        data, truth = masks or tiny_masks(labels, channels or 3, size or (16, 16))
        noise, own = TinyMaskNoise(), {"batch_size": 8}
    elif cls.task == "bags":
        usual = ((16, 16), 3) if needs_pixels(cls) else (FEATURES, 6)
        data, truth = bags or tiny_bags(labels, channels or usual[1], size or usual[0])
        noise, own = TinyNoise(TinyNoise.Params(rate)), {"batch_size": 4}
    else:
        data, truth = tiny_data(labels, channels or 3, size or (8, 8))
        data = where_they_are(data)
        noise, own = TinyNoise(TinyNoise.Params(rate)), {"batch_size": 16, **({} if data.has_pixels else {"backbone": "linear"})}
    settings: TrainingProtocol = protocol("quick", {**defaults_of(cls.task).protocols["quick"], "epochs": 2, **own})
    torch.seed()  # no two runs start from the same global state, as in a worker that has run other cells
    oracle = Oracle(truth, noise, rate, data.num_classes, data.class_names, given=data.labels.numpy())
    kept: dict[str, Any] = {"folder": folder, "shared": shared, "checkpoint_seconds": 0.0, "task": task_of(cls.task)}
    run = RunContext(data, settings, seed=0, device=torch.device("cpu"), oracle=oracle, augmentation=("crop",), **kept)
    run.observe(_Killer(kill_after, first_bags(data) if cls.task == "bags" else data.images[:2]))
    method = with_used(cls(resolve(cls.Params, changes, cls.name)))
    reason = method.supports(data)
    if reason is not None:
        raise _NotApplicableError(f"supports() says: {reason}")
    method.run, method.data = run, data
    method.setup(data, run)
    networks = method.fit(data, run)
    run.settle()
    networks.train(False)
    forecasts = run.final_forecasts() if cls.task == "bags" else {"": run.predict(lambda images: method.predict(networks, images))}
    judgements = {"label_quality": method.label_quality(), "suspects": method.suspects(), "corrected_labels": method.corrected_labels()}
    if isinstance(method, MaskMethod):
        judgements |= {"pixel_quality": method.pixel_quality(), "pixel_suspects": method.pixel_suspects()}
    if cls.task == "bags":
        judgements |= tile_judgements(method, forecasts)
    known = {name: value for name, value in judgements.items() if value is not None}
    return TinyRun(data, method, run, networks, forecasts[""], {**known, **method.sample_columns()})


def where_they_are(data: TrainingData) -> TrainingData:
    """The same with images by rows, as a run on a CPU has them: who takes them for a tensor shall learn it here."""
    if not isinstance(data.images, Tensor) or not data.has_pixels:
        return data
    rows = ImageRows(data.images.permute(0, 2, 3, 1).numpy(), np.arange(len(data.images)))
    return dataclasses.replace(data, images=MappedImages(rows, data.images.device, at_hand=True))


def needs_pixels(cls: type[Method]) -> bool:
    """Whether the manifest says so."""
    return "pixels" in cls.manifest.get("needs", [])


def with_used(method: Method) -> Method:
    """The method with instances of what it uses, from the built-in plugins."""
    if method.uses():
        registry = Registry()
        with tempfile.TemporaryDirectory() as root:
            method.used = instantiate_used(registry, method, resolve_used(registry, method, Path(root)), Path(root))
    return method


# ------------------------------------------------------------------------------------------------ the checks


def parameters_are_sound(cls: Any) -> None:
    """Params is a frozen dataclass of documented hp() fields whose values survive JSON; presets name existing values."""
    declared: Any = cls.Params
    frozen = dataclasses.is_dataclass(declared) and getattr(declared, "__dataclass_params__").frozen  # noqa: B009
    assert frozen, "Params must be a frozen dataclass: @dataclass(frozen=True)"
    required = [f.name for f in dataclasses.fields(declared) if f.default is dataclasses.MISSING]
    assert not required or required == [cls.argument], f"only the argument may lack a default, not {required}"
    values = {cls.argument: "x"} if required else {}
    complete = dataclasses.asdict(resolve(declared, values, cls.name))
    assert json.loads(canonical_json(complete)) == complete, "parameters must be plain JSON values"
    for name, preset in cls.presets.items():
        resolve(declared, {**values, **preset}, f"{cls.name}:{name}")
    bare = [name for name in hyper.ranges(declared) if "hp" not in declared.__dataclass_fields__[name].metadata]
    assert not bare, f"declare {', '.join(bare)} with hp()"


def trains_and_predicts(cls: type[Method]) -> None:
    """Probabilities are (n, K), of masks (n, T, J, H, W), finite, non-negative and sum to one over the classes; of bags, scores of the
    tiles lie in [0, 1]."""
    _check_probabilities(tiny_run(cls))


def _check_probabilities(result: TinyRun) -> None:
    p, data = result.probabilities, result.data
    of = list(data.labels.shape)
    axis = min(2, len(of))
    expected = (*of[:axis], data.num_classes, *of[axis:])
    assert p.shape == expected, f"predict gives {tuple(p.shape)} for {of[0]} images of {data.num_classes} classes, not {expected}"
    assert torch.isfinite(p).all() and (p >= 0).all(), "probabilities must be finite and non-negative"
    assert torch.allclose(p.sum(dim=axis).float(), torch.ones(of), atol=1e-4), "probabilities must sum to one"
    if isinstance(data, BagData):
        check_tile_scores(data, result.judgements)


def judges_every_label(cls: type[Method]) -> None:
    """label_quality, suspects, corrected_labels, sample_columns and diagnostics have their shapes and ranges; so have a mask's pixels."""
    _check_judgements(tiny_run(cls))


def _check_judgements(result: TinyRun) -> None:
    method, data = result.method, result.data
    n, K = data.n, data.num_classes
    quality = method.label_quality()
    assert quality.shape == (n,), f"label_quality gives {tuple(quality.shape)}, not ({n},)"
    assert torch.isfinite(quality).all(), "label_quality must be finite"
    suspects, corrected = method.suspects(), method.corrected_labels()
    assert suspects is None or (suspects.shape == (n,) and suspects.dtype == torch.bool), "suspects must be (n,) bool"
    if method.task == "segmentation":
        _check_pixels(method, data)
    elif corrected is not None:
        assert corrected.shape == (n,) and corrected.dtype == torch.int64, "corrected_labels must be (n,) int64"
        assert ((corrected >= -1) & (corrected < K)).all(), "corrected labels must lie in [-1, K)"
    if isinstance(method, BagMethod) and isinstance(data, BagData):
        check_pseudo_labels(method, data)
    for name, column in method.sample_columns().items():
        assert column.shape == (n,), f"sample column {name} has shape {tuple(column.shape)}"
    assert all(np.isfinite(float(value)) for value in method.diagnostics().values()), "diagnostics must be finite numbers"


def _check_pixels(method: Method, data: TrainingData) -> None:
    assert isinstance(method, MaskMethod), "a method for masks must be a benchmark.segmentation.method.MaskMethod"
    quality, suspects, corrected = method.pixel_quality(), method.pixel_suspects(), method.corrected_labels()
    expected, known = data.labels.shape, data.labels != VOID
    assert quality is None or quality.shape == expected, "pixel_quality must be (n, T, H, W)"
    assert quality is None or torch.isfinite(quality).all(), "pixel_quality must be finite"
    assert suspects is None or (suspects.shape == expected and suspects.dtype == torch.bool), "pixel_suspects must be (n, T, H, W) bool"
    assert suspects is None or not suspects[~known].any(), "pixel_suspects: a void pixel cannot be wrong"
    if corrected is not None:
        assert corrected.shape == expected and corrected.dtype == torch.uint8, "corrected_labels must be (n, T, H, W) uint8"
        assert ((corrected < data.num_classes) | (corrected == VOID)).all(), f"corrected masks must lie in [0, J) or be {VOID}"


def a_gradient_reaches_every_parameter(cls: type[Method]) -> None:
    """Every parameter of every network has moved away from its initial value after training."""
    result = tiny_run(cls)
    design = result.method.design() if isinstance(result.method, BagMethod) else {}
    fresh = result.run.networks(len(result.networks), **design)
    for network, start in zip(result.networks, fresh, strict=True):
        initial = dict(start.named_parameters())
        still = [name for name, value in network.named_parameters() if torch.equal(value, initial[name])]
        still = [name for name in still if not name.startswith("encoder.head.")]  # of bags, for who contrasts tiles
        assert not still, f"no gradient reaches {', '.join(still[:3])}"


def leaves_the_given_masks_alone(cls: type[Method]) -> None:
    """Training and judging write nothing into ``data.labels``: the harness has masks of its own, but what a method reads of its
    copy later (which pixels are suspects, which quality a given label has) would be of other labels than those it was given."""
    case = tiny_masks(tasks=2)
    before = case[0].labels.clone()
    result = tiny_run(cls, masks=case)
    method = result.method
    if isinstance(method, MaskMethod):  # the harness asks again
        _ = method.label_quality(), method.suspects(), method.pixel_quality(), method.pixel_suspects(), method.corrected_labels()
    changed = int((result.data.labels != before).sum())
    assert not changed, f"{changed} pixels of data.labels were changed in place; write into data.labels.clone()"


def repeats_exactly(cls: type[Method]) -> None:
    """The same seed gives the same probabilities and judgements of labels, bit for bit."""
    differing = _differences(tiny_run(cls), tiny_run(cls))
    assert not differing, f"two runs with one seed differ in {differing}"


def resumes_exactly(cls: type[Method]) -> None:
    """Killed after any epoch of any stage and started again, the run ends as if it had never been killed."""
    _check_resume(cls, 7)


def resumes_exactly_on_pixels(cls: type[Method]) -> None:
    """The same where tiles are images, which are augmented and have an encoder."""
    _check_resume(cls, 3, channels=3, size=(16, 16))


def _check_resume(cls: type[Method], most: int, **data: Any) -> None:
    whole = tiny_run(cls, **data)
    observer = whole.run._observer
    assert isinstance(observer, _Killer)
    points = sorted({round(x) for x in np.linspace(0, observer.epochs, num=min(most, observer.epochs + 1))})  # the last: after training
    for point in points:
        with tempfile.TemporaryDirectory() as folder:
            with contextlib.suppress(_KilledError):
                tiny_run(cls, folder=Path(folder), kill_after=point, **data)
            resumed = tiny_run(cls, folder=Path(folder), **data)
        differing = _differences(whole, resumed)
        assert not differing, f"killed after epoch {point}, it ends with other {differing}"


def _differences(first: TinyRun, second: TinyRun) -> str:
    """The outputs in which two runs differ, joined by commas; NaN equals NaN (that it is there is another check's business)."""
    pairs = {"probabilities": (first.probabilities, second.probabilities)}
    pairs |= {name: (first.judgements[name], second.judgements.get(name, torch.empty(0))) for name in first.judgements}
    return ", ".join(name for name, (a, b) in pairs.items() if not np.array_equal(a.detach().cpu(), b.detach().cpu(), equal_nan=True))


def survives_odd_labels(cls: type[Method]) -> None:
    """No wrong labels; one class only; a class of one sample; a class that no label names."""
    clean = np.arange(60) % 3
    cases = {
        "no noise": (clean, 0.0),
        "one class only": (np.zeros(60, dtype=np.int64), 0.3),
        "a class of one sample": (np.where(np.arange(60) == 7, 2, clean % 2), 0.3),
        "a class without samples": (clean % 2, 0.6),
    }
    rate_words = hyper.ranges(cls.Params).get("noise_rate", hyper.Range()).choices or ()
    ways = [way for way in ("auto", "estimate", "incv") if way in rate_words] or [""]
    for (name, (labels, rate)), way in itertools.product(cases.items(), ways):
        try:
            result = tiny_run(cls, labels=labels, rate=rate, **({"noise_rate": way} if way else {}))
        except _NotApplicableError:
            continue
        assert torch.isfinite(result.probabilities).all(), f"{name}: probabilities are not finite"


def survives_odd_masks(cls: type[Method]) -> None:
    """No wrong masks; empty masks; a void image; all of one patient; one class only. What nothing can be learned from may be refused."""
    _check_odd(cls, {name: ({"masks": data}, must_train) for name, (data, must_train) in odd_masks().items()})


def survives_odd_bags(cls: type[Method]) -> None:
    """No wrong labels; bags of one tile; one positive bag; one class only. What nothing can be learned from may be refused."""
    _check_odd(cls, {name: ({"bags": data}, must_train) for name, (data, must_train) in odd_bags().items()})


def _check_odd(cls: type[Method], cases: dict[str, tuple[dict[str, Any], bool]]) -> None:
    for name, (data, must_train) in cases.items():
        try:
            result = tiny_run(cls, **data)
        except _NotApplicableError:
            continue
        except BenchmarkError as error:
            assert not must_train and not isinstance(error, DivergedError), f"{name}: {error}"
            assert "\n" not in str(error), f"{name}: a refusal is one line"
            continue
        assert torch.isfinite(result.probabilities).all(), f"{name}: probabilities are not finite"


def takes_gray_and_oblong_images(cls: type[Method]) -> None:
    """One channel, and height unlike width."""
    square, oblong = {"segmentation": ((16, 16), (12, 20)), "bags": ((16, 16), (16, 20))}.get(cls.task, ((8, 8), (8, 12)))
    tiny_run(cls, channels=1, size=square)
    tiny_run(cls, channels=3, size=oblong)


def takes_several_tasks_and_classes(cls: type[Method]) -> None:
    """Organs that overlap are tasks, a map of several organs is one task of more classes; shapes and ranges hold for both."""
    for tasks, classes in ((2, 2), (1, 3)):
        result = tiny_run(cls, masks=tiny_masks(tasks=tasks, classes=classes))
        _check_probabilities(result)
        _check_judgements(result)


def takes_frozen_features(cls: type[Method]) -> None:
    """Trains a head on features instead of images; a method that needs pixels says so in ``supports`` and its manifest."""
    try:
        tiny_run(cls, channels=6, size=FEATURES)
    except _NotApplicableError:
        assert needs_pixels(cls), 'supports() refuses features: add needs=["pixels"]'
        raise
    assert not needs_pixels(cls), "the manifest says that it needs pixels, and supports() takes features: make them agree"


def asks_the_oracle_openly(cls: type[Method]) -> None:
    """A method that asks for the noise rate says so in its manifest's ``needs``."""
    used = tiny_run(cls).run.oracle.used
    if used["noise_rate"]:
        assert "noise_rate" in cls.manifest.get("needs", []), 'the method asked for the noise rate: add needs=["noise_rate"]'


METHOD_CHECKS: tuple[Callable[[Any], None], ...] = (
    parameters_are_sound,
    trains_and_predicts,
    judges_every_label,
    a_gradient_reaches_every_parameter,
    repeats_exactly,
    resumes_exactly,
    survives_odd_labels,
    takes_gray_and_oblong_images,
    takes_frozen_features,
    asks_the_oracle_openly,
)

MASK_METHOD_CHECKS: tuple[Callable[[Any], None], ...] = (
    parameters_are_sound,
    trains_and_predicts,
    judges_every_label,
    leaves_the_given_masks_alone,
    a_gradient_reaches_every_parameter,
    repeats_exactly,
    resumes_exactly,
    survives_odd_masks,
    takes_gray_and_oblong_images,
    takes_several_tasks_and_classes,
    asks_the_oracle_openly,
)
"""Those of methods for masks; frozen features have no masks."""

BAG_METHOD_CHECKS: tuple[Callable[[Any], None], ...] = (
    parameters_are_sound,
    trains_and_predicts,
    judges_every_label,
    a_gradient_reaches_every_parameter,
    repeats_exactly,
    resumes_exactly,
    resumes_exactly_on_pixels,
    survives_odd_bags,
    takes_gray_and_oblong_images,
    takes_frozen_features,
    asks_the_oracle_openly,
)
"""Those of methods for bags."""
