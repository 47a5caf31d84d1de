import json

import numpy as np
import pytest

from benchmark.errors import BenchmarkError
from benchmark.segmentation import VOID
from benchmark.segmentation.mask_noise import UNTOUCHED, corrupt, generators
from benchmark.segmentation.mask_operations import dilate

SIZE = 64


def ellipse(a: float, b: float, row: int = 32, column: int = 32) -> np.ndarray:
    y, x = np.mgrid[:SIZE, :SIZE]
    return ((x - column) / a) ** 2 + ((y - row) / b) ** 2 <= 1


def discs(n: int, *radii: float) -> np.ndarray:
    """(n, T, H, W): one task a radius."""
    return np.stack([np.stack([ellipse(radius, radius) for radius in radii])] * n).astype(np.uint8)


def rng_of(n: int, tasks: int = 1, seed: int = 0):
    return generators(seed, [f"image{row}" for row in range(n)], [f"task{task}" for task in range(tasks)])


def test_the_share_is_exact_and_kinds_are_even() -> None:
    labels = discs(197, 9)
    before = labels.copy()
    for alpha, count in ((0, 0), (0.3, 59), (0.5, 98), (0.7, 137), (1, 197)):
        noisy, record = corrupt(labels, alpha, 3, rng_of=rng_of(197))
        assert record.tasks[0].corrupted == (record.kinds != UNTOUCHED).sum() == count
        touched = (noisy != labels).any(axis=(1, 2, 3))
        assert not touched[record.kinds[:, 0] == UNTOUCHED].any() and touched.sum() >= count - 1
    assert record.tasks[0].kinds.keys() == {"dilate", "erode", "edge"}
    assert min(record.tasks[0].kinds.values()) > 45  # 197 / 3 is 66, with a deviation of 7
    assert np.array_equal(labels, before)
    _, record = corrupt(discs(100, 9), 0.29, 3, rng_of=rng_of(100))
    assert record.tasks[0].corrupted == 29  # although 0.29 * 100 < 29 in floating point


def test_the_noise_of_an_image_depends_on_its_name_alone() -> None:
    labels = discs(12, 9, 14)
    whole, _ = corrupt(labels, 1, 4, rng_of=rng_of(12, 2))
    again, _ = corrupt(labels, 1, 4, rng_of=rng_of(12, 2))
    other, _ = corrupt(labels, 1, 4, rng_of=rng_of(12, 2, seed=1))
    assert np.array_equal(whole, again) and not np.array_equal(whole, other)
    chosen = [7, 2, 11]
    some, _ = corrupt(labels[chosen], 1, 4, rng_of=generators(0, [f"image{row}" for row in chosen], ["task0", "task1"]))
    assert np.array_equal(some, whole[chosen])
    half, record = corrupt(labels, 0.5, 4, rng_of=rng_of(12, 2))  # less noise is part of more noise
    drawn = record.kinds != UNTOUCHED
    assert np.array_equal(half[drawn], whole[drawn]) and np.array_equal(half[~drawn], labels[~drawn])
    assert (drawn[:, 0] != drawn[:, 1]).any()  # tasks draw on their own


def test_the_record_of_a_hand_made_dilation() -> None:
    labels = np.zeros((2, 1, 8, 8), dtype=np.uint8)
    labels[:, 0, 3, 3] = 1
    noisy, record = corrupt(labels, 0.5, 1, ["dilate"], rng_of=rng_of(2))
    task = record.tasks[0]
    assert noisy.sum() == 1 + 5
    assert task.dice == pytest.approx(2 * 1 / (1 + 5))
    assert task.pixel_error_rate == pytest.approx(4 / 128)
    assert (task.masks, task.corrupted, task.emptied, task.objectless, task.radius) == (2, 1, 0, 0, "1")
    assert sorted(record.dice[:, 0].tolist()) == pytest.approx([1 / 3, 1])
    assert json.loads(json.dumps(record.summary()))["tasks"][0]["kinds"] == {"dilate": 1}


def test_erosion_empties_small_objects_and_says_so() -> None:
    noisy, record = corrupt(discs(10, 20, 5), 1, 6, ["erode"], rng_of=rng_of(10, 2))
    assert [task.emptied for task in record.tasks] == [0, 10] and noisy[:, 1].sum() == 0
    assert record.tasks[1].dice == 0.0 and record.emptied[:, 1].all()


@pytest.mark.parametrize("kind", ["dilate", "erode", "edge", "translate", "elastic"])
def test_dice_falls_with_beta(kind: str) -> None:
    labels = np.stack([np.stack([ellipse(12, 20)])] * 8).astype(np.uint8)
    dice = [corrupt(labels, 1, beta, [kind], rng_of=rng_of(8))[1].tasks[0].dice for beta in (0, 2, 4, 8)]
    assert dice[0] == 1.0 and (np.diff(dice) < 0).all() and dice[3] < 0.95


def test_the_table_of_measured_strengths() -> None:
    """Ellipses of the sizes of a heart and of two clavicles at 256 px; the values were measured on people's masks."""
    y, x = np.mgrid[:256, :256]
    heart = ((x - 128) / 45) ** 2 + ((y - 128) / 38) ** 2 <= 1
    clavicles = (np.abs(np.abs(x - 128) - 60) / 32) ** 2 + ((y - 50) / 6.5) ** 2 <= 1
    labels = np.stack([np.stack([heart, clavicles])] * 3).astype(np.uint8)
    expected = {"dilate": (0.721, 0.631), "erode": (0.601, 0.215), "edge": (0.740, 0.719)}
    for kind, values in expected.items():
        _, record = corrupt(labels, 1, (14, 5), [kind], rng_of=rng_of(3, 2))
        assert [task.dice for task in record.tasks] == pytest.approx(values, abs=0.04)
    _, record = corrupt(labels, 1, (20, 10), ["erode"], rng_of=rng_of(3, 2))
    assert [task.emptied for task in record.tasks] == [0, 3] and record.tasks[0].dice == pytest.approx(0.399, abs=0.03)


def test_one_radius_a_task_and_relative_radii() -> None:
    labels = discs(1, 10, 10)
    noisy, _ = corrupt(labels, 1, ("2", "rel0.5"), ["dilate"], rng_of=rng_of(1, 2))
    assert np.array_equal(noisy[0, 0] == 1, dilate(labels[0, 0] == 1, 2))
    assert np.array_equal(noisy[0, 1] == 1, dilate(labels[0, 1] == 1, round(0.5 * np.sqrt(labels[0, 1].sum()))))


def test_classes_are_laid_over_each_other_and_void_stays() -> None:
    labels = np.zeros((1, 1, 9, 20), dtype=np.uint8)
    labels[0, 0, 2:7, 2:6], labels[0, 0, 2:7, 8:12] = 1, 2
    labels[0, 0, 0] = VOID
    noisy, _ = corrupt(labels, 1, 2, ["dilate"], rng_of=rng_of(1))
    assert noisy[0, 0, 4].tolist() == [1] * 6 + [2] * 8 + [0] * 6  # both reach columns 6 and 7: the later class wins
    assert (noisy[0, 0, 0] == VOID).all() and (noisy[0, 0, 1, 2:6] == 1).all()
    noisy, record = corrupt(labels, 1, 1, ["erode"], rng_of=rng_of(1))
    assert noisy[0, 0, 4].tolist() == [0] * 3 + [1] * 2 + [0] * 4 + [2] * 2 + [0] * 9
    assert record.tasks[0].dice == pytest.approx(2 * 6 / (20 + 6))
    assert record.tasks[0].pixel_error_rate == pytest.approx(2 * 14 / (8 * 20))


def test_masks_without_an_object_stay_and_do_not_count_as_a_dice_of_one() -> None:
    labels = np.concatenate([discs(2, 6), np.zeros((2, 1, SIZE, SIZE), np.uint8)])
    noisy, record = corrupt(labels, 1, 3, ["erode"], rng_of=rng_of(4))
    task = record.tasks[0]
    assert task.objectless == 2 and task.dice is not None and task.dice < 1 and not noisy[2:].any() and task.emptied == 0
    _, record = corrupt(labels[2:], 1, 3, rng_of=rng_of(2))
    assert record.tasks[0].dice is None and record.tasks[0].pixel_error_rate == 0
    _, record = corrupt(np.full((1, 1, 4, 4), VOID, np.uint8), 1, 3, rng_of=rng_of(1))
    assert record.tasks[0].pixel_error_rate is None


def test_bad_input_gives_one_line() -> None:
    labels = discs(1, 5)
    cases = [
        ({"alpha": 1.5}, "alpha is the share of masks that are noisy, in \\[0, 1\\]; not 1.5"),
        ({"beta": (1, 2)}, "beta gives 2 radii for 1 tasks"),
        ({"beta": "wide"}, "not 'wide'"),
        ({"kinds": ["dilat"]}, "unknown kind of mask noise 'dilat'; did you mean 'dilate'"),
        ({"kinds": []}, "at least one kind"),
        ({"labels": labels[0]}, "masks must be \\(n, T, H, W\\) uint8 class ids, not \\(1, 64, 64\\) uint8"),
        ({"labels": labels.astype(np.int64)}, "int64"),
    ]
    for change, message in cases:
        arguments = {"labels": labels, "alpha": 1.0, "beta": 2, "kinds": ["erode"], "rng_of": rng_of(1), **change}
        with pytest.raises(BenchmarkError, match=message) as raised:
            corrupt(**arguments)
        assert "\n" not in str(raised.value)
