"""The contract kit on plugins for masks: it finds what is broken, and only that."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent, indent

import pytest

from benchmark.conformance import MASK_METHOD_CHECKS, CheckResult, check, checks_of, run_check, tiny_masks
from benchmark.registry import Registry

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


FOR_MASKS = '''
"""A method for masks."""
import torch

from benchmark.api import Method, method
from benchmark.errors import BenchmarkError
from benchmark.segmentation.method import MaskMethod


@method("good", task="segmentation")
class Good(MaskMethod):
    """Cross-entropy."""
'''

BROKEN_FOR_MASKS = {
    "probabilities over the tasks": (
        "def predict(self, networks, images):\n    return networks[0](images).softmax(dim=1)\n",
        "trains_and_predicts",
        "AssertionError: probabilities must sum to one",
    ),
    "class ids in place of probabilities": (
        "def predict(self, networks, images):\n    return super().predict(networks, images).argmax(dim=2)\n",
        "trains_and_predicts",
        "AssertionError: predict gives (24, 1, 16, 16) for 24 images of 2 classes, not (24, 1, 2, 16, 16)",
    ),
    "an image's quality pixel by pixel": (
        "def label_quality(self):\n    return torch.zeros(self.data.labels.shape)\n",
        "judges_every_label",
        "AssertionError: label_quality gives (24, 1, 16, 16), not (24,)",
    ),
    "qualities of pixels without tasks": (
        "def pixel_quality(self):\n    return torch.zeros(24, 16, 16)\n",
        "judges_every_label",
        "AssertionError: pixel_quality must be (n, T, H, W)",
    ),
    "qualities of pixels that are not finite": (
        "def pixel_quality(self):\n    return torch.zeros(self.data.labels.shape).log()\n",
        "judges_every_label",
        "AssertionError: pixel_quality must be finite",
    ),
    "suspects that are numbers": (
        "def pixel_suspects(self):\n    return self.data.labels\n",
        "judges_every_label",
        "AssertionError: pixel_suspects must be (n, T, H, W) bool",
    ),
    "void that is suspected": (
        "def pixel_suspects(self):\n    return self.data.labels > 0\n",
        "judges_every_label",
        "AssertionError: pixel_suspects: a void pixel cannot be wrong",
    ),
    "corrections of another type": (
        "def corrected_labels(self):\n    return self.data.labels.long()\n",
        "judges_every_label",
        "AssertionError: corrected_labels must be (n, T, H, W) uint8",
    ),
    "corrections out of range": (
        "def corrected_labels(self):\n    return torch.full_like(self.data.labels, 2)\n",
        "judges_every_label",
        "AssertionError: corrected masks must lie in [0, J) or be 255",
    ),
    "corrections written into the given masks": (
        """
        def end_epoch(self, networks, epoch, run):
            self.data.labels[3, 0, :2, :2] = 1
        """,
        "leaves_the_given_masks_alone",
        "AssertionError: 4 pixels of data.labels were changed in place; write into data.labels.clone()",
    ),
    "a judgement written into the given masks": (
        """
        def corrected_labels(self):
            return self.data.labels.clamp_(max=0)
        """,
        "leaves_the_given_masks_alone",
        "AssertionError: ",
    ),
    "a network that is never trained": ("networks = 2\n", "a_gradient_reaches_every_parameter", "AssertionError: no gradient reaches "),
    "a draw from a generator that nobody seeds": (
        """
        def training_step(self, batch, networks, epoch):
            import random

            return super().training_step(batch, networks, epoch) * random.SystemRandom().uniform(0.5, 2.0)
        """,
        "repeats_exactly",
        "AssertionError: two runs with one seed differ in probabilities, label_quality",
    ),
    "a map of suspects that is lost at resume": (
        """
        def setup(self, data, run):
            self.found = {0}

        def end_epoch(self, networks, epoch, run):
            self.found.add(epoch + 1)

        def pixel_suspects(self):
            return self.data.labels == len(self.found)
        """,
        "resumes_exactly",
        "AssertionError: killed after epoch 2, it ends with other pixel_suspects",
    ),
    "a mean over the object's pixels": (
        """
        def training_step(self, batch, networks, epoch):
            shares = torch.stack([(labels == 1).sum() for labels in batch.labels])
            return super().training_step(batch, networks, epoch) / shares.min()
        """,
        "survives_odd_masks",
        "AssertionError: empty masks in some images: the loss is nan in epoch 1",
    ),
    "a loss that is lost with one class only": (  # to diverge is no way to refuse
        """
        def training_step(self, batch, networks, epoch):
            return super().training_step(batch, networks, epoch) / (self.data.labels == 1).sum()
        """,
        "survives_odd_masks",
        "AssertionError: masks of one class only: the loss is nan in epoch 1",
    ),
    "one task taken for granted": (
        """
        def training_step(self, batch, networks, epoch):
            assert batch.labels.shape[1] == 1
            return super().training_step(batch, networks, epoch)
        """,
        "takes_several_tasks_and_classes",
        "AssertionError: ",
    ),
    "two classes taken for granted": (
        "def pixel_suspects(self):\n    assert self.data.num_classes == 2\n",
        "takes_several_tasks_and_classes",
        "AssertionError: ",
    ),
    "square images taken for granted": (
        "def setup(self, data, run):\n    assert data.images.shape[2] == data.images.shape[3]\n",
        "takes_gray_and_oblong_images",
        "AssertionError: ",
    ),
}


def run_one(write: Write, source: str, name: str, kind: str = "method") -> CheckResult:
    """One check of the plugin in a file; the others would only take time."""
    cls = Registry([write(source)]).load(kind, "good")
    return run_check(next(function for function in checks_of(kind, cls.task) if function.__name__ == name), cls)


@pytest.mark.parametrize(("body", "name", "message"), BROKEN_FOR_MASKS.values(), ids=list(BROKEN_FOR_MASKS))
def test_a_broken_method_for_masks_fails_the_check_that_is_about_it(write: Write, body: str, name: str, message: str) -> None:
    result = run_one(write, FOR_MASKS + indent(dedent(body), "    "), name)
    assert result.ok is False and result.detail.startswith(message), result.detail


def test_a_method_for_masks_has_checks_of_its_own(write: Write) -> None:
    assert checks_of("method", "segmentation") == MASK_METHOD_CHECKS
    assert not {"survives_odd_labels", "takes_frozen_features"} & {check.__name__ for check in MASK_METHOD_CHECKS}
    plain = FOR_MASKS.replace("(MaskMethod)", "(Method)") + indent(
        dedent("""
        def training_step(self, batch, networks, epoch):
            logits, labels = networks[0](batch.images).flatten(0, 1), batch.labels.flatten(0, 1).long()
            return torch.nn.functional.cross_entropy(logits, labels, ignore_index=255)

        def predict(self, networks, images):
            return networks[0](images).softmax(dim=2)
        """),
        "    ",
    )
    assert run_one(write, plain, "trains_and_predicts").ok
    assert run_one(write, plain, "judges_every_label").detail == (
        "AssertionError: a method for masks must be a benchmark.segmentation.method.MaskMethod"
    )


@pytest.mark.parametrize(
    ("refused", "error", "ok"),
    [
        ("(data.labels[data.labels != 255] == 0).all()", 'BenchmarkError("no object in any mask")', True),
        ("data.groups is not None and len(data.groups.unique()) < 2", 'BenchmarkError("one patient cannot be folded")', True),
        ("data.groups is not None", 'ValueError("one patient cannot be folded")', False),
        ("data.groups is not None", 'BenchmarkError("one\\npatient")', False),
        ("(data.labels[3] == 0).all()", 'BenchmarkError("an empty mask")', False),  # a healthy image is no reason to refuse all
    ],
)
def test_what_nothing_can_be_learned_from_may_be_refused_in_one_line(write: Write, refused: str, error: str, ok: bool) -> None:
    body = f"\n    def setup(self, data, run):\n        if {refused}:\n            raise {error}\n"
    assert run_one(write, FOR_MASKS + body, "survives_odd_masks").ok is ok


def test_tiny_masks_are_what_they_say() -> None:
    data, truth = tiny_masks(tasks=2, classes=3, size=(16, 24))
    assert data.images.shape == (24, 3, 16, 24) and data.labels.shape == truth.shape == (24, 2, 16, 24)
    assert set(truth.reshape(-1)) == set(data.labels.reshape(-1).tolist()) == {0, 1, 2, 255}
    wrong = (data.labels.numpy() != truth).any(axis=(2, 3))
    assert wrong.sum(axis=0).tolist() == [7, 7]  # 30 % of 24, of each task
    assert ((data.labels.numpy() == 255) == (truth == 255)).all() and (truth == 255).any(axis=(1, 2, 3)).sum() == 1
    one, true = tiny_masks()
    inside, outside = (one.images.float().mean(dim=1).numpy()[true[:, 0] == j].mean() for j in (1, 0))
    assert inside - outside > 25  # a network can tell them apart


MASK_DATASET = '''
import numpy as np

from benchmark.api import Arrays, Dataset, dataset
from benchmark.segmentation.arrays import MaskArrays


@dataset("good", task="segmentation", version=1, licence="CC0", citation="none")
class Boxes(Dataset):
    """Random images."""

    def load(self, root):
        """20 images."""
        rng = np.random.default_rng(0)
        images = rng.integers(0, 256, (20, 8, 8, 1)).astype(np.uint8)
        return MaskArrays(images, (images[:, None, :, :, 0] > 99).astype(np.uint8), ("box",), ("background", "box"))
'''

MASK_NOISE = '''
import numpy as np

from benchmark.api import Noise, noise


@noise("good", task="segmentation", version=1)
class Flip(Noise):
    """A quarter of the pixels of all masks are background."""

    def apply(self, samples, rng):
        """(n, T, H, W) uint8."""
        masks = samples.labels
        return np.where((rng.random(masks.shape) < 0.25) & (masks != 255), 0, masks).astype(np.uint8)
'''


@pytest.mark.parametrize(
    ("source", "old", "new", "message"),
    [
        (MASK_DATASET, "", "", ""),
        (MASK_DATASET, "default_rng(0)", "default_rng()", "AssertionError: two loads give other images"),
        (MASK_DATASET, '("box",), ', "", "TypeError: "),
        (MASK_DATASET, "> 99", "> 255", "BenchmarkError: data set good: no foreground in any mask of box"),
        (
            MASK_DATASET,
            "(images[:, None, :, :, 0] > 99)",
            "(2 * (images[:, None, :, :, 0] > 99))",
            "BenchmarkError: data set good: labels have",
        ),
        (MASK_DATASET, "MaskArrays(images, ", "Arrays(images, ", "AssertionError: load() must return MaskArrays, not Arrays"),
        (MASK_NOISE, "", "", ""),
        (MASK_NOISE, "rng.random", "np.random.random", "AssertionError: the same generator gives another draw"),
        (MASK_NOISE, " & (masks != 255)", "", "AssertionError: void must stay where it is"),
        (MASK_NOISE, ", 0, masks", ", 255, masks", "AssertionError: void must stay where it is"),
        (MASK_NOISE, ", 0, masks", ", 7, masks", "AssertionError: noisy masks must hold class ids in [0, J)"),
        (MASK_NOISE, ".astype(np.uint8)", ".astype(np.int64)", "AssertionError: noisy masks must be (40, 1, 32, 24) uint8, not int64"),
        (MASK_NOISE, "        return", "        masks[0, 0, 0, 0] = 1\n        return", "AssertionError: the input was changed in place"),
        (MASK_NOISE, ", version=1", "", "AssertionError: the manifest lacks version"),
    ],
)
def test_data_sets_of_masks_and_their_noise(write: Write, source: str, old: str, new: str, message: str) -> None:
    changed = source.replace(old, new, 1)
    assert not old or changed != source
    kind, name = ("noise", "noise_keeps_the_contract_on_masks") if source is MASK_NOISE else ("dataset", "dataset_keeps_the_contract")
    if "TypeError" in message or "Arrays, not" in message:
        changed = changed.replace('("box",), ("background", "box")', '("background", "box")')
    result = run_one(write, changed, name, kind)
    assert result.ok is not bool(message) and result.detail.startswith(message), result.detail


def test_noise_for_any_labels_is_tried_on_all_kinds(write: Write) -> None:
    source = MASK_NOISE.replace('task="segmentation"', 'task="any"')
    results = check(str(write(source)), Registry())
    names = ["noise keeps the contract", "noise keeps the contract on masks", "noise keeps the contract on bags"]
    assert [r.name.rpartition(": ")[2] for r in results[2:]] == names
    assert broken(results) == {names[0], names[2]}  # (n,) labels must be int64
    source = source.replace(".astype(np.uint8)", ".astype(masks.dtype)")
    assert broken(check(str(write(source, "other.py")), Registry())) == set()


@pytest.mark.parametrize(("source", "task"), [(FOR_MASKS, "segmentaton"), (FOR_MASKS, "any"), (MASK_NOISE, "masks")])
def test_a_kind_of_labels_that_does_not_exist(write: Write, source: str, task: str) -> None:
    results = check(str(write(source.replace('task="segmentation"', f'task="{task}"'))), Registry())
    assert broken(results) == {"is for a kind of labels that exists"}
    assert results[-1].detail.startswith(f"unknown task '{task}'")
