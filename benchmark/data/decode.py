"""One image file to uint8 pixels: every mode that Pillow reads, upright, at the size that is asked for."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

GREY_MODES = ("1", "L", "LA", "I", "I;16", "I;16B", "I;16L", "I;16N")
ORIENTATION = 0x0112
"""EXIF tag; its values 5 to 8 swap height and width."""
DRAFT = 2
"""A JPEG is decoded at a half, a quarter or an eighth only where that leaves at least this many times the size asked for:
the decoder's own reduction is then followed by a proper one, and no detail that would have survived is lost."""

Room = Callable[[int], AbstractContextManager[Any]]


def _plenty(pixels: int) -> AbstractContextManager[Any]:
    return nullcontext()


@dataclass(frozen=True)
class Header:
    """What is known of an image before its pixels are decoded.

    Attributes:
        height, width: of the upright image.
        grey: whether the file holds no colour.
    """

    height: int
    width: int
    grey: bool


def read_header(file: Path | str) -> Header:
    """Read an image's header only.

    Raises:
        OSError, ValueError or whatever else Pillow trips over: the file is missing or no image.
    """
    from PIL import Image

    _refuse_no_content(file)
    with Image.open(file) as image:
        width, height = image.size
        # Pillow decodes a whole PNG to look for EXIF data behind its pixels, where nobody writes them.
        exif = image.getexif() if image.format != "PNG" or "exif" in image.info else {}
        if exif.get(ORIENTATION, 1) in (5, 6, 7, 8):
            width, height = height, width
        return Header(height, width, image.mode in GREY_MODES)


def _refuse_no_content(file: Path | str) -> None:
    """Raise OSError for what is empty, or for a pipe or a device, which would be waited for without end."""
    status = os.stat(file)  # noqa: PTH116 - called for every file of a set
    if not stat.S_ISREG(status.st_mode):
        raise OSError("it is no regular file")
    if not status.st_size:
        raise OSError("the file is empty")


def read_pixels(file: Path | str, size: int, grey: bool, room: Room = _plenty) -> np.ndarray:
    """Decode one image.

    16-bit images are reduced to 8 bits, EXIF orientation is applied, alpha is dropped.

    Args:
        file: an image.
        size: 0 keeps the native size; otherwise the shorter side is scaled to it (bicubic) and the centre is cut out.
        grey: one channel, else three.
        room: entered, with the number of pixels that will be held in memory, before any is decoded.

    Returns:
        (H, W, 1 or 3) uint8, upright.

    Raises:
        OSError, ValueError or whatever else Pillow trips over: the file is missing, broken or in floating point.
    """
    from PIL import Image, ImageOps

    _refuse_no_content(file)
    with Image.open(file) as opened:
        held = opened.width * opened.height
        if size:
            opened.draft(None, (DRAFT * size, DRAFT * size))
            if "progressive" not in opened.info:  # those are held whole
                held = opened.width * opened.height
        with room(held):
            ImageOps.exif_transpose(opened, in_place=True)
            image: Image.Image = to_8_bit(opened)
            mode = "L" if grey else "RGB"
            if image.mode != mode:
                image = image.convert(mode)
            if size and image.size != (size, size):
                image = ImageOps.fit(image, (size, size), method=Image.Resampling.BICUBIC)
            return np.asarray(image).reshape(image.height, image.width, -1)


def to_8_bit(image: Image) -> Image:
    """An image of mode L or RGB; the same one where it has such a mode.

    16-bit grey is divided by 256, never stretched per image, so that brightness stays comparable between images. Alpha
    is dropped. Palettes, CMYK, YCbCr, Lab and HSV become RGB.

    Raises:
        ValueError: a floating-point image, whose scale is unknown.
    """
    from PIL import Image

    if image.mode in ("L", "RGB"):
        return image
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
