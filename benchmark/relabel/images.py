"""Images for people: files where the data set has them, else pictures that are large enough to look at."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmark.api import Dataset
from benchmark.errors import BenchmarkError
from benchmark.html_page import encoded

SMALLEST_SIDE = 128
"""Pixels: smaller images are enlarged."""

LARGEST_THUMBNAIL = 160
"""Pixels of a thumbnail's longer side."""

SHOWN_BY_BROWSERS = (".png", ".jpg", ".jpeg", ".bmp", ".webp")


def image_files(dataset: Dataset, root: Path, paths: Sequence[str] | None) -> list[Path] | None:
    """The absolute paths of a data set's images; None where they are arrays, whatever they are called.

    Args:
        dataset: the plugin.
        root: the folder for downloads and caches.
        paths: file names as the data set gives them.

    Raises:
        BenchmarkError: a name that leaves the data set's folder.
    """
    listing = getattr(dataset, "listing", None)
    if paths is None or listing is None:
        return None
    base = listing(root).base.resolve()
    files = [Path(os.path.normpath(base / path)) for path in paths]
    outside = next((path for path, file in zip(paths, files, strict=True) if not file.is_relative_to(base)), None)
    if outside is not None:
        raise BenchmarkError(f"'{outside}' lies outside {base}, the folder of data set {dataset.name}")
    return files


def png(pixels: np.ndarray) -> bytes:
    """A PNG of an image, enlarged by a whole factor, without blurring, until its shorter side has 128 pixels.

    Args:
        pixels: (H, W, 1 or 3) uint8.
    """
    factor = -(-SMALLEST_SIDE // min(pixels.shape[:2]))
    return _encoded(np.repeat(np.repeat(pixels, factor, axis=0), factor, axis=1), "PNG")


def png_of_file(file: Path) -> bytes:
    """A PNG of an image file at its full size, or enlarged as :func:`png` does.

    Raises:
        BenchmarkError: the file cannot be read.
    """
    from benchmark.data.decode import read_header, read_pixels

    try:
        return png(read_pixels(file, 0, read_header(file).grey))
    except Exception as error:  # a broken image can fail in any way
        raise BenchmarkError(f"image {file} cannot be read: {' '.join(str(error).split()) or type(error).__name__}") from error


def thumbnail(pixels: np.ndarray) -> tuple[str, bytes]:
    """Media type and content of a small picture: as it is where it is small, else at 160 pixels.

    Args:
        pixels: (H, W, 1 or 3) uint8.
    """
    from PIL import Image

    if max(pixels.shape[:2]) <= LARGEST_THUMBNAIL // 2:
        return "image/png", _encoded(pixels, "PNG")
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    image.thumbnail((LARGEST_THUMBNAIL, LARGEST_THUMBNAIL), Image.Resampling.LANCZOS)
    return encoded(image)


def _encoded(pixels: np.ndarray, kind: str) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(stream, kind)
    return stream.getvalue()
