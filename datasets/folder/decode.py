"""Image files to one uint8 array: every mode that Pillow reads, upright, at one size."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from benchmark.errors import BenchmarkError

if TYPE_CHECKING:
    from PIL.Image import Image

GREY_MODES = ("1", "L", "LA", "I", "I;16", "I;16B", "I;16L", "I;16N")
ORIENTATION = 0x0112
"""EXIF tag; its values 5 to 8 swap height and width."""

_log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True)
class Header:
    """What is known of an image before its pixels are decoded; height and width are those of the upright image."""

    height: int
    width: int
    grey: bool


def decode_images(base: Path, names: Sequence[str], *, size: int, channels: str, skip_bad: bool) -> tuple[np.ndarray, np.ndarray]:
    """Decode n files in a thread pool.

    Headers are read first, so that images of mixed sizes are refused before any is decoded.

    Args:
        base: the folder that names are relative to.
        names: n relative paths.
        size: 0 keeps the native size; otherwise the shorter side is scaled to it and the centre is cut out.
        channels: ``"1"``, ``"3"``, or ``"auto"`` (1 if all images are grey, else 3).
        skip_bad: leave unreadable images out, with one warning, instead of raising.

    Returns:
        images: (m, H, W, C) uint8 of the m readable files.
        kept: (m,) int64 ascending positions in ``names``.

    Raises:
        BenchmarkError: an unreadable image, or no readable one, or sizes that differ while ``size`` is 0.
    """
    bad: dict[str, str] = {}

    def each(function: Callable[[int], T], rows: Sequence[int]) -> dict[int, T]:
        """The results by row; what fails is raised or noted."""

        def guarded(row: int) -> T | Exception:
            try:
                return function(row)
            except Exception as error:  # Pillow's plugins raise whatever a broken file makes them trip over
                return error

        results: dict[int, T] = {}
        for row, result in zip(rows, pool.map(guarded, rows), strict=True):
            if not isinstance(result, Exception):
                results[row] = result
                continue
            bad[names[row]] = " ".join(str(result).split()) or type(result).__name__
            if not skip_bad:
                raise BenchmarkError(
                    f"cannot read the image {base / names[row]}: {bad[names[row]]}; add skip_bad=true to leave such files out"
                ) from result
        return results

    pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1))
    try:
        headers = each(lambda row: _read_header(base / names[row]), range(len(names)))
        shape = _common_shape(base, names, headers, size)
        grey = channels == "1" or (channels == "auto" and all(header.grey for header in headers.values()))
        images = np.zeros((len(names), *shape, 1 if grey else 3), dtype=np.uint8)

        def fill(row: int) -> None:
            images[row] = _read_pixels(base / names[row], size, grey)

        kept = np.fromiter(each(fill, list(headers)), dtype=np.int64)
    finally:
        pool.shutdown(cancel_futures=True)
    name, reason = next(iter(bad.items()), ("", ""))
    if not len(kept):
        raise BenchmarkError(f"none of the {len(names)} images in {base} can be read; the first: {name} ({reason})")
    if bad:
        _log.warning("left out %d unreadable of %d images in %s; the first: %s (%s)", len(bad), len(names), base, name, reason)
    return (images if len(kept) == len(names) else images[kept]), kept


def _read_header(file: Path) -> Header:
    from PIL import Image

    with Image.open(file) as image:
        width, height = image.size
        # Pillow decodes a whole PNG to look for EXIF data behind its pixels, where nobody writes them.
        exif = image.getexif() if image.format != "PNG" or "exif" in image.info else {}
        if exif.get(ORIENTATION, 1) in (5, 6, 7, 8):
            width, height = height, width
        return Header(height, width, image.mode in GREY_MODES)


def _common_shape(base: Path, names: Sequence[str], headers: dict[int, Header], size: int) -> tuple[int, int]:
    if size:
        return size, size
    first: tuple[int, int] | None = None
    where = ""
    for row, header in headers.items():
        shape = (header.height, header.width)
        if first is None:
            first, where = shape, names[row]
        elif shape != first:
            raise BenchmarkError(
                f"the images in {base} differ in size: {where} is {first[0]}×{first[1]}, {names[row]} is {shape[0]}×{shape[1]}; "
                "add size=64, say, to resize them"
            )
    return first or (1, 1)


def _read_pixels(file: Path, size: int, grey: bool) -> np.ndarray:
    """(H, W, 1 or 3) uint8, upright."""
    from PIL import Image, ImageOps

    with Image.open(file) as opened:
        image = to_8_bit(ImageOps.exif_transpose(opened))
    image = image.convert("L" if grey else "RGB")
    if size and image.size != (size, size):
        image = ImageOps.fit(image, (size, size), method=Image.Resampling.BICUBIC)
    return np.asarray(image).reshape(image.height, image.width, -1)


def to_8_bit(image: Image) -> Image:
    """An image of mode L or RGB.

    16-bit grey is divided by 256, never stretched per image, so that brightness stays comparable between images. Alpha
    is dropped. Palettes, CMYK, YCbCr, Lab and HSV become RGB.

    Raises:
        ValueError: a floating-point image, whose scale is unknown.
    """
    from PIL import Image

    if image.mode == "F":
        raise ValueError("floating-point pixels have no known scale; convert the image to 8 or 16 bits")
    if image.mode == "I" or image.mode.startswith("I;16"):
        values = np.asarray(image).astype(np.int64)
        return Image.fromarray((np.clip(values, 0, 65535) >> 8).astype(np.uint8))
    if image.mode in GREY_MODES:
        return image.convert("L")
    if image.mode in ("P", "PA"):
        return image.convert("RGBA").convert("RGB")  # directly, Pillow warns about transparency kept as bytes
    return image.convert("RGB")
