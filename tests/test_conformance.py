"""The contract kit finds what is broken, and only that."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent, indent

import pytest
import torch

from benchmark.conformance import METHOD_CHECKS, CheckResult, check, check_entry, where_they_are
from benchmark.conformance_data import FEATURES, tiny_data
from benchmark.errors import BenchmarkError
from benchmark.registry import Registry
from benchmark.training.images import MappedImages

GOOD = '''
"""A method in fifteen lines."""

from dataclasses import dataclass

import torch.nn.functional as F

from benchmark.api import Method, hp, method


@method("good", family="test")
class Good(Method):
    """Cross-entropy with smoothed labels."""

    @dataclass(frozen=True)
    class Params:
        """One number."""

        smoothing: float = hp(0.1, 0.0, 0.9, help="share of the mass that goes to all classes")

    def training_step(self, batch, networks, epoch):
        """Smoothed cross-entropy."""
        return F.cross_entropy(networks[0](batch.images), batch.labels, label_smoothing=self.params.smoothing)
'''

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(source: str, name: str = "plugin.py") -> Path:
        path = tmp_path / name
        path.write_text(source, encoding="utf-8")
        return path

    return write


def broken(results: list[CheckResult]) -> set[str]:
    return {result.name.rpartition(": ")[2] for result in results if result.ok is False}


def with_body(body: str) -> str:
    """The good method with more, or other, in its class."""
    return GOOD + indent(dedent(body), "    ")


def run_on(write: Write, source: str) -> list[CheckResult]:
    return check(str(write(source)), Registry())


# ------------------------------------------------------------------------------------------------- methods


def test_a_good_method_of_a_few_lines_passes_everything(write: Write) -> None:
    results = run_on(write, GOOD)
    assert [result.ok for result in results] == [True] * (1 + len(METHOD_CHECKS)), results
    assert all(result.name.startswith("method good: ") for result in results)


BROKEN = {
    "probabilities of a wrong shape": (
        "def predict(self, networks, images):\n    return super().predict(networks, images)[:, :2]\n",
        {"trains and predicts"},
    ),
    "probabilities that do not sum to one": (
        "def predict(self, networks, images):\n    return networks[0](images).sigmoid()\n",
        {"trains and predicts"},
    ),
    "negative probabilities": (
        "def predict(self, networks, images):\n    p = super().predict(networks, images)\n    return 100 * p - 99 * p.flip(1)\n",
        {"trains and predicts"},
    ),
    "NaN probabilities": (  # two checks look at them: on sound and on odd labels
        "def predict(self, networks, images):\n    return super().predict(networks, images) * float('nan')\n",
        {"trains and predicts", "survives odd labels"},
    ),
    "qualities of a wrong shape": (
        "def label_quality(self):\n    return super().label_quality()[:-1]\n",
        {"judges every label"},
    ),
    "NaN qualities": (
        "def label_quality(self):\n    return super().label_quality() / 0 - 1e999\n",
        {"judges every label"},
    ),
    "suspects that are numbers": (
        "def suspects(self):\n    return self.data.labels\n",
        {"judges every label"},
    ),
    "corrections out of range": (
        "def corrected_labels(self):\n    return self.data.labels + 1\n",
        {"judges every label"},
    ),
    "a column of a wrong length": (
        "def sample_columns(self):\n    return {'x': self.data.labels[:5]}\n",
        {"judges every label"},
    ),
    "diagnostics that are not finite": (
        "def diagnostics(self):\n    return {'x': float('inf')}\n",
        {"judges every label"},
    ),
    "a second network that is never trained": (
        "networks = 2\n",
        {"a gradient reaches every parameter"},
    ),
    "a draw from a generator that nobody seeds": (  # two runs differ, and so does a resumed one
        """
        def training_step(self, batch, networks, epoch):
            import random

            scale = random.SystemRandom().uniform(0.5, 2.0)
            return F.cross_entropy(networks[0](batch.images * scale), batch.labels)
        """,
        {"repeats exactly", "resumes exactly"},
    ),
    "a state that a checkpoint does not keep": (
        """
        def setup(self, data, run):
            self.seen = {0}

        def end_epoch(self, networks, epoch, run):
            self.seen.add(epoch + 1)

        def training_step(self, batch, networks, epoch):
            return F.cross_entropy(networks[0](batch.images), batch.labels) * len(self.seen)
        """,
        {"resumes exactly"},
    ),
    "suspects that are lost at resume": (
        """
        def setup(self, data, run):
            self.found = {7}

        def end_epoch(self, networks, epoch, run):
            self.found.add(epoch)

        def suspects(self):
            return sum(self.data.labels == label for label in self.found) > 0
        """,
        {"resumes exactly"},
    ),
    "an object that is created during training": (
        """
        def end_epoch(self, networks, epoch, run):
            import torch

            self.head = torch.nn.Linear(1, 1)
        """,
        {"resumes exactly"},
    ),
    "a loss that breaks with one class": (
        """
        def training_step(self, batch, networks, epoch):
            assert len(self.data.labels.unique()) > 1, "one class only"
            return F.cross_entropy(networks[0](batch.images), batch.labels)
        """,
        {"survives odd labels"},
    ),
    "three channels taken for granted": (
        """
        def training_step(self, batch, networks, epoch):
            assert batch.images.shape[1] == 3
            return F.cross_entropy(networks[0](batch.images), batch.labels)
        """,
        {"takes gray and oblong images", "takes frozen features"},
    ),
    "square images taken for granted": (
        """
        def training_step(self, batch, networks, epoch):
            assert batch.images.shape[2] == batch.images.shape[3]
            return F.cross_entropy(networks[0](batch.images), batch.labels)
        """,
        {"takes gray and oblong images", "takes frozen features"},
    ),
    "features refused without a word in the manifest": (
        """
        def supports(self, data):
            return None if data.has_pixels else "needs pixels"
        """,
        {"takes frozen features"},
    ),
    "a question to the oracle that the manifest hides": (
        "def setup(self, data, run):\n    self.rate = run.oracle.noise_rate()\n",
        {"asks the oracle openly"},
    ),
    "a preset of values that do not exist": (
        "presets = {'paper': {'smoothin': 0.2}}\n",
        {"parameters are sound"},
    ),
    "a preset out of range": (
        "presets = {'paper': {'smoothing': 2.0}}\n",
        {"parameters are sound"},
    ),
}


@pytest.mark.parametrize(("body", "expected"), BROKEN.values(), ids=list(BROKEN))
def test_a_broken_method_fails_the_check_that_is_about_it(write: Write, body: str, expected: set[str]) -> None:
    results = run_on(write, with_body(body))
    assert broken(results) == expected, [result for result in results if result.ok is False]
    assert all(result.detail for result in results if result.ok is False)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("@dataclass(frozen=True)", "@dataclass"),
        ('hp(0.1, 0.0, 0.9, help="share of the mass that goes to all classes")', "0.1"),
    ],
)
def test_params_that_are_not_frozen_or_not_declared(write: Write, old: str, new: str) -> None:
    results = run_on(write, GOOD.replace(old, new))
    assert broken(results) == {"parameters are sound"}


def test_params_that_json_would_change(write: Write) -> None:
    source = GOOD.replace("smoothing: float", "sizes: tuple = hp((1, 2))\n        smoothing: float")
    assert broken(run_on(write, source)) == {"parameters are sound"}


def test_a_noise_rate_need_not_know_our_words(write: Write) -> None:
    source = GOOD.replace("smoothing: float = hp(0.1", "noise_rate: float = hp(0.1").replace("params.smoothing", "params.noise_rate")
    assert broken(run_on(write, source)) == set()


def test_a_need_of_pixels_that_is_none(write: Write) -> None:
    results = run_on(write, GOOD.replace('family="test"', 'family="test", needs=["pixels"]'))
    assert broken(results) == {"takes frozen features"}


def test_images_are_no_tensor_as_in_a_run_on_a_cpu(write: Write) -> None:
    data, _ = tiny_data()
    rows = where_they_are(data)
    assert isinstance(rows.images, MappedImages) and torch.equal(rows.images[:], data.images[:])
    features, _ = tiny_data(channels=6, size=FEATURES)
    assert where_they_are(features) is features
    source = with_body("def setup(self, data, run):\n    self.level = data.images.float().mean()\n")
    assert "judges every label" in broken(run_on(write, source))


def test_an_open_question_to_the_oracle_is_fine(write: Write) -> None:
    body = "def setup(self, data, run):\n    self.rate = run.oracle.noise_rate()\n"
    source = with_body(body).replace('family="test"', 'family="test", needs=["noise_rate"]')
    assert broken(run_on(write, source)) == set()


def test_what_supports_refuses_does_not_apply(write: Write) -> None:
    body = """
    def supports(self, data):
        return None if data.has_pixels and data.images.shape[1] == 3 else "needs colour"

    def setup(self, data, run):
        assert data.images.shape[1] == 3, "the harness asks supports() before setup()"
    """
    results = run_on(write, with_body(body).replace('family="test"', 'family="test", needs=["pixels"]'))
    assert broken(results) == set()
    assert [(r.name.rpartition(": ")[2], r.detail) for r in results if r.ok is None] == [
        ("takes gray and oblong images", "supports() says: needs colour"),
        ("takes frozen features", "supports() says: needs colour"),
    ]


def test_numpy_scalars_as_state_survive_a_checkpoint(write: Write) -> None:
    body = """
    def setup(self, data, run):
        import numpy as np

        self.scale, self.count, self.flag = np.float64(1.0), np.int64(0), np.bool_(True)

    def end_epoch(self, networks, epoch, run):
        self.scale, self.count = self.scale * 0.5, self.count + 1

    def training_step(self, batch, networks, epoch):
        assert self.count == epoch
        return F.cross_entropy(networks[0](batch.images), batch.labels) * float(self.scale)
    """
    assert broken(run_on(write, with_body(body))) == set()


def test_a_plugin_that_cannot_be_imported_stops_at_once(write: Write) -> None:
    results = run_on(write, GOOD + "\n1 / 0\n")
    assert [(r.name, r.ok) for r in results] == [("method good: imports under its declared name", False)]
    assert "ZeroDivisionError" in results[0].detail


# ------------------------------------------------------------------------------------------------- data sets and noise

DATASET = '''
import numpy as np

from benchmark.api import Arrays, Dataset, dataset


@dataset("stripes", version=1, licence="CC0", citation="none")
class Stripes(Dataset):
    """Random images."""

    def load(self, root):
        """20 images."""
        rng = np.random.default_rng(0)
        return Arrays(rng.integers(0, 256, (20, 8, 8, 1)).astype(np.uint8), np.arange(20) % 2, ("a", "b"))
'''

NOISE = '''
import numpy as np

from benchmark.api import Noise, hp, noise


@noise("shift", version=1, source="")
class Shift(Noise):
    """Every label moves on with probability one half."""

    def apply(self, samples, rng):
        """(n,) int64."""
        labels = samples.labels
        return np.where(rng.random(len(labels)) < 0.5, (labels + 1) % samples.num_classes, labels)
'''


@pytest.mark.parametrize(
    ("source", "old", "new", "expected"),
    [
        (DATASET, "", "", set()),
        (DATASET, "default_rng(0)", "default_rng()", {"dataset keeps the contract"}),
        (DATASET, ".astype(np.uint8)", "", {"dataset keeps the contract"}),
        (DATASET, 'licence="CC0", ', "", {"dataset keeps the contract"}),
        (DATASET, "% 2", "% 3", {"dataset keeps the contract"}),
        (DATASET, 'version=1, licence="CC0"', 'licence="CC0"', {"dataset keeps the contract"}),
        (NOISE, "", "", set()),
        (NOISE, "rng.random", "np.random.random", {"noise keeps the contract"}),
        (NOISE, " % samples.num_classes", "", {"noise keeps the contract"}),
        (NOISE, "        return np.where", "        labels[0] = 1\n        return np.where", {"noise keeps the contract"}),
        (NOISE, "labels)\n", "labels)[1:]\n", {"noise keeps the contract"}),
        (NOISE, "labels)\n", "labels).astype(float)\n", {"noise keeps the contract"}),
        (NOISE, "version=1, ", "", {"noise keeps the contract"}),
    ],
)
def test_data_sets_and_noise(write: Write, source: str, old: str, new: str, expected: set[str]) -> None:
    changed = source.replace(old, new, 1) if old else source
    assert not old or changed != source
    assert broken(run_on(write, changed)) == expected


def test_a_rate_far_from_the_nominal_one(write: Write) -> None:
    source = NOISE.replace('    """Every', '    rate = 0.01\n    """Every')
    assert broken(run_on(write, source)) == {"noise keeps the contract"}


def test_noise_is_given_all_that_it_may_depend_on(write: Write) -> None:
    body = "assert samples.posterior().shape == (3000, 5) and len(samples.images) == len(samples.positions) == len(samples.given)"
    source = NOISE.replace("        labels = ", f"        {body}\n        samples.shared_rng('a')\n        labels = ")
    assert broken(run_on(write, source)) == set()
    named = source.replace("(3000, 5)", "(3000, 2)").replace("version=1", 'version=1, made_for=["benign", "malignant"]')
    named = named.replace("        labels = ", "        assert samples.class_names == ('benign', 'malignant')\n        labels = ")
    assert broken(run_on(write, named)) == set()


def test_noise_that_needs_a_file_is_left_out(write: Write) -> None:
    params = """
    @dataclasses.dataclass(frozen=True)
    class Params:
        file: str = hp("", help="a file")

    argument = "file"

    def apply"""
    source = "import dataclasses\n" + NOISE.replace("\n    def apply", params, 1)
    last = run_on(write, source)[-1]
    assert last.ok is None and last.detail == "needs an argument: shift:FILE"


# ------------------------------------------------------------------------------------------------- targets


def test_a_name_a_path_and_a_folder(write: Write, tmp_path: Path) -> None:
    write(NOISE, "one.py")
    write(DATASET, "two.py")
    assert [r.ok for r in check("symmetric", Registry())] == [True] * 4  # one more for bags
    assert {r.name.partition(":")[0] for r in check(str(tmp_path), Registry())} == {"noise shift", "dataset stripes"}
    registry = Registry([tmp_path])
    assert {r.name.partition(":")[0] for r in check("shift", registry)} == {"noise shift"}
    assert all(r.ok for r in check(str(tmp_path / "one.py"), registry))


def test_a_path_is_checked_and_not_a_plugin_of_the_same_name(write: Write) -> None:
    with pytest.raises(BenchmarkError, match="two methods are called 'ce'"):
        run_on(write, GOOD.replace('"good"', '"ce"'))


def test_a_package_is_checked_as_one(tmp_path: Path) -> None:
    (tmp_path / "__init__.py").write_text("from .rule import SHIFT\n" + NOISE.replace("labels + 1", "labels + SHIFT"), encoding="utf-8")
    (tmp_path / "rule.py").write_text("SHIFT = 1\n", encoding="utf-8")
    assert broken(check(str(tmp_path), Registry())) == set()


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("nonsense", "'nonsense' is neither a file nor a registered plugin; see: python -m benchmark list"),
        ("nowhere/plugin.py", "neither a file nor a registered plugin"),
        ("{empty}", "declares no plugin"),
        ("{text}", "is no Python file"),
        ("{helper}", "declares no plugin"),
    ],
)
def test_a_target_that_is_none(write: Write, tmp_path: Path, target: str, message: str) -> None:
    (tmp_path / "empty").mkdir()
    paths = {"empty": tmp_path / "empty", "text": write("hello", "notes.txt"), "helper": write("x = 1", "helper.py")}
    with pytest.raises(BenchmarkError, match=message):
        check(target.format(**paths), Registry())


def test_a_broken_file_is_reported_and_not_raised(write: Write) -> None:
    path = write("def f(:\n", "sick.py")
    results = check(str(path), Registry())
    assert [(r.ok, "SyntaxError" in r.detail) for r in results] == [(False, True)]
    (entry,) = [e for e in Registry([path]).entries("method") if e.name == "sick"]
    assert [r.ok for r in check_entry(entry, Registry([path]))] == [False]
