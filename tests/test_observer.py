"""The observer: what it selects, keeps, writes and restores."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmark.files import read_lines
from benchmark.observer import RunObserver
from benchmark.tasks import task_of
from benchmark.training.history import SampleHistory

TEST, VAL = torch.zeros(4, 1, 1, 1, dtype=torch.uint8), torch.zeros(2, 1, 1, 1, dtype=torch.uint8)
LABELS = {"test": np.array([0, 1, 0, 1]), "val": np.array([0, 1])}


def observer(folder: Path, *, last_k: int = 2, epochs: int = 4, tick: Callable[[dict[str, Any]], None] = lambda line: None) -> RunObserver:
    wrong = torch.tensor([True, False, False])
    history = SampleHistory(3, epochs, torch.device("cpu"))
    history.values[0] = torch.tensor([0.2, 0.6, 1.0])
    return RunObserver(
        folder / "history.jsonl", {"val": VAL, "test": TEST}, LABELS, wrong, history, last_k, tick, task_of("classification")
    )


def forecasts(test: list[float], val: list[float], **more: list[float]) -> Callable[[Tensor], dict[str, Tensor]]:
    """Probabilities of class 1, by part; ``more`` are auxiliary predictors on the test part."""

    def both(ones: list[float]) -> Tensor:
        return torch.stack([1 - torch.tensor(ones), torch.tensor(ones)], dim=1)

    def predict(images: Tensor) -> dict[str, Tensor]:
        if images.shape[0] == 4:
            return {"": both(test), **{name: both(values) for name, values in more.items()}}
        return {"": both(val), **{name: both(val) for name in more}}

    return predict


def line(epoch: int) -> dict[str, Any]:
    return {"stage": "train", "epoch": epoch, "epochs": 4, "loss": 0.5, "seconds": 0.1}


GOOD, HALF, BAD = [0.1, 0.9, 0.1, 0.9], [0.1, 0.9, 0.9, 0.1], [0.9, 0.1, 0.9, 0.1]


def test_a_line_has_accuracies_and_the_fit_to_labels(tmp_path: Path) -> None:
    seen: list[dict[str, Any]] = []
    watch = observer(tmp_path, tick=seen.append)
    watch.after_epoch(line(0), forecasts(HALF, [0.25, 0.25], one=GOOD))
    watch.after_epoch({**line(0), "stage": "warm"}, None)
    rows = read_lines(tmp_path / "history.jsonl")
    assert rows == watch.lines == seen
    row = rows[0]
    assert row["test_accuracy"] == 0.5 and row["val_accuracy"] == 0.5 and row["test_accuracy_one"] == 1.0
    assert row["val_nll"] == pytest.approx(-(np.log(0.75) + np.log(0.25)) / 2)
    assert row["fit_wrong"] == pytest.approx(0.2) and row["fit_right"] == pytest.approx(0.8)
    assert "test_accuracy" not in rows[1]


def test_gaps_are_null(tmp_path: Path) -> None:
    watch = observer(tmp_path, epochs=2)
    watch.after_epoch(line(1), forecasts(HALF, [0.5, float("nan")]))
    watch.after_epoch(line(2), forecasts(HALF, [0.5, 0.6]))  # a final stage of more epochs than the history has room for
    first, second = read_lines(tmp_path / "history.jsonl")
    assert first["fit_wrong"] is None and first["val_nll"] is None
    assert second["fit_wrong"] is None and second["val_nll"] is not None
    assert "NaN" not in (tmp_path / "history.jsonl").read_text()


def test_selection_is_by_noisy_validation_then_cross_entropy_then_time(tmp_path: Path) -> None:
    watch = observer(tmp_path)
    for epoch, (test, val) in enumerate([(BAD, [0.4, 0.6]), (GOOD, [0.6, 0.4]), (HALF, [0.3, 0.7]), (GOOD, [0.3, 0.7])]):
        watch.after_epoch(line(epoch), forecasts(test, val))
    arrays = watch.predictions()
    assert arrays["epoch_selected"] == 2  # as accurate as epoch 0 and surer; epoch 3 ties and comes later
    assert arrays["epoch_best"] == 1
    assert arrays["epochs_last_k"].tolist() == [2, 3]
    assert arrays["test_last_k"].shape == (2, 4, 2)
    assert arrays["test_last_k"][1, :, 1].tolist() == pytest.approx(GOOD)
    assert arrays["test_selected"][:, 1].tolist() == pytest.approx(HALF)
    assert arrays["val_selected"].shape == (2, 2)
    assert {name: array.dtype.kind for name, array in arrays.items() if name.startswith("epoch")} == dict.fromkeys(
        ("epoch_selected", "epoch_best", "epochs_last_k"), "i"
    )
    assert all(array.dtype == np.float32 for name, array in arrays.items() if not name.startswith("epoch"))


def test_a_forecast_that_is_not_finite_is_never_preferred(tmp_path: Path) -> None:
    watch = observer(tmp_path)
    watch.after_epoch(line(0), forecasts(BAD, [float("nan")] * 2))
    watch.after_epoch(line(1), forecasts(GOOD, [0.4, 0.6]))
    assert watch.predictions()["epoch_selected"] == 1


def test_auxiliary_predictions_are_those_of_the_last_epoch(tmp_path: Path) -> None:
    watch = observer(tmp_path)
    watch.after_epoch(line(0), forecasts(GOOD, [0.5, 0.5], one=BAD))
    watch.after_epoch(line(1), forecasts(GOOD, [0.5, 0.5], one=HALF))
    assert watch.predictions()["aux_one"][:, 1].tolist() == pytest.approx(HALF)


def test_no_evaluation_no_predictions(tmp_path: Path) -> None:
    watch = observer(tmp_path)
    watch.after_epoch(line(0), None)
    assert watch.predictions() == {}


def test_restoring_takes_back_the_lines_of_epochs_that_will_be_trained_again(tmp_path: Path) -> None:
    watch = observer(tmp_path)
    watch.after_epoch(line(0), forecasts(GOOD, [0.4, 0.6], one=BAD))
    torch.save(watch.state_dict(), tmp_path / "state.pt")
    watch.after_epoch(line(1), forecasts(BAD, [0.3, 0.7], one=BAD))
    with (tmp_path / "history.jsonl").open("a") as file:
        file.write('{"stage": "tra')  # a kill
    resumed = observer(tmp_path)
    resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert [row["epoch"] for row in read_lines(tmp_path / "history.jsonl")] == [0]
    resumed.after_epoch(line(1), forecasts(BAD, [0.3, 0.7], one=BAD))
    assert [row["epoch"] for row in read_lines(tmp_path / "history.jsonl")] == [0, 1]
    for name, array in watch.predictions().items():
        np.testing.assert_array_equal(resumed.predictions()[name], array, err_msg=name)


def test_a_half_written_line_does_not_spoil_the_next(tmp_path: Path) -> None:
    (tmp_path / "history.jsonl").write_text('{"epoch": 0}\n{"epo')
    observer(tmp_path).after_epoch(line(1), None)
    assert [row["epoch"] for row in read_lines(tmp_path / "history.jsonl")] == [0, 1]


# ------------------------------------------------------------------------------------------------------------- masks

MASKS = {
    "test": np.array([[[[0, 1], [1, 0]]], [[[0, 0], [0, 0]]], [[[1, 1], [1, 255]]]], dtype=np.uint8),
    "val": np.array([[[[0, 1], [1, 255]]]], dtype=np.uint8),
}


def mask_observer(folder: Path) -> RunObserver:
    """Three test images and one for validation, of one task of two classes and 2 × 2 pixels."""
    images = {part: torch.zeros(len(masks), 1, 2, 2, dtype=torch.uint8) for part, masks in MASKS.items()}
    history = SampleHistory(2, 3, torch.device("cpu"))
    wrong = torch.tensor([True, False])
    return RunObserver(folder / "history.jsonl", images, MASKS, wrong, history, 2, lambda line: None, task_of("segmentation"))


def seen(test: list[float], val: list[float], **more: list[float]) -> Callable[[Tensor], dict[str, Tensor]]:
    """The object's probability at each pixel, the same for every image of a part."""

    def forecast(ones: list[float], n: int) -> Tensor:
        of_one = torch.tensor(ones).view(1, 1, 1, 2, 2).expand(n, 1, 1, 2, 2)
        return torch.cat([1 - of_one, of_one], dim=2)

    def predict(images: Tensor) -> dict[str, Tensor]:
        n = images.shape[0]
        return {"": forecast(test if n == 3 else val, n)} | {name: forecast(values, n) for name, values in more.items()}

    return predict


DIAGONAL, TOP, EMPTY = [0.1, 0.9, 0.9, 0.1], [0.9, 0.9, 0.1, 0.1], [0.1, 0.1, 0.1, 0.1]


def test_masks_are_scored_by_dice_and_void_is_left_out(tmp_path: Path) -> None:
    watch = mask_observer(tmp_path)
    watch.after_epoch(line(0), seen(DIAGONAL, [0.1, 0.9, 0.6, 0.9], one=EMPTY))
    row = read_lines(tmp_path / "history.jsonl")[0]
    # right; an object where nothing is; two of three pixels, the void one apart
    assert row["test_dice"] == pytest.approx((1 + 0 + 2 * 2 / (2 + 3)) / 3)
    assert row["test_dice_one"] == pytest.approx((0 + 1 + 0) / 3)  # two empty masks agree
    assert row["val_dice"] == 1.0
    assert row["val_nll"] == pytest.approx(-(2 * np.log(0.9) + np.log(0.6)) / 3)
    assert not any("accuracy" in name for name in row)


def test_of_masks_only_the_selected_epoch_keeps_probabilities(tmp_path: Path) -> None:
    watch = mask_observer(tmp_path)
    watch.after_epoch(line(0), seen(TOP, [0.1, 0.6, 0.6, 0.1], one=TOP))
    watch.after_epoch(line(1), seen(DIAGONAL, EMPTY, one=EMPTY))
    watch.after_epoch(line(2), seen(EMPTY, [0.1, 0.9, 0.9, 0.1], one=DIAGONAL))
    found = watch.predictions()
    assert (found["epoch_selected"], found["epoch_best"], found["epochs_last_k"].tolist()) == (2, 1, [1, 2])  # 2 ties with 0 and is surer
    assert found["test_selected"].shape == (3, 1, 2, 2, 2) and found["test_selected"].dtype == np.float16
    assert found["val_selected"].shape == (1, 1, 2, 2, 2) and found["val_selected"].dtype == np.float16
    assert found["test_last_k"].shape == (2, 3, 1, 2, 2) and found["test_last_k"].dtype == np.uint8
    assert found["test_last_k"][:, 0, 0].tolist() == [[[0, 1], [1, 0]], [[0, 0], [0, 0]]]
    assert found["test_best"].dtype == found["aux_one"].dtype == np.uint8
    assert found["test_best"][0, 0].tolist() == found["aux_one"][2, 0].tolist() == [[0, 1], [1, 0]]


def test_masks_come_back_from_a_checkpoint(tmp_path: Path) -> None:
    watch = mask_observer(tmp_path)
    watch.after_epoch(line(0), seen(TOP, DIAGONAL, one=TOP))
    torch.save(watch.state_dict(), tmp_path / "state.pt")
    resumed = mask_observer(tmp_path)
    resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for each in (watch, resumed):
        each.after_epoch(line(1), seen(DIAGONAL, EMPTY, one=EMPTY))
    for name, array in watch.predictions().items():
        np.testing.assert_array_equal(resumed.predictions()[name], array, err_msg=name)
        assert resumed.predictions()[name].dtype == array.dtype


def test_a_validation_part_that_is_all_void_has_no_loss(tmp_path: Path) -> None:
    watch = mask_observer(tmp_path)
    watch._labels = {**MASKS, "val": np.full((1, 1, 2, 2), 255, dtype=np.uint8)}
    watch.after_epoch(line(0), seen(DIAGONAL, DIAGONAL))
    assert read_lines(tmp_path / "history.jsonl")[0]["val_nll"] is None and watch.predictions()["epoch_selected"] == 0
