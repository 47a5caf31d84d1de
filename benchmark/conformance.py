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
from benchmark.api import Dataset, Method, Noise, Samples, TrainingData
from benchmark.data.options import NAMES as OPTION_NAMES
from benchmark.errors import BenchmarkError
from benchmark.params import resolve
from benchmark.prepare import check_arrays
from benchmark.registry import KINDS, Entry, Registry, scan_path
from benchmark.resolve import instantiate_used, resolve_used
from benchmark.seeds import numpy_generator
from benchmark.spec import TrainingProtocol, canonical_json, protocol
from benchmark.training.context import RunContext
from benchmark.training.networks import Networks
from benchmark.training.oracle import Oracle


@dataclass(frozen=True)
class CheckResult:
    """One line of the kit's report: what was checked, whether it holds (None: does not apply), and why not."""

    name: str
    ok: bool | None
    detail: str = ""


class _NotApplicableError(Exception):
    """This check has nothing to say about this plugin."""


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
    """The checks of one registered plugin; stops after the first if it cannot be imported."""
    problem = entry.error or registry.check(entry)
    yield CheckResult("imports under its declared name", problem is None, problem or "")
    if problem is not None:
        return
    cls = registry.load(entry.kind, entry.name)
    for function in checks_of(entry.kind):
        yield run_check(function, cls)


def checks_of(kind: str) -> tuple[Callable[[Any], None], ...]:
    """The checks of a kind of plugin; each takes its class and raises what is wrong."""
    if kind == "method":
        return METHOD_CHECKS
    return parameters_are_sound, dataset_keeps_the_contract if kind == "dataset" else noise_keeps_the_contract


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

FEATURES = (1, 1)
"""The size of tiny data that stands for frozen features."""


@dataclass(frozen=True)
class TinyRun:
    """One finished training on tiny data."""

    method: Method
    run: RunContext
    networks: Networks
    probabilities: Tensor
    judgements: dict[str, Tensor]


class _KilledError(Exception):
    """Stands for a SIGKILL between two epochs."""


class _Killer:
    """An observer that ends the run after a number of epochs."""

    def __init__(self, after: int | None, images: Tensor) -> None:
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


class _TinyNoise(Noise):
    """Symmetric noise, without a dependence on the registry."""

    @dataclass(frozen=True)
    class Params:
        """The rate."""

        rate: float = 0.3

    name = "tiny"

    def apply(self, samples: Samples, rng: np.random.Generator) -> np.ndarray:
        noisy = samples.labels.copy()
        chosen = rng.choice(len(noisy), size=round(self.params.rate * len(noisy)), replace=False)
        noisy[chosen] = (noisy[chosen] + rng.integers(1, samples.num_classes, size=len(chosen))) % samples.num_classes
        return noisy


def tiny_data(labels: np.ndarray | None = None, channels: int = 3, size: tuple[int, int] = (8, 8)) -> tuple[TrainingData, np.ndarray]:
    """60 images of three classes, told apart by brightness, and their true labels; 30 % of the given labels are wrong.

    A size of (1, 1) stands for frozen features, as many as there are channels.
    """
    rng = numpy_generator("conformance", "images")
    truth = np.arange(60) % 3
    images = rng.normal(60 + 60 * truth[:, None, None, None], 25, size=(60, channels, *size)).clip(0, 255).astype(np.uint8)
    given = _TinyNoise(_TinyNoise.Params()).apply(Samples(truth, 3), numpy_generator("conformance", "noise")) if labels is None else labels
    if size == FEATURES:
        values = torch.from_numpy(images[:, :, 0, 0]).float()
        return TrainingData(values, torch.from_numpy(given.astype(np.int64)), 3, ("a", "b", "c")), truth
    return TrainingData(torch.from_numpy(images), torch.from_numpy(given.astype(np.int64)), 3, ("a", "b", "c")), truth


def tiny_run(
    cls: type[Method],
    *,
    labels: np.ndarray | None = None,
    channels: int = 3,
    size: tuple[int, int] = (8, 8),
    folder: Path | None = None,
    shared: Path | None = None,
    kill_after: int | None = None,
    rate: float = 0.3,
    **changes: Any,
) -> TinyRun:
    """Train a method for two epochs a stage on :func:`tiny_data`; raises what the method raises."""
    data, truth = tiny_data(labels, channels, size)
    backbone = {} if data.has_pixels else {"backbone": "linear"}
    settings: TrainingProtocol = protocol("quick", {"epochs": 2, "batch_size": 16, **backbone})
    torch.seed()  # no two runs start from the same global state, as in a worker that has run other cells
    oracle = Oracle(truth, _TinyNoise(_TinyNoise.Params(rate)), rate, 3, data.class_names, given=data.labels.numpy())
    kept: dict[str, Any] = {"folder": folder, "shared": shared, "checkpoint_seconds": 0.0}
    run = RunContext(data, settings, seed=0, device=torch.device("cpu"), oracle=oracle, augmentation=("crop",), **kept)
    run.observe(_Killer(kill_after, data.images[:2]))
    method = with_used(cls(resolve(cls.Params, changes, cls.name)))
    reason = method.supports(data)
    if reason is not None:
        raise _NotApplicableError(f"supports() says: {reason}")
    method.run, method.data = run, data
    method.setup(data, run)
    networks = method.fit(data, run)
    networks.train(False)
    probabilities = run.predict(lambda images: method.predict(networks, images))
    judgements = {"label_quality": method.label_quality(), "suspects": method.suspects(), "corrected_labels": method.corrected_labels()}
    known = {name: value for name, value in judgements.items() if value is not None}
    return TinyRun(method, run, networks, probabilities, {**known, **method.sample_columns()})


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
    """Probabilities are (n, K), finite, non-negative and sum to one."""
    result = tiny_run(cls)
    p = result.probabilities
    assert p.shape == (60, 3), f"predict gives {tuple(p.shape)} for 60 images of 3 classes"
    assert torch.isfinite(p).all() and (p >= 0).all(), "probabilities must be finite and non-negative"
    assert torch.allclose(p.sum(dim=1), torch.ones(60), atol=1e-4), "probabilities must sum to one"


def judges_every_label(cls: type[Method]) -> None:
    """label_quality, suspects, corrected_labels, sample_columns and diagnostics have their shapes and ranges."""
    method = tiny_run(cls).method
    quality = method.label_quality()
    assert quality.shape == (60,), f"label_quality gives {tuple(quality.shape)}, not (60,)"
    assert torch.isfinite(quality).all(), "label_quality must be finite"
    suspects, corrected = method.suspects(), method.corrected_labels()
    assert suspects is None or (suspects.shape == (60,) and suspects.dtype == torch.bool), "suspects must be (n,) bool"
    if corrected is not None:
        assert corrected.shape == (60,) and corrected.dtype == torch.int64, "corrected_labels must be (n,) int64"
        assert ((corrected >= -1) & (corrected < 3)).all(), "corrected labels must lie in [-1, K)"
    for name, column in method.sample_columns().items():
        assert column.shape == (60,), f"sample column {name} has shape {tuple(column.shape)}"
    assert all(np.isfinite(float(value)) for value in method.diagnostics().values()), "diagnostics must be finite numbers"


def a_gradient_reaches_every_parameter(cls: type[Method]) -> None:
    """Every parameter of every network has moved away from its initial value after training."""
    result = tiny_run(cls)
    fresh = result.run.networks(len(result.networks))
    for network, start in zip(result.networks, fresh, strict=True):
        initial = dict(start.named_parameters())
        still = [name for name, value in network.named_parameters() if torch.equal(value, initial[name])]
        assert not still, f"no gradient reaches {', '.join(still[:3])}"


def repeats_exactly(cls: type[Method]) -> None:
    """The same seed gives the same probabilities and judgements of labels, bit for bit."""
    differing = _differences(tiny_run(cls), tiny_run(cls))
    assert not differing, f"two runs with one seed differ in {differing}"


def resumes_exactly(cls: type[Method]) -> None:
    """Killed after any epoch of any stage and started again, the run ends as if it had never been killed."""
    whole = tiny_run(cls)
    observer = whole.run._observer
    assert isinstance(observer, _Killer)
    points = sorted({round(x) for x in np.linspace(0, observer.epochs, num=min(7, observer.epochs + 1))})  # the last: after training
    for point in points:
        with tempfile.TemporaryDirectory() as folder:
            with contextlib.suppress(_KilledError):
                tiny_run(cls, folder=Path(folder), kill_after=point)
            resumed = tiny_run(cls, folder=Path(folder))
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


def takes_gray_and_oblong_images(cls: type[Method]) -> None:
    """One channel, and height unlike width."""
    tiny_run(cls, channels=1)
    tiny_run(cls, size=(8, 12))


def takes_frozen_features(cls: type[Method]) -> None:
    """Trains a head on features instead of images; a method that needs pixels says so in ``supports`` and its manifest."""
    needs_pixels = "pixels" in cls.manifest.get("needs", [])
    try:
        tiny_run(cls, channels=6, size=FEATURES)
    except _NotApplicableError:
        assert needs_pixels, 'supports() refuses features: add needs=["pixels"]'
        raise
    assert not needs_pixels, "the manifest says that it needs pixels, and supports() takes features: make them agree"


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


def dataset_keeps_the_contract(cls: type[Dataset]) -> None:
    """Arrays as :class:`~benchmark.api.Arrays` describes them, the same at every load; a stable fingerprint."""
    missing = [key for key in ("version", "licence", "citation") if key not in cls.manifest]
    assert not missing, f"the manifest lacks {', '.join(missing)}"
    taken = set(hyper.ranges(cls.Params)) & set(OPTION_NAMES)
    assert not taken, f"every data set has {', '.join(sorted(taken))}; rename it in Params and read it from self.options"
    if cls.argument is not None and hyper.defaults(cls.Params).get(cls.argument, "") == "":
        raise _NotApplicableError(f"needs an argument: {cls.name}:{cls.argument.upper()}")
    if str(cls.manifest.get("access", "")).startswith("download"):
        raise _NotApplicableError(f"needs a download ({cls.manifest.get('homepage') or cls.manifest['access']})")
    plugin = cls()
    with tempfile.TemporaryDirectory() as folder:
        first, second = plugin.load(Path(folder)), cls().load(Path(folder))
        assert plugin.fingerprint(Path(folder)) == cls().fingerprint(Path(folder)), "the fingerprint changes between loads"
    check_arrays(first, cls.name)
    assert np.array_equal(first.images, second.images), "two loads give other images"
    assert np.array_equal(first.labels, second.labels), "two loads give other labels"


def noise_keeps_the_contract(cls: type[Noise]) -> None:
    """A pure function: labels in range, the input untouched, the same draw from the same generator."""
    if cls.argument is not None and hyper.defaults(cls.Params).get(cls.argument, "") == "":
        raise _NotApplicableError(f"needs an argument: {cls.name}:{cls.argument.upper()}")
    plugin = cls(resolve(cls.Params, {}, cls.name))
    samples = _noise_samples(tuple(cls.manifest.get("made_for", "abcde")))
    labels, k = samples.labels, samples.num_classes
    before = labels.copy()
    first, second = (plugin.apply(samples, numpy_generator("conformance")) for _ in range(2))
    assert np.array_equal(labels, before), "the input was changed in place"
    assert first.shape == labels.shape and first.dtype == np.int64, "noisy labels must be (n,) int64"
    assert first.min() >= 0 and first.max() < k, "noisy labels must lie in [0, K)"
    assert np.array_equal(first, second), "the same generator gives another draw"
    if plugin.rate is not None:
        assert abs(float(np.mean(first != labels)) - plugin.rate) < 0.25, "the realised rate is far from the nominal one"
    assert "version" in cls.manifest, "the manifest lacks version"


def _noise_samples(names: tuple[str, ...]) -> Samples:
    """3000 samples of classes with these names, all alike frequent: random images, and a posterior that knows the class."""
    rng, k = numpy_generator("conformance", "samples"), len(names)
    labels = np.arange(3000, dtype=np.int64) % k
    posterior = rng.dirichlet(np.ones(k), 3000) + np.eye(k)[labels]
    return Samples(
        labels,
        k,
        names,
        images=rng.integers(0, 256, (3000, 4, 4, 3), dtype=np.uint8),
        given=labels[::-1].copy(),
        positions=np.arange(3000, dtype=np.int64),
        names=("conformance",),
        posterior=lambda: posterior / posterior.sum(axis=1, keepdims=True),
    )
