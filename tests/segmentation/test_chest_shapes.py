import numpy as np
import pytest

from benchmark.errors import BenchmarkError
from benchmark.segmentation import chest_shapes as module
from benchmark.segmentation.arrays import MaskArrays
from benchmark.segmentation.chest_shapes import TASKS, chest_shapes


@pytest.fixture(scope="module")
def many() -> MaskArrays:
    return chest_shapes(60, 64)


def test_shapes_types_and_tasks(many: MaskArrays) -> None:
    assert many.images.shape == (60, 64, 64, 1) and many.images.dtype == np.uint8
    assert many.labels.shape == (60, 3, 64, 64) and many.labels.dtype == np.uint8 and set(np.unique(many.labels)) == {0, 1}
    assert many.tasks == TASKS and many.classes == ("background", "organ") and len(many) == 60


def test_organs_are_as_large_as_on_radiographs(many: MaskArrays) -> None:
    assert many.labels.mean(axis=(0, 2, 3)) == pytest.approx([0.307, 0.090, 0.020], rel=0.15)
    assert many.images.mean() / 255 == pytest.approx(0.59, rel=0.05)
    assert (many.labels.reshape(60, 3, -1).sum(axis=2) > 0).all()


def test_clavicles_overlap_lungs_and_the_heart_hardly_does(many: MaskArrays) -> None:
    lung, heart, clavicle = (many.labels[:, task] == 1 for task in range(3))
    assert 0.78 < (lung & clavicle).sum() / clavicle.sum() < 0.95
    assert 0.01 < (lung & heart).sum() / heart.sum() < 0.12


def test_organs_lie_where_they_should(many: MaskArrays) -> None:
    rows, columns = np.mgrid[:64, :64] / 64
    middle = {name: [(where * (many.labels[:, task] == 1)).sum() / (many.labels[:, task] == 1).sum() for where in (rows, columns)]
              for task, name in enumerate(TASKS)}  # fmt: skip
    assert middle["clavicle"][0] < middle["lung"][0] < middle["heart"][0]
    assert middle["heart"][1] > middle["lung"][1] + 0.02  # towards the patient's left


def test_brightness_alone_is_not_enough(many: MaskArrays) -> None:
    """The best threshold of grey, chosen with the truth at hand, stays far behind what shape and context allow."""
    grey = many.images[:30, :, :, 0].astype(int)
    for task, most in enumerate((0.93, 0.5, 0.2)):
        mask = many.labels[:30, task] == 1
        best = 0.0
        for level in range(20, 240, 10):
            for guess in (grey < level, grey >= level):
                best = max(best, 2 * (guess & mask).sum() / (guess.sum() + mask.sum()))
        assert best < most


def test_some_patients_have_two_images_which_resemble_each_other(many: MaskArrays) -> None:
    groups = many.groups
    assert groups is not None and groups.dtype == np.int64 and (np.diff(groups) >= 0).all()
    assert np.bincount(groups).tolist().count(2) == 10 and np.bincount(groups).max() == 2
    area = many.labels.mean(axis=(2, 3))
    area = area / area.std(axis=0)
    second = np.flatnonzero(np.diff(groups) == 0)
    assert np.abs(area[second] - area[second + 1]).mean() < 0.75 * np.abs(area[:, None] - area).mean()
    assert not np.array_equal(many.images[second[0]], many.images[second[0] + 1])


def test_repeats_in_any_chunks_and_another_seed_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    first = chest_shapes(7, 32)
    monkeypatch.setattr(module, "CHUNK_PIXELS", 2 * 32**2)
    again, other = chest_shapes(7, 32), chest_shapes(7, 32, seed=1)
    assert np.array_equal(first.images, again.images) and np.array_equal(first.labels, again.labels)
    assert not np.array_equal(first.labels, other.labels)


def test_the_same_bodies_at_any_size() -> None:
    small, large = chest_shapes(6, 32), chest_shapes(6, 64)
    halved = large.labels.reshape(6, 3, 32, 2, 32, 2).mean(axis=(3, 5)) > 0.5
    assert (halved != small.labels).mean() < 0.02


def test_a_single_image() -> None:
    assert len(chest_shapes(1, 16)) == 1


@pytest.mark.parametrize(("n", "size"), [(0, 64), (4, 8)])
def test_nothing_to_draw(n: int, size: int) -> None:
    with pytest.raises(BenchmarkError, match=f"chest_shapes needs at least 1 image of 16 px, not {n} of {size} px"):
        chest_shapes(n, size)
