"""What masks do with probabilities, by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from benchmark.api import TrainingData
from benchmark.conformance import tiny_masks
from benchmark.errors import BenchmarkError
from benchmark.segmentation.augment import JointAugmenter
from benchmark.spec import protocol
from benchmark.tasks import defaults_of, segmentation, task_of
from benchmark.tasks.segmentation import drawn_pixels, of_given

TASK = task_of("segmentation")
# one image, one task, three classes, a row of three pixels
FORECAST = torch.tensor([[0.5, 0.2, 0.0], [0.25, 0.7, 0.4], [0.25, 0.1, 0.6]]).view(1, 1, 3, 1, 3)


def test_the_given_label_has_a_probability_and_void_is_sure() -> None:
    given, known = of_given(FORECAST, torch.tensor([[[[0, 255, 2]]]], dtype=torch.uint8))
    assert given.flatten().tolist() == pytest.approx([0.5, 1.0, 0.6]) and known.flatten().tolist() == [True, False, True]


def test_the_loss_is_a_mean_over_known_pixels_and_has_a_bound() -> None:
    known = np.array([[[[0, 255, 2]]]], dtype=np.uint8)
    assert TASK.log_loss(FORECAST, known) == pytest.approx(-(np.log(0.5) + np.log(0.6)) / 2)
    never = np.array([[[[255, 255, 0]]]], dtype=np.uint8)
    assert TASK.log_loss(FORECAST, never) == pytest.approx(12 * np.log(10))
    assert np.isnan(TASK.log_loss(FORECAST, np.full((1, 1, 1, 3), 255, dtype=np.uint8)))


def test_the_score_is_the_mean_dice_of_the_objects() -> None:
    # most likely: 0, 1, 2; of class 1 nothing is right, of class 2 everything
    assert TASK.score(FORECAST, np.array([[[[1, 0, 2]]]], dtype=np.uint8)) == 0.5
    assert TASK.score(FORECAST, np.array([[[[0, 1, 2]]]], dtype=np.uint8)) == 1.0


def test_pixels_are_drawn_once_for_all_runs_of_a_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segmentation, "RANKED_PIXELS", 100)
    assert drawn_pixels(100).tolist() == list(range(100))
    first, again, other = drawn_pixels(1000), drawn_pixels(1000), drawn_pixels(1001)
    assert len(first) == len(set(first.tolist())) == 100 and first.max() < 1000 and (np.diff(first) > 0).all()
    assert first.tolist() == again.tolist() != other.tolist()


@pytest.mark.parametrize(("side", "images"), [(16, 64), (256, 8), (2048, 2)])
def test_large_images_are_evaluated_few_at_a_time(side: int, images: int) -> None:
    data = TrainingData(torch.zeros(1, 1, side, side, dtype=torch.uint8), torch.zeros(1, 1, 1, 1, dtype=torch.uint8), 2, ("a", "b"))
    assert TASK.evaluation_batch(data, torch.device("cpu")) == images


def test_images_and_masks_move_together() -> None:
    data, _ = tiny_masks(channels=1, tasks=2)
    weak, strong = TASK.augmenters(protocol("quick", {"augmentation": "flip", "normalize": "none"}, "segmentation"), (), data.images)
    assert isinstance(weak, JointAugmenter) and isinstance(strong, JointAugmenter)
    masks = (data.images > 90).to(torch.uint8)  # masks that follow from the image, so that any other move shows
    draws = weak.draw(data.n, torch.Generator().manual_seed(0))
    images, moved = weak.together(data.images, masks, draws)
    threshold = float(weak(torch.full((1, 1, 1, 1), 90, dtype=torch.uint8)))
    assert ((images > threshold + 1e-6) == (moved == 1)).all() and not torch.equal(moved, masks)


def test_batches_that_batch_norm_refuses_are_one_line_before_training() -> None:
    """Of 8 pixels a V-Net's deepest map has one, of 9 two."""

    def network(size: tuple[int, int], batch_size: int, images: int = 24) -> None:
        data, _ = tiny_masks(size=size)
        data = dataclasses.replace(data, images=data.images[:images], labels=data.labels[:images])
        settings = {**defaults_of("segmentation").protocols["quick"], "batch_size": batch_size}
        TASK.network(protocol("quick", settings), data, bf16=False)

    line = "in batches of one image this network needs images of at least 9 px"
    for batch_size, images in ((1, 24), (32, 1)):
        with pytest.raises(BenchmarkError, match=line):
            network((8, 8), batch_size, images)
        network((8, 9), batch_size, images)
    network((8, 8), 2)
    network((8, 8), 23)  # the last image joins the others
