"""Folders of images and masks: which files belong together, and all of them as arrays.

Two layouts. The one of the JSRT radiographs as Zhang et al. (2020) keep them, and one for a user's own folder:

    images/NAME.png  masks/NAME.png            one task; class ids, or 0 and 255
    images/NAME.png  masks/<class>/NAME.png    organs that overlap, one task each
    groups.csv                                 optional; name,group: patients or slides
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from benchmark.api import SPLITS
from benchmark.data.layouts import wrong_layout
from benchmark.data.listing import Listing, subfolders
from benchmark.data.tables import read_table
from benchmark.errors import BenchmarkError
from benchmark.segmentation import VOID
from benchmark.segmentation.arrays import MaskArrays
from benchmark.segmentation.mask_files import MASK_SUFFIXES, THRESHOLD, is_grey, read_image, read_mask

JSRT_TASKS = ("lung", "heart", "clavicle")
JSRT_PARTS = {"training": "train", "validation": "test"}
"""Folder → part. What is called validation there is what results are reported on: choosing epochs on it too would flatter
them, so it is the test part here, and a noisy validation part is split off the training part."""

MOST_CLASSES = 64
"""More ids than that without class names are grey values, not classes."""

MOST_LISTED = 12

Read = TypeVar("Read")


@dataclass(frozen=True)
class MaskListing:
    """n images with a mask for each of T tasks, as files.

    Attributes:
        base: the folder that all files lie in.
        names: n names without ending, sorted within each part.
        images: n paths relative to ``base``.
        masks: n tuples of T paths likewise.
        tasks: T names.
        classes: J names with the background first; empty: as many as the masks show.
        threshold: whether a mask's pixel is foreground where its value is above 127, whatever the values.
        splits: n of :data:`~benchmark.api.SPLITS`, or None.
        groups: n names of patients or slides, or None.
    """

    base: Path
    names: tuple[str, ...]
    images: tuple[str, ...]
    masks: tuple[tuple[str, ...], ...]
    tasks: tuple[str, ...]
    classes: tuple[str, ...] = ()
    threshold: bool = False
    splits: tuple[str, ...] | None = None
    groups: tuple[str, ...] | None = None

    def fingerprint(self) -> str:
        """Changes with any file's name, size or time, and with splits, groups and classes; opens no file."""
        files = [*self.images, *(name for row in self.masks for name in row)]
        listing = Listing(self.base, self.base, files, self.tasks, self.splits, self.groups, order=self.classes)
        return f"{listing.fingerprint()}-{listing.annotation_fingerprint()}"


def jsrt_layout(path: Path) -> MaskListing:
    """The radiographs and masks of Zhang et al.: ``clean-data/{training,validation}/{images,lung,heart,clavicle}/NAME.png``.

    Args:
        path: holds ``clean-data``, or is that folder.

    Returns:
        Three overlapping tasks. Each image is a patient of its own. Parts are kept, see :data:`JSRT_PARTS`.

    Raises:
        BenchmarkError: another layout, or an image without one of its masks or the other way round.
    """
    base = path / "clean-data" if (path / "clean-data").is_dir() else path
    names: list[str] = []
    files: list[str] = []
    found: list[tuple[str, ...]] = []
    parts: list[str] = []
    for folder, part in JSRT_PARTS.items():
        for kind in ("images", *JSRT_TASKS):
            if not (base / folder / kind).is_dir():
                raise wrong_layout(path, f"clean-data/{{training,validation}}/{{images,lung,heart,clavicle}}; {folder}/{kind} is missing")
        images = _files(base, base / folder / "images")
        masks = [_paired(base, images, base / folder / "images", base / folder / task) for task in JSRT_TASKS]
        names += images
        files += images.values()
        found += [tuple(mask[name] for mask in masks) for name in images]
        parts += [part] * len(images)
    return MaskListing(
        base, tuple(names), tuple(files), tuple(found), JSRT_TASKS, ("background", "organ"), True, tuple(parts), groups=tuple(names)
    )


def masks_layout(path: Path, classes: Sequence[str] = ()) -> MaskListing:
    """A user's own folder, laid out as the module says. Images and masks are png, jpg, tif … or npz with one array.

    Args:
        path: holds ``images`` and ``masks``.
        classes: names of the class ids 0, 1, … with the background first; by default as many as the masks show. With one folder
            a class, each is a task of its own and its masks hold 0 and 1 or 0 and 255.

    Raises:
        BenchmarkError: another layout, an image without its mask or the other way round, or a groups.csv that does not fit.
    """
    expected = "images/NAME.png and masks/NAME.png (class ids, or 0 and 255), or masks/<class>/NAME.png where classes overlap"
    for kind in ("images", "masks"):
        if not (path / kind).is_dir():
            raise wrong_layout(path, expected)
    images = _files(path, path / "images")
    if not images:
        raise BenchmarkError(f"{path / 'images'} holds no images")
    folders = list(subfolders(path / "masks"))
    loose = _files(path, path / "masks")
    if folders and loose:
        raise BenchmarkError(f"{path / 'masks'} holds both folders ({folders[0].name}) and masks ({next(iter(loose))}); keep one layout")
    if folders and classes:
        raise BenchmarkError(f"{path / 'masks'} holds one folder a class, each a task of two classes; leave classes out")
    masks = [_paired(path, images, path / "images", folder) for folder in folders or [path / "masks"]]
    names = tuple(images)
    return MaskListing(
        path,
        names,
        tuple(images.values()),
        tuple(tuple(mask[name] for mask in masks) for name in names),
        tuple(folder.name for folder in folders) or ("mask",),
        ("background", "object") if folders else tuple(classes),
        groups=_groups(path / "groups.csv", names) if (path / "groups.csv").exists() else None,
    )


def load_masks(listing: MaskListing, size: int = 0) -> MaskArrays:
    """Read all files.

    Args:
        listing: which.
        size: 0 keeps the images' own size, which must be the same for all; otherwise the shorter side is scaled to it and the
            centre cut out, images bilinear, masks nearest.

    Returns:
        images have one channel if all are grey, else three.

    Raises:
        BenchmarkError: a file that cannot be read, an image and a mask of different sizes, images of different sizes
            (without ``size``), values that are no class ids, or no foreground in any mask of a task.
    """
    if not listing.names:
        raise BenchmarkError(f"{listing.base} holds no images")
    grey = all(_told(listing.base / name, is_grey) for name in listing.images)
    images: list[np.ndarray] = []
    values: list[np.ndarray] = []
    seen: list[dict[int, str]] = [{} for _ in listing.tasks]
    for file, masks in zip(listing.images, listing.masks, strict=True):
        image = _told(listing.base / file, lambda source: read_image(source, grey))
        row = [_told(listing.base / mask, read_mask) for mask in masks]
        for task, (mask, found) in enumerate(zip(masks, row, strict=True)):
            if found.shape != image.shape[:2]:
                raise BenchmarkError(
                    f"{listing.base}: {file} is {_size(image)} pixels and its mask {mask} is {_size(found)}; they must be equal"
                )
            for value in np.flatnonzero(np.bincount(found.reshape(-1), minlength=256)).tolist():
                seen[task].setdefault(value, mask)
        if size:
            image, row = _fitted(image, size, smooth=True), [_fitted(mask, size, smooth=False) for mask in row]
        elif images and image.shape != images[0].shape:
            first = listing.images[0]
            raise BenchmarkError(
                f"{listing.base}: images differ in size ({first} is {_size(images[0])}, {file} is {_size(image)} pixels); set image_size"
            )
        images.append(image)
        values.append(np.stack(row))
    labels = np.stack(values)
    classes = listing.classes
    for task, name in enumerate(listing.tasks):
        where = f"{listing.base}: masks of {name}" if len(listing.tasks) > 1 else f"{listing.base}: masks"
        table, count = _ids(seen[task], listing, where)
        labels[:, task] = table[labels[:, task]]
        classes = classes or (("background", "object") if count == 2 else ("background", *(f"class {j}" for j in range(1, count))))
    return MaskArrays(
        np.stack(images),
        labels,
        listing.tasks,
        classes,
        split=None if listing.splits is None else np.array([SPLITS.index(part) for part in listing.splits], dtype=np.int8),
        groups=None if listing.groups is None else np.unique(listing.groups, return_inverse=True)[1].astype(np.int64),
        paths=listing.names,
    )


def _ids(seen: dict[int, str], listing: MaskListing, where: str) -> tuple[np.ndarray, int]:
    """What each of 256 stored values means as class id, and how many classes there are.

    Args:
        seen: value → the first mask that holds it.
        listing: its classes and whether values are cut at a threshold.
        where: for messages.
    """
    table = np.arange(256, dtype=np.uint8)
    if listing.threshold:
        table, count = (table > THRESHOLD).astype(np.uint8), 2
    elif seen.keys() <= {0, 255} and len(listing.classes) in (0, 2):
        table[255], count = 1, 2
    else:
        ids = sorted(seen.keys() - {VOID})
        count = len(listing.classes) or max(2, ids[-1] + 1 if ids else 0)
        strange = [j for j in ids if j >= count]
        if not listing.classes and (count > MOST_CLASSES or ids not in (list(range(count)), list(range(1, count)))):
            strange = [j for place, j in enumerate(ids) if j > place + (ids[0] == 1)] or ids[-1:]
        if strange:
            found = ", ".join(map(str, sorted(seen)[:MOST_LISTED])) + (f" … ({len(seen)} values)" if len(seen) > MOST_LISTED else "")
            raise BenchmarkError(
                f"{where} hold unexpected values: {found}; the first is {strange[0]} in {seen[strange[0]]}; "
                f"expected 0 and 255, or class ids from 0 to {len(listing.classes) - 1 if listing.classes else 'K-1'} with 255 for void"
            )
    if not any(0 < table[value] < count for value in seen):
        raise BenchmarkError(f"{where} show no foreground anywhere: every pixel is background{' or void' if VOID in seen else ''}")
    return table, count


def _told(file: Path, read: Callable[[Path], Read]) -> Read:
    """What ``read`` makes of a file; its failure is one line that names the file."""
    try:
        return read(file)
    except Exception as error:  # Pillow raises whatever a broken file leads to
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise BenchmarkError(f"{file} cannot be read: {reason}") from None


def _files(base: Path, folder: Path) -> dict[str, str]:
    """Name without ending → path relative to ``base``, sorted by name; refuses what leads out of ``base``."""
    found: dict[str, str] = {}
    root = base.resolve()
    for file in _inside(root, folder):
        if file.stem in found:
            raise BenchmarkError(f"{folder} holds two files called {file.stem} ({Path(found[file.stem]).name} and {file.name}); keep one")
        found[file.stem] = file.relative_to(base).as_posix()
    return dict(sorted(found.items()))


def _inside(root: Path, folder: Path) -> Iterator[Path]:
    if not folder.resolve().is_relative_to(root):
        raise BenchmarkError(f"{folder} leads out of {root}; copy the files into it")
    for file in sorted(folder.iterdir()):
        if file.suffix.lower() not in MASK_SUFFIXES or file.name.startswith(".") or file.is_dir():
            continue
        if file.is_symlink() and not file.resolve().is_relative_to(root):
            raise BenchmarkError(f"{file} leads out of {root}; copy the file into it")
        yield file


def _paired(base: Path, images: dict[str, str], image_folder: Path, folder: Path) -> dict[str, str]:
    """The masks of one folder by name: one for each image, and none besides."""
    masks = _files(base, folder)
    for have, lack, there, missing in ((images, masks, image_folder, folder), (masks, images, folder, image_folder)):
        single = [name for name in have if name not in lack]
        if single:
            more = f" (and {len(single) - 1} more)" if len(single) > 1 else ""
            kind = "mask" if have is images else "image"
            raise BenchmarkError(f"{there / Path(have[single[0]]).name} has no {kind}{more}: {missing} holds no file of that name")
    return masks


def _groups(file: Path, names: Sequence[str]) -> tuple[str, ...]:
    """The group of each name, from a csv with the columns name and group; names with or without ending."""
    if not file.resolve().is_relative_to(file.parent.resolve()):
        raise BenchmarkError(f"{file} leads out of {file.parent}; copy the file into it")
    table = read_table(file)
    table.require(("name", "group"))
    known, groups = set(names), {}
    for (line, _), name, group in zip(table.rows, table.column("name"), table.column("group"), strict=True):
        stem = name if name in known else Path(name).stem
        if stem not in known:
            raise BenchmarkError(f"{file}, line {line}: there is no image called '{name}'")
        if stem in groups:
            raise BenchmarkError(f"{file}, line {line}: '{name}' occurs twice")
        groups[stem] = group
    missing = [name for name in names if name not in groups]
    if missing:
        raise BenchmarkError(f"{file} gives no group for {missing[0]}{f' and {len(missing) - 1} more' if len(missing) > 1 else ''}")
    return tuple(groups[name] for name in names)


def _fitted(pixels: np.ndarray, size: int, *, smooth: bool) -> np.ndarray:
    """The centre square at another size, (size, size[, C])."""
    from PIL import Image, ImageOps

    grey = pixels.ndim == 3 and pixels.shape[2] == 1
    method = Image.Resampling.BILINEAR if smooth else Image.Resampling.NEAREST
    fitted = np.asarray(ImageOps.fit(Image.fromarray(pixels[:, :, 0] if grey else pixels), (size, size), method=method))
    return fitted[:, :, None] if grey else fitted


def _size(pixels: np.ndarray) -> str:
    return f"{pixels.shape[1]}×{pixels.shape[0]}"
