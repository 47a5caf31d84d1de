from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmark.clean.audit import Audit, audit
from benchmark.clean.headers import file_notes
from benchmark.clean.prints import NEAR, look_alikes, print_distances, take_prints
from benchmark.data.rows import ImageRows


def pictures(n: int, size: int = 24, channels: int = 3, seed: int = 0) -> np.ndarray:
    """(n, size, size, channels) of soft random blots, no two alike."""
    small = np.random.default_rng(seed).integers(0, 256, (n, 8, 8, channels)).astype(np.uint8)
    return small.repeat(size // 8, axis=1).repeat(size // 8, axis=2)


def examined(images: np.ndarray, labels: list[int] | None = None, **more: object) -> Audit:
    given = np.zeros(len(images), dtype=np.int64) if labels is None else np.array(labels)
    return audit(images, given, ("a", "b"), **more)  # type: ignore[arg-type]


def noisy(image: np.ndarray) -> np.ndarray:
    return np.clip(image + np.random.default_rng(1).normal(0, 4, image.shape), 0, 255).astype(np.uint8)


def test_distinct_pictures_are_no_twins() -> None:
    found = examined(pictures(300))
    assert found.twins == () and found.n == 300 and found.classes == {"a": 300, "b": 0}


def test_equal_pixels_with_conflict_and_leak() -> None:
    images = pictures(20)
    images[7] = images[19] = images[2]
    images[5] = images[4]
    labels = [0] * 19 + [1]
    split = np.zeros(20, dtype=np.int8)
    split[5] = 2
    first, second = examined(images, labels, split=split).twins
    assert first.samples == (2, 7, 19) and first.exact and first.distance == 0 and first.conflict and not first.leak
    assert second.samples == (4, 5) and second.exact and not second.conflict and second.leak


def test_groups_leak_too() -> None:
    images = pictures(10)
    images[5] = images[4]
    groups = np.arange(10)
    assert examined(images, groups=groups).twins[0].leak
    groups[5] = 4
    assert not examined(images, groups=groups).twins[0].leak


@pytest.mark.parametrize("quarter_turns", [0, 1, 2, 3])
@pytest.mark.parametrize("mirror", [False, True])
def test_turned_noisy_copies_look_alike(quarter_turns: int, mirror: bool) -> None:
    images = pictures(40)
    copy = np.rot90(images[3][:, ::-1] if mirror else images[3], quarter_turns)
    images[30] = noisy(copy)
    (twins,) = examined(images, [0] * 30 + [1] * 10).twins
    assert twins.samples == (3, 30) and not twins.exact and twins.conflict and twins.distance <= NEAR


def test_pictures_that_are_not_square_are_mirrored_only() -> None:
    images = pictures(20)[:, :16]
    images[11] = noisy(images[3][::-1])
    images[12] = noisy(images[4][:, ::-1])
    assert [twins.samples for twins in examined(images).twins] == [(3, 11), (4, 12)]


def test_exact_symmetry_is_no_obstacle() -> None:
    half = pictures(1, channels=1)[0, :, :12]
    images = pictures(10, channels=1)
    images[2] = np.concatenate([half, half[:, ::-1]], axis=1)
    images[8] = np.clip(images[2].astype(int) * 0.9 + 5, 0, 255)
    (twins,) = examined(images).twins
    assert twins.samples == (2, 8) and twins.distance <= 1


def test_a_near_copy_joins_all_copies_of_what_it_resembles() -> None:
    images = pictures(20)
    images[9] = images[3]
    images[15] = noisy(images[3])
    exact, near = examined(images).twins
    assert (exact.samples, exact.exact) == ((3, 9), True) and (near.samples, near.exact) == ((3, 9, 15), False)


def test_same_print_without_correlation_is_no_twin() -> None:
    # The signs of the low frequencies agree, their sizes do not: one lives on a single frequency.
    y = np.cos(np.pi * (np.arange(32) + 0.5) / 32)
    stripes = np.tile(128 + 100 * y[:, None], (1, 32))
    checks = 128 + 20 * y[:, None] + 80 * np.cos(np.pi * 12 * (np.arange(32) + 0.5) / 32)  # 12 is beyond what a print holds
    images = np.stack([stripes, checks]).astype(np.uint8)[..., None]
    prints = take_prints(images, np.arange(2))
    assert print_distances(prints, 0, np.array([1]))[0] <= NEAR
    assert look_alikes(prints).tolist() == [0, 1]


def test_blank_pictures_need_equal_pixels() -> None:
    images = pictures(12)
    images[3:6] = np.random.default_rng(0).integers(240, 243, images[3:6].shape)
    images[6] = images[5]
    found = examined(images)
    assert [twins.samples for twins in found.twins] == [(5, 6)]
    assert "4 of 12 images are nearly blank: only equal pixels make copies of such" in found.notes


def test_nothing_but_blank_pictures() -> None:
    assert examined(np.arange(5, dtype=np.uint8)[:, None, None, None] * np.ones((1, 8, 8, 1), dtype=np.uint8)).twins == ()
    assert look_alikes(take_prints(np.zeros((3, 1, 1, 3), dtype=np.uint8), np.arange(3))).tolist() == [0, 1, 2]


def test_every_pair_within_reach_is_found() -> None:
    """The bands against all pairs."""
    rng = np.random.default_rng(3)
    moulds = pictures(10, channels=1).repeat(15, axis=0).astype(float)
    images = np.clip(moulds + rng.normal(0, 11, (150, 8, 8)).repeat(3, 1).repeat(3, 2)[..., None], 0, 255).astype(np.uint8)
    images[::7] = images[::7, ::-1].transpose(0, 2, 1, 3)
    prints = take_prints(images, np.arange(150))
    linked = np.eye(150, dtype=bool)
    for position in prints.positions:
        bits, turned = prints.bits(np.arange(150), prints.positions[0]), prints.bits(np.arange(150), position)
        near = (bits[:, None] != turned[None]).sum(axis=2) <= NEAR
        linked |= near & (np.einsum("nij,mij->nm", prints.detail, prints.laid(np.arange(150), position)) >= prints.alike)
    linked |= linked.T
    assert 300 < linked.sum() < 150 * 15  # some of the pairs of one mould are near enough
    for _ in range(8):
        linked = linked @ linked
    lowest = linked.argmax(axis=1)
    assert look_alikes(prints).tolist() == lowest.tolist()
    images[100:] = np.clip(images[:50].astype(float) + rng.normal(0, 3, images[:50].shape), 0, 255)
    group = look_alikes(take_prints(images, np.arange(150)))
    assert (group[100:] == group[:50]).all()


def test_memory_maps_rows_features_and_nothing(tmp_path: Path) -> None:
    images = pictures(10)
    images[9] = images[1]
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    assert [twins.samples for twins in examined(mapped).twins] == [(1, 9)]
    rows = ImageRows(mapped, np.array([9, 0, 1]))
    assert [twins.samples for twins in audit(rows, np.zeros(3, dtype=np.int64), ("a",)).twins] == [(0, 2)]
    features = np.array([[1.0, 2], [3, 4], [1, 2]], dtype=np.float32)
    assert [twins.samples for twins in examined(features).twins] == [(0, 2)]
    assert examined(images[:0]).twins == ()


def test_small_classes_and_what_was_told_before() -> None:
    found = examined(pictures(12), [0] * 10 + [1] * 2, unreadable={"x.png": "broken"}, notes=("told",))
    assert found.notes == ("told", "1 class has fewer than 10 samples: b (2); what is said of them rests on little")
    assert found.unreadable == {"x.png": "broken"}


def test_notes_of_files(tmp_path: Path) -> None:
    Image.new("RGBA", (4, 6), (1, 2, 3, 4)).save(tmp_path / "a.png")
    Image.fromarray(np.zeros((5, 4), dtype=np.uint16)).save(tmp_path / "b.png")
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.new("L", (4, 6)).save(tmp_path / "c.jpg", exif=exif)
    Image.new("L", (4, 6)).save(tmp_path / "d.tif", save_all=True, append_images=[Image.new("L", (4, 6), 1)])
    (tmp_path / "e.png").write_bytes(b"broken")
    notes = file_notes(tmp_path, ["a.png", "b.png", "c.jpg", "d.tif", "e.png"])
    assert notes[0] == "2 sizes, most often 4 × 6 (3 of 4): scaled, and the centre cut out"
    assert notes[1].startswith("several kinds of pixels: 2 grey, 1 RGB with transparency, 1 16-bit grey")
    assert [note.split()[:2] for note in notes[2:]] == [["1", "image"]] * 4
    assert file_notes(tmp_path, ["c.jpg"]) == ("1 image turned or mirrored as the file's EXIF orientation says",)
    assert file_notes(tmp_path, ["d.tif"])[0].endswith("more than one page or frame: the first one counts")
