"""One image or mask file to pixels: masks keep their values, whatever way the file stores them."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmark.data.decode import GREY_MODES, read_header, read_pixels
from benchmark.data.listing import SUFFIXES

if TYPE_CHECKING:
    from PIL.Image import Image

ARRAY = ".npz"
MASK_SUFFIXES = (*SUFFIXES, ARRAY)
"""What an image or a mask may be."""

LOSSY = (".jpg", ".jpeg", ".webp")
THRESHOLD = 127
"""Above it, a pixel of a mask of two values is foreground: smoothed borders are cut at the half."""

MOST_BETWEEN = 0.05
"""A JPEG mask smears values; if more than this share of its pixels is neither dark nor bright, it never had just two."""


def is_grey(file: Path) -> bool:
    """Whether an image file holds no colour; reads its header (of an array: all of it).

    Raises:
        OSError, ValueError or whatever else Pillow trips over: the file is missing or no image.
    """
    if file.suffix.lower() == ARRAY:
        return _array(file).shape[2:] in ((), (1,))
    return read_header(file).grey


def read_image(file: Path, grey: bool) -> np.ndarray:
    """An image at its own size: (H, W, 1 or 3) uint8.

    Raises:
        OSError, ValueError or whatever else Pillow trips over: the file is missing or broken, or an array is not
            (H, W), (H, W, 1) or (H, W, 3) uint8.
    """
    if file.suffix.lower() != ARRAY:
        return read_pixels(file, 0, grey)
    pixels = _array(file)
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3) or pixels.dtype != np.uint8:
        raise ValueError(f"the array is {pixels.shape} {pixels.dtype}, not (H, W), (H, W, 1) or (H, W, 3) uint8")
    return pixels if pixels.shape[2] == (1 if grey else 3) else np.repeat(pixels, 3, axis=2)


def read_mask(file: Path) -> np.ndarray:
    """A mask's values as they are stored: (H, W) uint8. Palette images give their indices, JPEG 0 and 255.

    Raises:
        OSError, ValueError or whatever else Pillow trips over: the file is missing or broken, in colour, with values above
            255 or not whole, or a JPEG of more than two values.
    """
    if file.suffix.lower() == ARRAY:
        return _small(_array(file))
    from PIL import Image, ImageOps

    with Image.open(file) as opened:
        ImageOps.exif_transpose(opened, in_place=True)
        values = _values(opened)
    if file.suffix.lower() in LOSSY:
        if np.mean((values > 64) & (values < 192)) > MOST_BETWEEN:
            raise ValueError("JPEG smears class ids; save masks as PNG")
        return np.where(values > THRESHOLD, 255, 0).astype(np.uint8)
    return values


def _values(image: Image) -> np.ndarray:
    if image.mode == "P" or image.mode in GREY_MODES:
        found = np.asarray(image)
        return _small(found[:, :, 0] if found.ndim == 3 else found)
    if image.mode in ("RGB", "RGBA"):
        found = np.asarray(image)
        if (found[:, :, :1] == found[:, :, :3]).all():
            return found[:, :, 0].copy()
        raise ValueError("the mask is in colour; save one class id a pixel")
    raise ValueError(f"the mask is of mode {image.mode}; save one class id a pixel")


def _small(values: np.ndarray) -> np.ndarray:
    if values.ndim != 2 or values.dtype.kind not in "bui":
        raise ValueError(f"the mask is {values.shape} {values.dtype}, not (H, W) whole numbers")
    if values.size and (values.min() < 0 or values.max() > 255):
        raise ValueError(f"the mask holds values from {values.min()} to {values.max()}; class ids lie in [0, 255)")
    return values.astype(np.uint8)


def _array(file: Path) -> np.ndarray:
    """The one array of an archive; never a pickle."""
    try:
        with np.load(file, allow_pickle=False) as arrays:
            if len(arrays.files) != 1:
                raise ValueError(f"it holds {len(arrays.files)} arrays, not one")
            found: np.ndarray = arrays[arrays.files[0]]
            return found
    except (zipfile.BadZipFile, EOFError, AttributeError) as error:
        raise ValueError(f"it is no npz archive ({error})") from None
