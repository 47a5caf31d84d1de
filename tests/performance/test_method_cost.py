"""What every method costs beside ``ce`` on the same data: an epoch of its final stage, and its whole training.

One row a method. Each epoch of its final stage is timed between two epochs of ``ce`` (or of the method named), so that a drift of the
machine's speed is in both; what is quoted is the median over the second half of the stage, when warm-ups and ramps are over. The whole
is all stages and what lies between them, over as many epochs of ``ce`` as the protocol has.
"""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from benchmark.api import Method, TrainingData
from benchmark.conformance import with_used
from benchmark.params import resolve
from benchmark.registry import Registry
from benchmark.spec import protocol
from benchmark.training import codivide
from benchmark.training.context import RunContext
from benchmark.training.oracle import Oracle

pytestmark = [pytest.mark.perf, pytest.mark.usefixtures("one_thread")]

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
REGISTRY = Registry()
N, EPOCHS, BATCH = 1000, 10, 32
EPOCH_BOUNDS = {"coteaching": 2.15, "jocor": 2.15, "dividemix": 8.0}
"""The most that an epoch may cost, in epochs of ``ce``."""

VOG_BOUND = 1.25
"""The most that an epoch of coteaching_vog may cost, in epochs of coteaching."""

SCORE_BOUND = 1.15
"""The most that the VOG scores of one checkpoint may cost, in forward passes."""


def clock() -> float:
    """Processor time of this process: with one thread it is what an idle machine would take, whoever else uses this one."""
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def mislabelled(n: int, classes: int, rate: float, generator: torch.Generator | None = None) -> torch.Tensor:
    """(n,) labels of samples that belong to each class in turn; at that rate to another class than the right one."""
    generator = generator or torch.Generator().manual_seed(0)
    given = torch.arange(n) % classes
    wrong = torch.randperm(n, generator=generator)[: round(rate * n)]
    given[wrong] = (given[wrong] + torch.randint(1, classes, (len(wrong),), generator=generator)) % classes
    return given


def brightness(rate: float, classes: int = 10) -> TrainingData:
    """RGB images of classes that differ in brightness; some labels are wrong, so that methods have what to find."""
    generator = torch.Generator().manual_seed(0)
    bright = (90 // (classes - 1)) * (torch.arange(N) % classes)
    images = torch.randint(0, 160, (N, 3, 32, 32), generator=generator) + bright.view(-1, 1, 1, 1)
    given = mislabelled(N, classes, rate, generator)
    return TrainingData(images.to(torch.uint8).to(DEVICE), given.to(DEVICE), classes, tuple("abcdefghij"[:classes]))


@pytest.fixture(scope="module")
def data() -> TrainingData:
    """Four classes, 20 % of the labels wrong."""
    return brightness(0.2, 4)


@dataclass
class Cost:
    """An epoch of the final stage and the whole training, in epochs and whole trainings of the reference."""

    epoch: float
    whole: float


class TimedRun(RunContext):
    """A run without folder and observer that has the reference train an epoch before and after each epoch of the final stage.

    Attributes:
        ratios: of each epoch of the final stage to the mean of the two reference epochs around it.
        reference_seconds: of every reference epoch.
    """

    def __init__(self, training: TrainingData, reference: Callable[[], None] | None = None, epochs: int = EPOCHS) -> None:
        settings = protocol("quick", {"backbone": "cnn_small", "batch_size": BATCH, "epochs": epochs})
        truth = torch.arange(training.n) % training.num_classes
        rate = float((training.labels.cpu() != truth).float().mean())
        oracle = Oracle(truth.numpy(), REGISTRY.load("noise", "symmetric")(), rate, training.num_classes, training.class_names)
        super().__init__(training, settings, seed=0, device=DEVICE, oracle=oracle)
        self._reference = reference
        self.ratios: list[float] = []
        self.reference_seconds: list[float] = []

    def epochs(self, stage: str, networks: Any, **options: Any) -> Iterator[int]:  # type: ignore[override]
        """As it is, with reference epochs around each epoch of the final stage."""
        inner = super().epochs(stage, networks, **options)
        if self._reference is None or options.get("predictor") is None:
            yield from inner
            return
        before = self._time_reference()
        for epoch in inner:
            started = clock()
            yield epoch
            seconds = clock() - started
            after = self._time_reference()
            self.ratios.append(seconds / statistics.mean([before, after]))
            before = after

    def _time_reference(self) -> float:
        started = clock()
        assert self._reference is not None
        self._reference()
        self.reference_seconds.append(clock() - started)
        return self.reference_seconds[-1]


def prepared(name: str, run: TimedRun, training: TrainingData, **changes: Any) -> Method:
    """A method at its default settings, but for the changes, set up; with the methods that it runs itself."""
    cls = REGISTRY.load("method", name)
    method = with_used(cls(resolve(cls.Params, changes, name)))
    method.run, method.data = run, training
    method.setup(training, run)
    return method


def reference_epoch(name: str, training: TrainingData) -> Callable[[], None]:
    """One epoch of a method of a single stage, after its ramps; it has no other work at the end of an epoch."""
    run = TimedRun(training)
    method, networks = prepared(name, run, training), run.networks(REGISTRY.load("method", name).networks)

    def epoch() -> None:
        networks.train()
        for batch in run.loader():
            run.step(networks, method.training_step(batch, networks, EPOCHS - 1), len(batch))
            run.history.record(EPOCHS - 1, batch.indices, batch.labels, networks[0].last_logits)

    return epoch


def measure(
    name: str,
    reference: str,
    training: TrainingData,
    *,
    epochs: int = EPOCHS,
    watch: Callable[[Method], None] | None = None,
    **changes: Any,
) -> Cost:
    """Train a method as a run does, the reference interleaved; ``watch`` sees the method before and after each epoch of its final stage."""
    few = TrainingData(training.images[:64], training.labels[:64], training.num_classes, training.class_names)
    prepared(name, warm := TimedRun(few, epochs=2), few, **changes).fit(few, warm)  # imports and first calls
    beside = reference_epoch(reference, training)
    beside()

    def between() -> None:
        beside()
        if watch is not None:
            watch(method)

    run = TimedRun(training, between, epochs)
    started = clock()
    method = prepared(name, run, training, **changes)
    method.fit(training, run)
    seconds = clock() - started - sum(run.reference_seconds)
    assert len(run.ratios) >= 2
    return Cost(statistics.median(run.ratios[len(run.ratios) // 2 :]), seconds / (epochs * statistics.median(run.reference_seconds)))


@pytest.fixture(scope="module")
def heading() -> str:
    """The head of the table, which the first row prints."""
    columns = ("method", "epoch / ce", "must be", "whole / ce", "declared")
    return "| " + " | ".join(columns) + " |\n  | --- | ---: | ---: | ---: | ---: |"


@pytest.fixture(scope="module")
def printed() -> set[str]:
    """What has been printed already."""
    return set()


@pytest.mark.parametrize(
    "name", [entry.name for entry in REGISTRY.entries("method") if REGISTRY.load("method", entry.name).task == "classification"]
)
def test_method_against_ce(name, data, heading, printed, report):
    cost = measure(name, "ce", data)
    if not printed:
        report(heading)
    printed.add(name)
    bound = f"≤ {EPOCH_BOUNDS[name]:g}" if name in EPOCH_BOUNDS else ""
    report(f"| {name} | {cost.epoch:.2f} | {bound} | {cost.whole:.2f} | {REGISTRY.entry('method', name).manifest.get('cost', '?')} |")
    assert cost.whole > 0


def digits(rate: float) -> TrainingData:
    """Handwritten digits scaled to 32 px, class after class in turn; on them the division finds most of the wrong labels."""
    from sklearn.datasets import load_digits

    found = load_digits()
    rows = torch.stack([torch.from_numpy(found.target == digit).nonzero().flatten()[: N // 10] for digit in range(10)], dim=1).flatten()
    images = torch.from_numpy(found.images * 15.0).to(torch.uint8)[rows].unsqueeze(1)
    images = images.repeat_interleave(4, dim=2).repeat_interleave(4, dim=3).expand(-1, 3, -1, -1).contiguous()
    return TrainingData(images.to(DEVICE), mislabelled(N, 10, rate).to(DEVICE), 10, tuple("0123456789"))


@pytest.mark.parametrize("rate", [0.2, 0.4, 0.5, 0.8])
@pytest.mark.parametrize(("images", "epochs"), [(digits, 20), (brightness, EPOCHS)], ids=["digits", "brightness"])
def test_dividemix_by_noise_rate(images, epochs, rate, report):
    """What an epoch costs where fewer labels are in use; λ_u by the rate, as the method sets it."""
    shares: list[float] = []
    cost = measure("dividemix", "ce", images(rate), epochs=epochs, watch=lambda method: shares.append(method.labelled_share))
    share = statistics.median(shares[:-1][epochs // 2 :])  # each before the epoch that it is used in
    passes = 2 * (6 / 3 + 4) * share + 2 / 3  # two networks, a forward pass as a third of a training pass; scores of all samples
    bound = EPOCH_BOUNDS["dividemix"]
    missed = ": missed" if cost.epoch > bound else ""
    report(f"| {images.__name__}, {100 * rate:.0f} % | {100 * share:.0f} % | {passes:.1f} | {cost.epoch:.2f} | ≤ {bound:g}{missed} |")
    assert 0 < share <= 1


def test_where_dividemix_spends_its_time(data, monkeypatch, report):
    """Why it costs what it does: which share of the labels is in use, and what the passes through the networks take of the whole."""
    run = TimedRun(data)
    method = prepared("dividemix", run, data)
    spent: Counter[str] = Counter()

    def timed(owner: object, name: str, part: str) -> None:
        original = getattr(owner, name)

        def wrapper(*arguments: Any, **options: Any) -> Any:
            started = clock()
            result = original(*arguments, **options)
            spent[part] += clock() - started
            return result

        monkeypatch.setattr(owner, name, wrapper)

    timed(codivide, "predict_views", "guesses")
    timed(codivide, "mixmatch_loss", "training")
    timed(run, "step", "training")
    timed(run, "predict", "scores of all samples")
    started = clock()
    method.fit(data, run)
    seconds = clock() - started
    parts = ", ".join(f"{part} {100 * value / seconds:.0f} %" for part, value in spent.items())
    report(f"dividemix, whole training: {parts}; {100 * method.diagnostics()['labelled']:.0f} % of the labels in use at the end")
    assert set(spent) == {"guesses", "training", "scores of all samples"}


@pytest.mark.parametrize("harvest", ["training", "evaluation"])
def test_coteaching_vog_against_coteaching(harvest, data, report):
    """The bound is that of the default, gradients of the training passes."""
    cost = measure("coteaching_vog", "coteaching", data, harvest=harvest)
    bound = f" (≤ {VOG_BOUND})" if harvest == "training" else ""
    report(f"coteaching_vog, harvest={harvest}: epoch / coteaching {cost.epoch:.2f} ×{bound}, whole / coteaching {cost.whole:.2f} ×")
    assert cost.epoch > 0


def test_vog_scores_against_forward_passes(data, interleaved, report):
    """The detector's scores under several checkpoints against as many plain passes in evaluation mode."""
    run = TimedRun(data)
    method, networks = prepared("vog", run, data), run.networks(4)
    networks.train(False)
    scores, passes, ratio = interleaved(
        lambda: method._scores(list(networks), data, run), lambda: [run.predict(network) for network in networks], rounds=7
    )
    times = f"{1000 * scores / 4:.0f} ms a checkpoint, a forward pass {1000 * passes / 4:.0f} ms"
    report(f"VOG scores of {N} samples: {times}, {ratio:.2f} × (≤ {SCORE_BOUND})")
    assert scores > 0
