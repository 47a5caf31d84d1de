from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmark.errors import BenchmarkError
from benchmark.segmentation.layouts import jsrt_layout, load_masks, masks_layout

GREY = np.arange(48, dtype=np.uint8).reshape(6, 8)
MASK = np.zeros((6, 8), dtype=np.uint8)
MASK[2:4, 3:6] = 1


def save(file: Path, pixels: np.ndarray) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix == ".npz":
        np.savez(file, pixels)
    else:
        Image.fromarray(pixels).save(file)
    return file


@pytest.fixture
def jsrt(tmp_path: Path) -> Path:
    for part, names in (("training", ("JPCLN002", "JPCLN001")), ("validation", ("JPCNN003",))):
        for name in names:
            save(tmp_path / f"clean-data/{part}/images/{name}.png", GREY)
            for k, organ in enumerate(("lung", "heart", "clavicle")):
                save(tmp_path / f"clean-data/{part}/{organ}/{name}.png", np.roll(MASK, k, axis=1) * np.uint8(255))
    return tmp_path


@pytest.fixture
def own(tmp_path: Path) -> Path:
    for name in ("b", "a"):
        save(tmp_path / f"images/{name}.png", GREY + (name == "b"))
        save(tmp_path / f"masks/{name}.png", MASK * np.uint8(255))
    return tmp_path


def test_jsrt_tasks_parts_and_order(jsrt: Path) -> None:
    for path in (jsrt, jsrt / "clean-data"):
        found = load_masks(jsrt_layout(path))
        assert found.images.shape == (3, 6, 8, 1) and found.labels.shape == (3, 3, 6, 8)
        assert found.paths == ("JPCLN001", "JPCLN002", "JPCNN003") and found.tasks == ("lung", "heart", "clavicle")
        assert found.split is not None and found.split.tolist() == [0, 0, 2]  # what it calls validation is the test part
        assert found.groups is not None and found.groups.tolist() == [0, 1, 2]
        assert np.array_equal(found.labels[0], np.stack([np.roll(MASK, k, axis=1) for k in range(3)]))


def test_jsrt_masks_are_cut_at_the_half(jsrt: Path) -> None:
    smoothed = np.array([[0, 126, 127, 128, 254, 255, 1, 200]] * 6, dtype=np.uint8)
    save(jsrt / "clean-data/training/heart/JPCLN001.png", smoothed)
    assert load_masks(jsrt_layout(jsrt)).labels[0, 1, 0].tolist() == [0, 0, 0, 1, 1, 1, 0, 1]


def test_a_parent_folder_called_images_does_no_harm(jsrt: Path, tmp_path: Path) -> None:
    jsrt.joinpath("clean-data").rename(tmp_path / "images")
    assert len(load_masks(jsrt_layout(tmp_path / "images"))) == 3


def test_jsrt_without_a_folder(jsrt: Path) -> None:
    (jsrt / "clean-data/validation/heart/JPCNN003.png").unlink()
    (jsrt / "clean-data/validation/heart").rmdir()
    with pytest.raises(BenchmarkError, match=r"not laid out as expected.*validation/heart"):
        jsrt_layout(jsrt)


def test_own_masks_of_0_and_255(own: Path) -> None:
    found = load_masks(masks_layout(own))
    assert found.paths == ("a", "b") and found.tasks == ("mask",) and found.classes == ("background", "object")
    assert found.images[0, 0, 0, 0] == 0 and found.images[1, 0, 0, 0] == 1
    assert np.array_equal(found.labels, np.stack([[MASK]] * 2)) and found.labels.dtype == np.uint8
    assert found.split is None and found.groups is None


@pytest.mark.parametrize("suffix", ["png", "tif", "npz"])
def test_class_ids_with_void_in_any_format(own: Path, suffix: str) -> None:
    ids = np.where(GREY % 5 == 4, 255, GREY % 3).astype(np.uint8)
    (own / "masks/a.png").unlink()
    save(own / f"masks/a.{suffix}", ids)
    save(own / "masks/b.png", MASK)
    for classes in ((), ("background", "gland", "stroma")):
        found = load_masks(masks_layout(own, classes))
        assert np.array_equal(found.labels[0, 0], ids) and np.array_equal(found.labels[1, 0], MASK)
        assert found.classes == (classes or ("background", "class 1", "class 2"))


def test_palettes_sixteen_bits_and_grey_in_rgb_are_read_as_values(own: Path) -> None:
    palette = Image.fromarray(MASK * np.uint8(2), mode="L").convert("P")
    palette.putdata((MASK * 2).reshape(-1).tolist())
    palette.putpalette([9, 8, 7, 200, 0, 0, 0, 200, 0])
    palette.save(own / "masks/a.png")
    save(own / "masks/b.png", MASK.astype(np.uint16))
    assert load_masks(masks_layout(own)).labels.max(axis=(1, 2, 3)).tolist() == [2, 1]
    save(own / "masks/a.png", np.repeat(MASK[:, :, None], 3, axis=2))
    assert np.array_equal(load_masks(masks_layout(own)).labels[0, 0], MASK)


def test_jpeg_masks_have_two_values(own: Path) -> None:
    large = np.kron(MASK, np.ones((16, 16), dtype=np.uint8))
    (own / "masks/a.png").unlink()
    for name in ("a", "b"):
        save(own / f"images/{name}.png", np.kron(GREY, np.ones((16, 16), dtype=np.uint8)))
        save(own / f"masks/{name}.{'jpg' if name == 'a' else 'png'}", large * np.uint8(255))
    assert np.array_equal(load_masks(masks_layout(own)).labels[0, 0], large)
    save(own / "masks/a.jpg", large * np.uint8(128))
    with pytest.raises(BenchmarkError, match=r"a\.jpg cannot be read: JPEG smears class ids; save masks as PNG"):
        load_masks(masks_layout(own))


def test_one_folder_a_class_gives_overlapping_tasks(own: Path) -> None:
    for name in ("a", "b"):
        (own / f"masks/{name}.png").rename(own / f"{name}.png")
        save(own / f"masks/organ/{name}.png", MASK)
        save(own / f"masks/lesion/{name}.png", np.roll(MASK, 1, axis=0) * np.uint8(255))
    found = load_masks(masks_layout(own))
    assert found.tasks == ("lesion", "organ") and found.classes == ("background", "object")
    assert np.array_equal(found.labels[0], np.stack([np.roll(MASK, 1, axis=0), MASK]))


def test_groups(own: Path) -> None:
    (own / "groups.csv").write_text("name,group\nb.png,p1\na,p2\n")
    assert load_masks(masks_layout(own)).groups.tolist() == [1, 0]
    for text, message in (
        ("name,group\na,p1\n", "groups.csv gives no group for b"),
        ("name,group\na,p1\nb,p1\nc,p1\n", "line 4: there is no image called 'c'"),
        ("name,group\na,p1\na.png,p1\n", "line 3: 'a.png' occurs twice"),
        ("name\na\n", "lacks the column group"),
    ):
        (own / "groups.csv").write_text(text)
        with pytest.raises(BenchmarkError, match=message):
            masks_layout(own)


def test_resizing_keeps_masks_sharp_and_in_place(own: Path) -> None:
    half = np.zeros((40, 40), dtype=np.uint8)
    half[:, 20:] = 255
    for name in ("a", "b"):
        save(own / f"images/{name}.png", half)
        save(own / f"masks/{name}.png", half)
    save(own / "images/b.png", np.kron(half, np.ones((1, 2), dtype=np.uint8)))  # 80 wide: the centre is cut out
    save(own / "masks/b.png", np.kron(half, np.ones((1, 2), dtype=np.uint8)))
    found = load_masks(masks_layout(own), 8)
    assert found.labels.shape == (2, 1, 8, 8) and set(np.unique(found.labels)) == {0, 1}
    assert (found.labels == (np.arange(8) >= 4)).all()
    assert ((found.images[:, :, :, 0] > 127) == (np.arange(8) >= 4)).all()
    with pytest.raises(BenchmarkError, match=r"images differ in size \(images/a.png is 40×40, images/b.png is 80×40 pixels\)"):
        load_masks(masks_layout(own))


def test_colour_anywhere_makes_three_channels(own: Path) -> None:
    save(own / "images/a.png", np.repeat(GREY[:, :, None], 3, axis=2))
    found = load_masks(masks_layout(own))
    assert found.images.shape == (2, 6, 8, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda own: save(own / "masks/a.png", MASK[:5]),
            r"images/a.png is 8×6 pixels and its mask masks/a.png is 8×5; they must be equal",
        ),
        (lambda own: save(own / "masks/c.png", MASK), r"masks/c.png has no image: .*images holds no file of that name"),
        (lambda own: (own / "masks/b.png").unlink(), r"images/b.png has no mask: .*masks holds no file of that name"),
        (lambda own: save(own / "masks/b.png", MASK * np.uint8(128)), r"unexpected values: 0, 128, 255; the first is 128 in masks/b.png"),
        (lambda own: save(own / "masks/b.png", GREY * 2), r"0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22 … \(49 values\)"),
        (lambda own: (own / "masks/b.png").write_bytes(b"no image"), r"masks/b.png cannot be read: cannot identify image file"),
        (lambda own: (own / "images/b.png").write_bytes(b""), r"images/b.png cannot be read: the file is empty"),
        (lambda own: save(own / "masks/b.png", np.dstack([MASK, MASK * 0, MASK])), "masks/b.png cannot be read: the mask is in colour"),
        (lambda own: save(own / "images/b.tif", GREY), r"holds two files called b \(b.png and b.tif\)"),
        (lambda own: save(own / "masks/x/b.png", MASK), r"holds both folders \(x\) and masks \(a\)"),
        (lambda own: [save(own / f"masks/{name}.png", MASK * 0) for name in "ab"], "show no foreground anywhere"),
        (lambda own: [(own / f"{kind}/{name}.png").unlink() for kind in ("images", "masks") for name in "ab"], "images holds no images"),
    ],
)
def test_what_does_not_fit_gives_one_line(own: Path, change, message: str) -> None:
    change(own)
    with pytest.raises(BenchmarkError, match=message) as raised:
        load_masks(masks_layout(own))
    assert "\n" not in str(raised.value)


def test_named_classes_bound_the_ids(own: Path) -> None:
    save(own / "masks/a.png", MASK * np.uint8(3))
    save(own / "masks/b.png", MASK)
    with pytest.raises(BenchmarkError, match=r"unexpected values: 0, 1, 3; the first is 3 in masks/a.png; .*from 0 to 2"):
        load_masks(masks_layout(own, ("background", "gland", "stroma")))


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match=r"it should hold images/NAME.png and masks/NAME.png"):
        masks_layout(tmp_path / "nothing")


@pytest.mark.parametrize("kind", ["images", "masks"])
def test_links_out_of_the_folder_are_refused(own: Path, tmp_path_factory: pytest.TempPathFactory, kind: str) -> None:
    outside = save(tmp_path_factory.mktemp("outside") / "a.png", MASK)
    (own / kind / "a.png").unlink()
    (own / kind / "a.png").symlink_to(outside)
    with pytest.raises(BenchmarkError, match=rf"{kind}/a.png leads out of"):
        masks_layout(own)
    (own / kind).rename(own / "other")
    (own / kind).symlink_to(outside.parent)
    with pytest.raises(BenchmarkError, match=rf"{kind} leads out of"):
        masks_layout(own)


def test_an_archive_with_a_pickle_is_not_opened(own: Path) -> None:
    (own / "masks/a.png").unlink()
    np.savez(own / "masks/a.npz", np.array([{"x": 1}], dtype=object))
    with pytest.raises(BenchmarkError, match=r"a.npz cannot be read: Object arrays cannot be loaded"):
        load_masks(masks_layout(own))


def test_the_fingerprint_follows_files_and_groups(own: Path) -> None:
    first = masks_layout(own).fingerprint()
    assert masks_layout(own).fingerprint() == first
    (own / "groups.csv").write_text("name,group\na,1\nb,1\n")
    grouped = masks_layout(own).fingerprint()
    save(own / "masks/a.png", np.zeros((60, 80), dtype=np.uint8))
    assert len({first, grouped, masks_layout(own).fingerprint()}) == 3
