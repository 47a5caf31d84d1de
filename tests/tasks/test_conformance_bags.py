"""The contract kit on plugins for bags: it finds what is broken, and only that."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent, indent

import numpy as np
import pytest

from benchmark.bags.data import BagData
from benchmark.conformance import BAG_METHOD_CHECKS, CheckResult, check, checks_of, run_check
from benchmark.conformance_bags import odd_bags, tiny_bags
from benchmark.registry import Registry
from benchmark.scaffold import create

ROOT = Path(__file__).resolve().parents[2]
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(source: str, name: str = "plugin.py") -> Path:
        path = tmp_path / name
        path.write_text(source, encoding="utf-8")
        return path

    return write


def run_one(write: Write, source: str, name: str, kind: str = "method") -> CheckResult:
    """One check of the plugin in a file; the others would only take time."""
    cls = Registry([write(source)]).load(kind, "good")
    return run_check(next(function for function in checks_of(kind, cls.task) if function.__name__ == name), cls)


# -------------------------------------------------------------------------------------------------------------- methods

FOR_BAGS = '''
"""A method for bags."""
import torch

from benchmark.api import Method, method
from benchmark.bags.method import BagMethod, network_of
from benchmark.errors import BenchmarkError


@method("good", task="bags")
class Good(BagMethod):
    """Attention."""

    pooling = "abmil"
'''

BROKEN = {
    "logits in place of probabilities": (
        """
        def predict_bags(self, networks, tiles, offsets):
            output = network_of(networks)(tiles, offsets)
            return 3 * output.bag_logits, output.instance_logits.sigmoid()
        """,
        "trains_and_predicts",
        "AssertionError: probabilities must be finite and non-negative",
    ),
    "a score a bag in place of one a tile": (
        """
        def predict_bags(self, networks, tiles, offsets):
            bags, _ = super().predict_bags(networks, tiles, offsets)
            return bags, bags
        """,
        "trains_and_predicts",
        "AssertionError: predict_bags gives tile scores (24,) for ",
    ),
    "tile scores that are logits": (
        """
        def predict_bags(self, networks, tiles, offsets):
            bags, scores = super().predict_bags(networks, tiles, offsets)
            return bags, 9 * scores
        """,
        "trains_and_predicts",
        "AssertionError: tile scores must be finite and lie in [0, 1]",
    ),
    "a predictor that is never handed over": (
        """
        def fit(self, data, run):
            networks = run.networks(1, **self.design())
            for epoch in run.epochs("train", networks, state=self):
                for batch in run.loader():
                    run.step(networks, self.training_step(batch, networks, epoch), len(batch))
            return networks
        """,
        "trains_and_predicts",
        "BenchmarkError: no stage with predictor= has ended",
    ),
    "a quality a tile": (
        "def label_quality(self):\n    return torch.zeros(self.data.tiles)\n",
        "judges_every_label",
        "AssertionError: label_quality gives (",
    ),
    "pseudo labels of one round without an axis": (
        "def pseudo_labels(self):\n    return torch.zeros(self.data.tiles), 0.3\n",
        "judges_every_label",
        "AssertionError: pseudo_labels gives (",
    ),
    "pseudo labels of bags": (
        "def pseudo_labels(self):\n    return torch.zeros(2, self.data.n), 0.3\n",
        "judges_every_label",
        "AssertionError: pseudo_labels gives (2, 24), not (rounds, ",
    ),
    "pseudo labels that are no numbers": (
        "def pseudo_labels(self):\n    return torch.zeros(1, self.data.tiles).log(), 0.3\n",
        "judges_every_label",
        "AssertionError: pseudo labels must be finite and lie in [0, 1]",
    ),
    "a network that is never trained": ("networks = 2\n", "a_gradient_reaches_every_parameter", "AssertionError: no gradient reaches "),
    "a draw from a generator that nobody seeds": (
        """
        def bag_loss(self, output, batch):
            import random

            return super().bag_loss(output, batch) * random.SystemRandom().uniform(0.5, 2.0)
        """,
        "repeats_exactly",
        "AssertionError: two runs with one seed differ in probabilities, label_quality",
    ),
    "pseudo labels that are lost at resume": (
        """
        def setup(self, data, run):
            self.rounds = {0}

        def end_epoch(self, networks, epoch, run):
            self.rounds.add(epoch + 1)

        def pseudo_labels(self):
            return torch.zeros(len(self.rounds), self.data.tiles), 0.3
        """,
        "resumes_exactly",
        "AssertionError: killed after epoch 1, it ends with other pseudo_labels",
    ),
    "two tiles taken for granted": (
        """
        def bag_loss(self, output, batch):
            assert (batch.offsets.diff() > 1).all()
            return super().bag_loss(output, batch)
        """,
        "survives_odd_bags",
        "AssertionError: ",
    ),
    "a loss that is lost with one class only": (  # to diverge is no way to refuse
        """
        def bag_loss(self, output, batch):
            return super().bag_loss(output, batch) / self.data.labels.sum()
        """,
        "survives_odd_bags",
        "AssertionError: bags of one class only: the loss is nan in epoch 1",
    ),
    "square tiles taken for granted": (
        "def setup(self, data, run):\n    assert not data.has_pixels or data.images.shape[2] == data.images.shape[3]\n",
        "takes_gray_and_oblong_images",
        "AssertionError: ",
    ),
    "features refused without a word in the manifest": (
        "def supports(self, data):\n    return None if data.has_pixels else 'it looks at colours'\n",
        "takes_frozen_features",
        "AssertionError: supports() refuses features",
    ),
}


@pytest.mark.parametrize(("body", "name", "message"), BROKEN.values(), ids=list(BROKEN))
def test_a_broken_method_for_bags_fails_the_check_that_is_about_it(write: Write, body: str, name: str, message: str) -> None:
    result = run_one(write, FOR_BAGS + indent(dedent(body), "    "), name)
    assert result.ok is False and result.detail.startswith(message), result.detail


def test_a_method_for_bags_has_checks_of_its_own(write: Write) -> None:
    assert checks_of("method", "bags") == BAG_METHOD_CHECKS
    plain = FOR_BAGS.replace("class Good(BagMethod)", "class Good(Method)")
    body = """
    fit, design, training_step = BagMethod.fit, BagMethod.design, BagMethod.training_step
    bag_loss, predict_bags = BagMethod.bag_loss, BagMethod.predict_bags
    """
    assert run_one(write, plain + body, "trains_and_predicts").detail == (
        "BenchmarkError: a method for bags must be a benchmark.bags.method.BagMethod"
    )


def test_a_manifest_that_asks_for_pixels_in_vain(write: Write) -> None:
    source = FOR_BAGS.replace('task="bags"', 'task="bags", needs=["pixels"]')
    assert "make them agree" in run_one(write, source, "takes_frozen_features").detail


def test_a_method_that_needs_pixels_is_tried_on_pixels(write: Write) -> None:
    source = FOR_BAGS.replace('task="bags"', 'task="bags", needs=["pixels"]')
    body = "\n    def supports(self, data):\n        return None if data.has_pixels else 'it looks at colours'\n"
    assert run_one(write, source + body, "trains_and_predicts").ok
    found = run_one(write, source + body, "takes_frozen_features")
    assert found.ok is None and "it looks at colours" in found.detail


@pytest.mark.parametrize(
    ("refused", "error", "ok"),
    [
        ("not data.labels.any()", 'BenchmarkError("no positive bag")', True),
        ("data.labels.sum() < 2", 'BenchmarkError("two positive bags are needed")', True),
        ("not data.labels.any()", 'ValueError("no positive bag")', False),
        ("not data.labels.any()", 'BenchmarkError("no\\npositive bag")', False),
        ("data.tiles == data.n", 'BenchmarkError("bags of one tile")', False),  # a biopsy may be one tile
    ],
)
def test_what_nothing_can_be_learned_from_may_be_refused_in_one_line(write: Write, refused: str, error: str, ok: bool) -> None:
    body = f"\n    def setup(self, data, run):\n        if {refused}:\n            raise {error}\n"
    assert run_one(write, FOR_BAGS + body, "survives_odd_bags").ok is ok


def test_tiny_bags_are_what_they_say() -> None:
    data, truth = tiny_bags()
    counts = data.offsets.diff()
    assert isinstance(data, BagData) and data.n == 24 and data.images.shape == (int(data.offsets[-1]), 6)
    assert counts.min() >= 3 and counts.max() <= 8 and len(counts.unique()) > 2
    assert truth.tolist() == [0, 1] * 12 and (data.labels.numpy() != truth).sum() == 7  # 30 % of 24
    largest = np.maximum.reduceat(data.images.mean(dim=1).numpy(), data.offsets[:-1].numpy())
    assert largest[truth == 1].min() > 1.3 > largest[truth == 0].max()  # a network can tell them apart
    pixels, _ = tiny_bags(channels=1, size=(16, 20))
    assert pixels.has_pixels and pixels.images.shape[1:] == (1, 16, 20)


def test_odd_bags_are_odd_in_one_way_each() -> None:
    found = odd_bags()
    assert (found["bags of one tile"][0][0].offsets.diff() == 1).all()
    assert int(found["one positive bag"][0][0].labels.sum()) == 1
    assert not found["bags of one class only"][0][0].labels.any()
    (data, truth), must_train = found["no noise"]
    assert must_train and data.labels.tolist() == truth.tolist()


def test_a_new_method_for_bags_keeps_the_contract(tmp_path: Path) -> None:
    path = create("method", "mine", tmp_path, "bags")
    results = check(str(path), Registry([path]))
    assert len(results) == 1 + len(BAG_METHOD_CHECKS) and not [result for result in results if result.ok is not True]
    command = [sys.executable, "-m", "ruff", "check", "--config", str(ROOT / "pyproject.toml"), str(path)]
    assert subprocess.run(command, capture_output=True, text=True, check=False).returncode == 0


# ---------------------------------------------------------------------------------------------------- data sets, noise

DATASET = '''
import numpy as np

from benchmark.api import Arrays, Dataset, dataset
from benchmark.bags.arrays import BagArrays


@dataset("good", task="bags", version=1, licence="CC0", citation="none")
class Bags(Dataset):
    """Random bags of three tiles."""

    def load(self, root):
        """20 bags."""
        rng = np.random.default_rng(0)
        tiles, labels = rng.random((60, 4)).astype(np.float32), np.arange(20) % 2
        return BagArrays(tiles, np.arange(21) * 3, labels, [f"slide {i}" for i in range(20)])
'''

NOISE = '''
from benchmark.api import Noise, noise


@noise("good", task="bags", version=1)
class Flip(Noise):
    """Every fourth label flips."""

    rate = 0.25

    def apply(self, samples, rng):
        """(n,) int64."""
        labels = samples.labels
        noisy = labels.copy()
        wrong = rng.permutation(len(labels))[: len(labels) // 4]
        noisy[wrong] = 1 - noisy[wrong]
        return noisy
'''


@pytest.mark.parametrize(
    ("source", "old", "new", "message"),
    [
        (DATASET, "", "", ""),
        (DATASET, "default_rng(0)", "default_rng()", "AssertionError: two loads give other images"),
        (DATASET, "np.arange(20) % 2", "np.zeros(20, dtype=np.int64)", "BenchmarkError: good: none of 20 slides is positive"),
        (DATASET, "np.arange(21) * 3", "np.arange(21) * 2", "BenchmarkError: good: tiles without a slide"),
        (DATASET, "slide {i}", "slide", "BenchmarkError: good: slide 'slide' occurs twice"),
        (DATASET, "return BagArrays(", "return Arrays(", "AssertionError: load() must return BagArrays, not Arrays"),
        (NOISE, "", "", ""),
        (NOISE, "rng.permutation(len(labels))", "__import__('random').sample(range(400), 400)", "AssertionError: the same generator gives"),
        (NOISE, "1 - noisy", "2 + noisy", "AssertionError: noisy labels must lie in [0, K)"),
        (NOISE, "return noisy", "return noisy.astype(bool)", "AssertionError: noisy labels must be (n,) int64"),
        (NOISE, "labels.copy()", "labels", "AssertionError: the input was changed in place"),
        (NOISE, "// 4]", "// 1]", "AssertionError: the realised rate is far from the nominal one"),
        (NOISE, "noisy = labels", "samples.images[0]\n        noisy = labels", "TypeError: "),
    ],
)
def test_data_sets_of_bags_and_their_noise(write: Write, source: str, old: str, new: str, message: str) -> None:
    changed = source.replace(old, new, 1)
    assert not old or changed != source
    kind, name = ("noise", "noise_keeps_the_contract_on_bags") if source is NOISE else ("dataset", "dataset_keeps_the_contract")
    result = run_one(write, changed, name, kind)
    assert result.ok is not bool(message) and result.detail.startswith(message), result.detail


@pytest.mark.parametrize("name", ["symmetric", "pairflip", "none", "human"])
def test_noise_on_labels_of_bags(name: str) -> None:
    cls = Registry().load("noise", name)
    functions = [function for function in checks_of("noise", cls.task) if function.__name__ == "noise_keeps_the_contract_on_bags"]
    assert len(functions) == 1 and run_check(functions[0], cls).ok


def test_noise_for_two_kinds_of_labels_is_tried_on_both(write: Write) -> None:
    source = NOISE.replace('task="bags"', 'task="classification+bags"')
    results = check(str(write(source)), Registry())
    assert [r.name.rpartition(": ")[2] for r in results[2:]] == ["noise keeps the contract", "noise keeps the contract on bags"]
    assert [r.ok for r in results[2:]] == [False, True]  # 1 - label is no class where there are five
    source = source.replace("classification+bags", "classification+bag")
    assert check(str(write(source, "other.py")), Registry())[-1].detail.startswith("unknown task 'bag'; did you mean 'bags'?")
