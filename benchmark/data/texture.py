"""Colour and texture of an image in a few dozen numbers: features that need no network, no weights and no download.

Nothing is learned, so nothing can leak; they tell tissue by its stain, its graininess and how crowded its dark spots are, no more.
"""

from __future__ import annotations

import numpy as np

CHUNK = 256
"""Images that are worked on at a time."""

QUANTILES = (10, 50, 90)
SHIFTS = ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1))
"""The eight neighbours of a pixel, in a circle."""

SMALLEST = 8
"""Pixels a side below which there is no texture at half the size."""

VERSION = 2
"""Of the numbers; part of every run's identity."""


def texture(images: np.ndarray) -> np.ndarray:
    """(n, 50) float32 descriptors.

    Of the optical density of the three colours: mean, deviation and quantiles; of its mean over the colours, at full and half size:
    local binary patterns (Ojala et al. 2002, uniform and invariant to rotation: 10 bins), strength of edges (3) and, at full size, local
    deviation (2), shares of dark pixels (3), likeness of pixels at a distance of 1, 2 and 4 (3), and colour balance (1).

    Args:
        images: (n, H, W, C) uint8, C = 1 or 3; height and width at least :data:`SMALLEST`. Grey images count as three equal colours.
    """
    parts = [_of_chunk(np.asarray(images[start : start + CHUNK])) for start in range(0, len(images), CHUNK)]
    return np.concatenate(parts) if parts else np.zeros((0, 50), dtype=np.float32)


def _of_chunk(images: np.ndarray) -> np.ndarray:
    density = -np.log((images.astype(np.float32) + 1) / 256)
    if density.shape[3] == 1:
        density = np.repeat(density, 3, axis=3)
    flat = density.reshape(len(density), -1, 3)
    found = [flat.mean(axis=1), flat.std(axis=1), *np.percentile(flat, QUANTILES, axis=1)]
    grey = density.mean(axis=3)
    grey -= grey[:, :1, :1].copy()  # an even image is zero then: no sum of it is off by a rounding error that would look like texture
    half = _halved(grey)
    for level in (grey, half):
        found += [_patterns(level), _edges(level)]
    spread = _local_deviation(grey)
    found.append(np.stack([spread.mean(axis=(1, 2)), np.percentile(spread, 90, axis=(1, 2))], axis=1))
    mean, deviation = grey.mean(axis=(1, 2), keepdims=True), grey.std(axis=(1, 2), keepdims=True)
    found.append(np.stack([(grey > mean + k * deviation).mean(axis=(1, 2)) for k in (0.5, 1.0, 1.5)], axis=1))
    found.append(_likeness((grey - mean) / np.maximum(deviation, 1e-6)))
    found.append((flat[:, :, 0].mean(axis=1) - flat[:, :, 2].mean(axis=1))[:, None])
    return np.concatenate(found, axis=1).astype(np.float32)


def _halved(grey: np.ndarray) -> np.ndarray:
    """(n, H/2, W/2) means of 2×2 pixels."""
    height, width = grey.shape[1] // 2 * 2, grey.shape[2] // 2 * 2
    return grey[:, :height, :width].reshape(len(grey), height // 2, 2, width // 2, 2).mean(axis=(2, 4))


def _patterns(grey: np.ndarray) -> np.ndarray:
    """(n, 10) shares of pixels with 0 to 8 brighter neighbours in one run, and of those whose neighbours change more than twice."""
    inner = grey[:, 1:-1, 1:-1]
    height, width = grey.shape[1:]
    above = np.stack([grey[:, 1 + dy : height - 1 + dy, 1 + dx : width - 1 + dx] >= inner for dy, dx in SHIFTS])
    changes = (above != np.roll(above, 1, axis=0)).sum(axis=0)
    code = np.where(changes <= 2, above.sum(axis=0), 9).reshape(len(grey), -1)
    return np.stack([(code == value).mean(axis=1) for value in range(10)], axis=1)


def _edges(grey: np.ndarray) -> np.ndarray:
    """(n, 3) mean, deviation and 90th percentile of the gradient's length."""
    down, right = np.gradient(grey, axis=(1, 2))
    length = np.hypot(down, right)
    return np.stack([length.mean(axis=(1, 2)), length.std(axis=(1, 2)), np.percentile(length, 90, axis=(1, 2))], axis=1)


def _local_deviation(grey: np.ndarray) -> np.ndarray:
    """(n, H − 4, W − 4) standard deviation of 5×5 pixels."""
    windows = np.lib.stride_tricks.sliding_window_view
    mean, square = (windows(values, (5, 5), axis=(1, 2)).mean(axis=(3, 4)) for values in (grey, grey**2))
    return np.sqrt(np.maximum(square - mean**2, 0))


def _likeness(z: np.ndarray) -> np.ndarray:
    """(n, 3) correlation of standardised pixels at a distance of 1, 2 and 4, both directions together."""
    pairs = [((z[:, lag:] * z[:, :-lag]).mean(axis=(1, 2)) + (z[:, :, lag:] * z[:, :, :-lag]).mean(axis=(1, 2))) / 2 for lag in (1, 2, 4)]
    return np.stack(pairs, axis=1)
