"""One whole slide as a grid of tiles at a chosen magnification, read through OpenSlide."""

from __future__ import annotations

import importlib
import math
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmark.errors import BenchmarkError

if TYPE_CHECKING:
    from PIL.Image import Image

INSTALL = 'python -m pip install "noisy-label-benchmark[wsi]"'

TOLERANCE = 0.05
"""A slide that is coarser than what is asked for by no more than this share counts as just that: scanners are never exact."""

LEVEL_TOLERANCE = 0.01
"""The same for levels: one of 4.0003 is the level of 4."""

OVERVIEW = 8
"""Tissue is looked for at the coarsest level where a tile is still at least so many pixels wide."""

MPP = ("openslide.mpp-x", "openslide.mpp-y")
BOUNDS = ("openslide.bounds-x", "openslide.bounds-y", "openslide.bounds-width", "openslide.bounds-height")


class SlideReader:
    """A slide, cut into whole tiles without overlap, from the corner of what was scanned.

    Args:
        file: a slide.
        tile_size: height and width of a tile in pixels.
        mpp: microns per pixel of the tiles.
        downsample: pixels of the slide per pixel of the tiles, at least 1. Without both: 1.

    Attributes:
        columns, rows: whole tiles; what is left over at the right and the bottom is not read.
        downsample: as it was resolved.
        mpp: microns per pixel of the tiles, or None where the slide does not say.
        level: the level that is read.

    Raises:
        BenchmarkError: OpenSlide is not installed, the file is missing or no slide, its resolution is unknown or too low for ``mpp``, or
            it is smaller than one tile.
    """

    def __init__(self, file: Path, tile_size: int, *, mpp: float | None = None, downsample: float | None = None) -> None:
        openslide = import_openslide()
        if not file.is_file():
            raise BenchmarkError(f"there is no slide {file}")
        self.file, self.tile_size = file, tile_size
        try:
            self._slide: Any = openslide.OpenSlide(file)
        except openslide.OpenSlideError as error:
            raise BenchmarkError(f"{file} cannot be read as a slide: {str(error) or 'OpenSlide knows no such format'}") from None
        try:
            self._scale(mpp, downsample)
        except BaseException:
            self._slide.close()
            raise

    def __enter__(self) -> SlideReader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._slide.close()

    def _scale(self, mpp: float | None, downsample: float | None) -> None:
        own = self._number(MPP[0])
        known = own is not None and math.isfinite(own) and own > 0
        if mpp is not None:
            if own is None or not known:
                raise BenchmarkError(f"{self.file} does not say how many microns a pixel is; give a downsample instead of mpp")
            downsample = mpp / own
            if downsample < 1 - TOLERANCE:
                raise BenchmarkError(
                    f"{self.file} has {own:.3g} microns a pixel, too coarse for {mpp:.3g}; ask for {own:.3g} or more, or leave it out"
                )
        self.downsample = max(downsample or 1.0, 1.0)
        self.mpp = own * self.downsample if own is not None and known else None
        steps = self._slide.level_downsamples
        self.level = max(
            (level for level, step in enumerate(steps) if step <= self.downsample * (1 + LEVEL_TOLERANCE)), key=steps.__getitem__, default=0
        )
        self._span = self.tile_size * self.downsample  # of a tile, in pixels of the slide
        self._overview = max(
            (level for level, step in enumerate(steps) if self._span / step >= OVERVIEW), key=steps.__getitem__, default=self.level
        )
        bounds = [self._number(name) for name in BOUNDS]
        x, y, width, height = (0, 0, *self._slide.dimensions) if None in bounds else (int(value or 0) for value in bounds)
        self._corner = x, y
        self.columns, self.rows = int(width / self._span), int(height / self._span)
        if not self.columns or not self.rows:
            raise BenchmarkError(
                f"{self.file} is {width}×{height} pixels, smaller than one tile of {self._span:.0f}; lower tile_size or the downsample"
            )

    def tile(self, column: int, row: int) -> Image:
        """One tile, RGB, on white where nothing was scanned.

        Raises:
            BenchmarkError: the slide is broken there.
        """
        from PIL import Image

        step = self._slide.level_downsamples[self.level]
        side = max(1, round(self._span / step))
        found = self._region(round(column * self._span), round(row * self._span), self.level, side, side)
        if side == self.tile_size:
            return found
        return found.resize((self.tile_size, self.tile_size), Image.Resampling.BICUBIC)

    def tissue(self, row: int, threshold: float) -> np.ndarray:
        """How much of each tile of a row is tissue: (columns,) shares of pixels with a saturation (of HSV, 0 to 255) above the threshold.

        Glass is grey, whatever the light; dyes are not. Looked at on an overview, so that glass is never read at full size.

        Raises:
            BenchmarkError: the slide is broken there.
        """
        step = self._slide.level_downsamples[self._overview]
        width, height = max(self.columns, round(self.columns * self._span / step)), max(1, round(self._span / step))
        band = self._region(0, round(row * self._span), self._overview, width, height)
        coloured = (np.asarray(band.convert("HSV"))[:, :, 1] > threshold).mean(axis=0)
        edges = np.arange(self.columns + 1) * width // self.columns
        shares: np.ndarray = np.add.reduceat(coloured, edges[:-1]) / np.diff(edges)
        return shares

    def _region(self, x: int, y: int, level: int, width: int, height: int) -> Image:
        from PIL import Image

        try:
            found = self._slide.read_region((self._corner[0] + x, self._corner[1] + y), level, (width, height))
        except Exception as error:  # OpenSlide's own, or Pillow's
            raise BenchmarkError(f"{self.file} cannot be read at x {x}, y {y}: {str(error) or type(error).__name__}") from None
        page = Image.new("RGB", found.size, (255, 255, 255))
        page.paste(found, mask=found.getchannel("A"))
        return page

    def _number(self, name: str) -> float | None:
        try:
            return float(self._slide.properties[name])
        except (KeyError, ValueError):
            return None


def import_openslide() -> Any:
    """The module, imported only where slides are read.

    Raises:
        BenchmarkError: it is not installed, or the library that it calls is not.
    """
    try:
        return importlib.import_module("openslide")
    except (ImportError, OSError):  # OSError: the Python side is there, the library is not
        raise BenchmarkError(f"reading slides needs OpenSlide; install it: {INSTALL}") from None


def edge_response(tile: Image) -> float:
    """Mean response of Pillow's edge filter over pixels and channels, 0 to 255: glass is smooth.

    The measure of DSMIL's tiler (Li et al., 2021), so that its thresholds hold here.
    """
    from PIL import ImageFilter, ImageStat

    return float(np.mean(ImageStat.Stat(tile.filter(ImageFilter.FIND_EDGES)).mean))
