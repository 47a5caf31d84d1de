"""Masks that are void throughout, and sets whose truth nobody knows: they train and are scored, and nothing is said that is not known."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from benchmark import worker
from benchmark.api import TrainingData
from benchmark.conformance import tiny_run
from benchmark.conformance_data import tiny_masks
from benchmark.engines.base import WorkerOptions
from benchmark.grammar import parse_settings
from benchmark.registry import Registry
from benchmark.spec import expand, protocol
from benchmark.store import RunStore
from benchmark.tasks import task_of
from benchmark.training.history import SampleHistory

VOID = 255
METHODS = (
    "seg_ce",
    "seg_gce",
    "seg_t_loss",
    "seg_pick_and_learn",
    "seg_adele",
    "seg_coteaching",
    "seg_coteaching:pixel",
    "seg_cl",
    "seg_cl_slsr",
    "seg_cleanlab:drop",
    "seg_cleanlab:correct",
    "seg_cleanlab:images",
)

PLUGIN = '''
"""Masks of a user."""
from dataclasses import dataclass

import numpy as np

from benchmark.api import Dataset, dataset, hp
from benchmark.segmentation.arrays import MaskArrays


@dataset("mine", task="segmentation", version=1)
class Mine(Dataset):
    """Thirty discs of two organs; of each part the first image is void throughout, and the second where the right organ is."""

    @dataclass(frozen=True)
    class Params:
        reference: bool = hp(False, tune=False, help="the same masks again as a reference, without void")

    labels_are_truth = False

    def load(self, root):
        rng = np.random.default_rng(0)
        rows, columns = np.mgrid[:16, :16]
        centre = rng.uniform(5, 11, (30, 2, 2, 1, 1))
        masks = (np.hypot(rows - centre[:, :, 0], columns - centre[:, :, 1]) < 4).astype(np.uint8)
        images = (rng.normal(50, 15, (30, 16, 16)) + 60 * masks[:, 0] + 90 * masks[:, 1]).clip(0, 255).astype(np.uint8)
        given, split = masks.copy(), np.repeat([0, 1, 2], 10).astype(np.int8)
        given[::10], given[1::10, 1] = 255, 255
        reference = masks if self.params.reference else None
        return MaskArrays(images[..., None], given, ("left", "right"), ("background", "organ"), reference, split)
'''


def result(
    folder: Path, method: str, data: str = "mine", noise: str = "none"
) -> tuple[dict[str, Any], pd.DataFrame, dict[str, np.ndarray]]:
    """result.json, samples.parquet and predictions.npz of a run."""
    plugin = folder / "mine.py"
    plugin.write_text(PLUGIN)
    kinds = {kind: parse_settings(text, what=kind) for kind, text in (("methods", method), ("datasets", data), ("noise", noise))}
    plan = protocol("quick", {"epochs": 2, "batch_size": 4}, "segmentation")
    (spec,) = expand(Registry((str(plugin),)), **kinds, seeds=[0], protocol=plan, data_root=folder)
    key = RunStore(folder / "runs").register(spec)
    options = WorkerOptions(folder / "runs", plugins=(str(plugin),), device="cpu", threads=1, data_root=folder)
    outcome = worker.execute(key, options, lambda event: None)
    assert (outcome.status, outcome.message) == ("done", "")
    run = folder / "runs" / key
    with np.load(run / "predictions.npz", allow_pickle=False) as file:
        arrays = dict(file.items())
    return json.loads((run / "result.json").read_text()), pd.read_parquet(run / "samples.parquet"), arrays


# ------------------------------------------------------------------------------------------------------ void throughout


def test_the_history_of_an_image_without_a_labelled_pixel_is_empty() -> None:
    history = SampleHistory(2, 1, torch.device("cpu"))
    labels = torch.tensor([[[[1, VOID]], [[VOID, VOID]]], [[[VOID, VOID]], [[VOID, VOID]]]], dtype=torch.uint8)
    history.record(0, torch.tensor([0, 1]), labels, torch.tensor([0.2, 0.8]).log().view(1, 1, 2, 1, 1).expand(2, 2, 2, 1, 2))
    assert history.values[0, 0].item() == pytest.approx(0.8) and math.isnan(history.values[0, 1].item())


@pytest.mark.parametrize("setting", METHODS)
def test_a_mask_that_is_void_throughout_is_no_suspect(setting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, _, then = setting.partition(":")
    case = tiny_masks(tasks=2)
    labels = case[0].labels.clone()
    labels[3], labels[4, 1] = VOID, VOID  # an image, and one of the two masks of another
    data = TrainingData(case[0].images, labels, 2, case[0].class_names, case[0].tasks)
    kinds = {} if not then else {"level": then} if name == "seg_coteaching" else {"then": then}
    done = tiny_run(Registry().load("method", name), masks=(data, case[1]), **kinds)
    quality = done.method.label_quality()
    assert torch.isfinite(quality).all()
    assert all(math.isfinite(value) for value in done.method.diagnostics().values())
    mine = getattr(done.method, "mask_quality", getattr(done.method, "quality", None))  # what it has of each mask
    if mine is not None:
        assert torch.isnan(mine).nonzero().tolist() == [[3, 0], [3, 1], [4, 1]]
        assert quality[4].item() == pytest.approx(mine[4, 0].item())
    if then == "images":
        assert not done.method.suspects()[3] and not done.method.left_out[4, 1]
    monkeypatch.setattr(done.run, "final_probabilities", lambda: done.probabilities)
    found = task_of("segmentation").judgements(done.method, data, done.run)
    assert np.isfinite(found["train_quality"]).all() and not found["train_suspect"][3]
    assert found["train_quality"].argmax() == 3 and (found["train_quality"] == found["train_quality"][3]).sum() == 1


def test_the_mixture_does_not_see_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four images without a label have 1; with them in the mixture all others would be suspects."""
    case = tiny_masks()
    labels = case[0].labels.clone()
    labels[:4] = VOID
    data = TrainingData(case[0].images, labels, 2, case[0].class_names, case[0].tasks)
    done = tiny_run(Registry().load("method", "seg_ce"), masks=(data, case[1]))
    quality = torch.cat([torch.zeros(4), torch.linspace(0.1, 0.12, 5), torch.linspace(7.0, 7.1, 15)])
    monkeypatch.setattr(done.method, "label_quality", lambda: quality)
    monkeypatch.setattr(done.run, "final_probabilities", lambda: done.probabilities)
    found = task_of("segmentation").judgements(done.method, data, done.run)
    assert found["train_suspect"].tolist() == [False] * 4 + [True] * 5 + [False] * 15
    assert (found["train_quality"][:4] == np.nextafter(np.float32(7.1), np.float32(8))).all()  # just above the highest


@pytest.mark.parametrize("method", ["seg_ce", "seg_cleanlab:then=images"])
def test_a_run_with_void_masks_in_every_part_is_scored(tmp_path: Path, method: str) -> None:
    found, table, arrays = result(tmp_path, method, noise="mask:alpha=0.5:beta=2")
    metrics = found["metrics"]
    dice = [metrics["selected"][f"dice/{organ}"] for organ in ("left", "right")]
    predicted = arrays["test_selected"].argmax(axis=2)
    assert (arrays["test_labels"][0] == VOID).all() and predicted.shape == (10, 2, 16, 16)
    for task, first in ((0, 1), (1, 2)):
        ours, theirs = predicted[first:, task] == 1, arrays["test_labels"][first:, task] == 1
        shared, total = (ours & theirs).sum(axis=(1, 2)), ours.sum(axis=(1, 2)) + theirs.sum(axis=(1, 2))
        assert dice[task] == pytest.approx((2 * shared / total).mean())
    empty = table[table["index"] == 0].iloc[0]
    assert empty["quality"] == table["quality"].max() and not empty["suspect"]
    assert np.isnan(empty[["dice_of_given", "wrong_pixels", "flagged_pixels"]].astype(float)).all()
    assert table[table["index"] != 0].notna().all(axis=None)
    assert metrics["detection"]["recall"] is not None and metrics["ranking"]["random_average_precision"] is not None


# ----------------------------------------------------------------------------------------------------- the truth unknown


def test_of_masks_that_nobody_has_checked_no_error_is_reported(tmp_path: Path) -> None:
    found, table, arrays = result(tmp_path, "seg_cl")
    assert not arrays["truth_known"]
    metrics = found["metrics"]
    assert {name for name, value in metrics["detection"].items() if value is not None} == {"flagged"}
    assert {value for group in ("ranking", "correction") for value in metrics[group].values()} == {None}
    assert metrics["selected"]["dice"] is not None and metrics["validation"]["dice"] is not None
    assert table[["wrong_pixels", "dice_of_given"]].isna().all(axis=None) and table["quality"].notna().all()


def test_with_a_reference_they_are_checked_and_void_in_them_is_no_error(tmp_path: Path) -> None:
    found, table, arrays = result(tmp_path, "seg_ce", "mine:reference=true", "human")
    assert "truth_known" not in arrays and (arrays["train_given"] == VOID).any() and not (arrays["train_true"] == VOID).any()
    assert (found["noise"]["realised_rate"], found["noise"]["masks_changed"], found["noise"]["emptied"]) == (0, 0, 0)
    known = table[table["index"] != 0]
    assert (known["dice_of_given"] == 1).all() and (known["wrong_pixels"] == 0).all()
    assert found["metrics"]["detection"]["precision"] in (0, None)  # whatever is flagged is right


def test_of_classes_that_nobody_has_checked_no_error_is_reported(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "mine.npz", images=rng.integers(0, 256, (60, 8, 8), dtype=np.uint8), labels=np.arange(60) % 3)
    kinds = {"methods": "disc", "datasets": f"npz:{tmp_path / 'mine.npz'}", "noise": "none"}
    plan = protocol("quick", {"epochs": 2})
    settings = {kind: parse_settings(text, what=kind) for kind, text in kinds.items()}
    (spec,) = expand(Registry(), **settings, seeds=[0], protocol=plan, data_root=tmp_path)
    key = RunStore(tmp_path / "runs").register(spec)
    outcome = worker.execute(key, WorkerOptions(tmp_path / "runs", device="cpu", threads=1, data_root=tmp_path), lambda event: None)
    assert (outcome.status, outcome.message) == ("done", "")
    metrics = json.loads((tmp_path / "runs" / key / "result.json").read_text())["metrics"]
    assert set(metrics["clean_kept"].values()) == {None}
    assert {name for name, value in metrics["detection"].items() if value is not None} == {"flagged"}
    assert metrics["selected"]["accuracy"] is not None
