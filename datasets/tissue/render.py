"""Tiles of cartoon tissue, rendered for many tiles at once.

A tile is the unit square with one gland: a lumen, a ring of epithelium around it, stroma outside. Everything random is
drawn for all tiles before the first pixel is computed (:func:`_draw`), so the result does not depend on how the tiles are
cut into chunks, and the same tiles can be rendered at any size.
"""

from __future__ import annotations

import numpy as np

from .appearance import draw_features
from .stain import transmit

SLOTS = 44
"""At most so many epithelial nuclei per tile."""
STROMA_SLOTS = 9
HOLES = 4
CHUNK = 128
TURN = 2.0 * np.pi

Drawn = dict[str, np.ndarray]
"""Name → (n,) or (n, slots) float32: everything that is random about n tiles, except the camera's noise."""


def render(
    classes: np.ndarray, mixing: np.ndarray, stains: np.ndarray, rng: np.random.Generator, size: int, *, chunk: int = CHUNK
) -> tuple[np.ndarray, np.ndarray]:
    """Render one tile per class label.

    Args:
        classes: (n,) integers into :data:`~.appearance.CLASSES`.
        mixing: (n,) in [0, 0.5): the weight of another, random class in the tile's appearance.
        stains: (n, 2, 3) optical densities of hematoxylin and eosin, from :func:`~.stain.draw_stains`.
        rng: the only source of randomness.
        size: height and width in pixels.
        chunk: tiles at a time; changes memory, never the result.

    Returns:
        images: (n, size, size, 3) uint8.
        nuclei_masks: (n, size, size) bool, True inside a nucleus.
    """
    drawn = _draw(np.asarray(classes), np.asarray(mixing), rng)
    camera = rng.integers(-6, 7, (len(classes), size, size, 3), dtype=np.int8)
    images = np.empty((len(classes), size, size, 3), dtype=np.uint8)
    masks = np.empty((len(classes), size, size), dtype=bool)
    for start in range(0, len(classes), chunk):
        part = slice(start, start + chunk)
        hematoxylin, eosin, masks[part] = _concentrations({name: value[part] for name, value in drawn.items()}, size)
        colours = transmit(hematoxylin, eosin, stains[part])
        images[part] = np.clip(np.rint(colours + camera[part]), 0, 255).astype(np.uint8)
    return images, masks


def _draw(classes: np.ndarray, mixing: np.ndarray, rng: np.random.Generator) -> Drawn:
    n = len(classes)
    drawn: Drawn = draw_features(classes, mixing, rng)
    drawn["x"], drawn["y"] = rng.uniform(0.34, 0.66, (2, n))
    drawn["teeth"] = rng.integers(6, 10, n)
    drawn["phase"] = rng.random(n)
    drawn["waves"] = rng.uniform(0, TURN, (n, 3))
    drawn["hole_angle"] = TURN * (np.arange(HOLES) + rng.uniform(-0.3, 0.3, (n, HOLES))) / HOLES + rng.uniform(0, TURN, (n, 1))
    drawn["hole_distance"] = rng.uniform(0.20, 0.32, (n, HOLES))
    drawn["hole_scale"] = rng.uniform(0.6, 1.2, (n, HOLES))
    drawn["slot_jitter"] = rng.uniform(-0.35, 0.35, (n, SLOTS))
    drawn["slot_size"], drawn["slot_turn"], drawn["slot_height"], drawn["slot_dye"] = rng.standard_normal((4, n, SLOTS))
    drawn["stroma_angle"] = rng.uniform(0, TURN, (n, STROMA_SLOTS))
    drawn["stroma_distance"] = rng.uniform(0.05, 0.35, (n, STROMA_SLOTS))
    drawn["stroma_turn"] = 0.4 * rng.standard_normal((n, STROMA_SLOTS))
    drawn["fibre_angle"] = rng.uniform(0, TURN, n)
    drawn["fibre_wave"] = rng.uniform(30, 55, n)
    drawn["grain"] = rng.uniform(0, TURN, (n, 4))
    return {name: value.astype(np.float32) for name, value in drawn.items()}


def _waves(d: Drawn, angle: np.ndarray) -> np.ndarray:
    """A smooth closed curve's deviation from a circle, about in [-1, 1]; angle has shape (n, ...)."""
    first, second, third = (_like(d["waves"][:, k], angle) for k in range(3))
    return 0.5 * np.cos(2 * angle + first) + 0.35 * np.cos(3 * angle + second) + 0.25 * np.cos(5 * angle + third)


def _lumen_edge(d: Drawn, angle: np.ndarray, waves: np.ndarray) -> np.ndarray:
    turns = _like(d["teeth"], angle) * (angle / np.float32(TURN)) + _like(d["phase"], angle)
    saw = 2.0 * (turns - np.floor(turns)) - 1.0
    return _like(d["lumen_radius"], angle) * (1.0 + _like(d["saw"], angle) * saw + _like(d["irregularity"], angle) * waves)


def _gland_edge(d: Drawn, angle: np.ndarray, waves: np.ndarray) -> np.ndarray:
    return _like(d["gland_radius"], angle) * (1.0 + 0.45 * _like(d["irregularity"], angle) * waves)


def _like(value: np.ndarray, shape_of: np.ndarray) -> np.ndarray:
    """(n,) → (n, 1, ...) with as many axes as the other."""
    return value.reshape(-1, *(1,) * (shape_of.ndim - 1))


def _concentrations(d: Drawn, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hematoxylin and eosin of n tiles, each (n, size, size) float32, and the mask of their nuclei."""
    centres = (np.arange(size, dtype=np.float32) + np.float32(0.5)) / np.float32(size)
    dx = centres[None, None, :] - _like(d["x"], np.empty((0, 0, 0)))
    dy = centres[None, :, None] - _like(d["y"], np.empty((0, 0, 0)))
    distance, angle = np.hypot(dx, dy), np.arctan2(dy, dx)
    waves = _waves(d, angle)
    lumen = _inside(_lumen_edge(d, angle, waves) - distance, size)
    gland = _inside(_gland_edge(d, angle, waves) - distance, size)
    for hole in range(HOLES):
        hx = d["hole_distance"][:, hole] * np.cos(d["hole_angle"][:, hole])
        hy = d["hole_distance"][:, hole] * np.sin(d["hole_angle"][:, hole])
        radius = d["cribriform"] * d["hole_scale"][:, hole]
        edge = _like(radius, dx) - np.hypot(dx - _like(hx, dx), dy - _like(hy, dy))
        # A hole narrower than half a pixel is none; otherwise every class would carry four faint dots.
        lumen = np.maximum(lumen, _inside(edge, size) * _like(np.clip(radius * size, 0, 1), edge))
    lumen *= gland
    grain = _grain(d, dx, dy)
    stroma_hematoxylin, stroma_eosin = 0.10, 0.60 + 0.13 * _fibres(d, dx, dy) + 0.08 * grain
    mucin = _like(d["mucin"], dx)
    debris = _like(d["necrosis"], dx) * (grain > 0.25)
    cytoplasm = gland * (1.0 - lumen)
    hematoxylin = (1.0 - gland) * stroma_hematoxylin + cytoplasm * (0.34 - 0.22 * mucin) + lumen * 0.30 * debris
    eosin = (1.0 - gland) * stroma_eosin + cytoplasm * (0.62 - 0.36 * mucin) + lumen * (0.05 + 0.45 * debris)
    dye, cover = _nuclei(d, size)
    cover *= 1.0 - lumen
    hematoxylin = hematoxylin * (1.0 - cover) + dye * cover * (1.0 + 0.18 * grain)
    eosin = eosin * (1.0 - 0.6 * cover) * (1.0 + 0.10 * grain)
    return hematoxylin, eosin, cover > 0.5


def _inside(depth: np.ndarray, size: int) -> np.ndarray:
    """1 inside, 0 outside, a ramp one pixel wide between; depth is in tile widths."""
    return np.clip(depth * np.float32(size) + np.float32(0.5), 0.0, 1.0)


def _fibres(d: Drawn, dx: np.ndarray, dy: np.ndarray) -> np.ndarray:
    """Wavy stripes in [-1, 1]: collagen."""
    cos, sin, wave = (_like(v, dx) for v in (np.cos(d["fibre_angle"]), np.sin(d["fibre_angle"]), d["fibre_wave"]))
    along, across = dx * cos + dy * sin, dy * cos - dx * sin
    first, second = (_like(d["grain"][:, k], dx) for k in range(2))
    bend = 0.04 * np.sin(9.0 * along + first) + 0.02 * np.sin(23.0 * along + second)
    return np.sin(wave * (across + bend)) * (0.6 + 0.4 * np.sin(0.37 * wave * across + 6.0 * along + second))


def _grain(d: Drawn, dx: np.ndarray, dy: np.ndarray) -> np.ndarray:
    """Irregular blotches, about in [-1, 1]: chromatin, debris, uneven dye."""
    a, b, c, e = (_like(d["grain"][:, k], dx) for k in range(4))
    return np.sin(37.0 * dx + 2.0 * np.sin(29.0 * dy + a) + b) * np.sin(41.0 * dy + 2.0 * np.sin(31.0 * dx + c) + e)


def _nuclei(d: Drawn, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Hematoxylin of the nuclei and their coverage in [0, 1], each (n, size, size) float32."""
    slot = np.arange(SLOTS, dtype=np.float32)
    count = np.clip(d["nuclei"], 4, SLOTS)[:, None]
    angle = np.float32(TURN) * (slot + d["slot_jitter"]) / count + d["waves"][:, :1]
    waves = _waves(d, angle)
    lumen, gland = _lumen_edge(d, angle, waves), _gland_edge(d, angle, waves)
    height = np.clip(d["height"][:, None] + d["stratification"][:, None] * d["slot_height"], 0.12, 0.93)
    distance = lumen + height * np.maximum(gland - lumen, 0.03)
    radius = d["nucleus_radius"][:, None] * np.exp(d["pleomorphism"][:, None] * d["slot_size"]) * (slot < count)
    elongation = np.sqrt(np.maximum(d["elongation"], 1.0))[:, None]
    epithelium = (angle, distance, angle + d["disorder"][:, None] * d["slot_turn"], radius * elongation, radius / elongation)
    dye = np.maximum(d["chromatin"][:, None] * (1.0 + 0.12 * d["slot_dye"]), 0.4)

    angle = d["stroma_angle"]
    distance = _gland_edge(d, angle, _waves(d, angle)) + d["stroma_distance"]
    thin = np.ones_like(angle)
    stroma = (angle, distance, angle + np.float32(TURN / 4) + d["stroma_turn"], 0.055 * thin, 0.020 * thin)
    joined = [np.concatenate(pair, axis=1) for pair in zip(epithelium, stroma, strict=True)]
    return _stamp(d, joined, np.concatenate([dye, 0.9 * thin], axis=1), size)


def _stamp(d: Drawn, ellipses: list[np.ndarray], dye: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw one nucleus per tile at a time, each in a small window of its tile, the darkest on top."""
    angle, distance, turn, long, short = ellipses
    n = len(angle)
    half = int(np.ceil(min(float(long.max(initial=0.0)), 0.5) * size)) + 1
    margin = 2 * half + 1
    cx = (d["x"][:, None] + distance * np.cos(angle)) * size
    cy = (d["y"][:, None] + distance * np.sin(angle)) * size
    visible = (long > 0) & (np.minimum(cx, cy) > -half) & (np.maximum(cx, cy) < size + half)
    width = size + 2 * margin
    cover = np.zeros(n * width * width, dtype=np.float32)
    stain = np.zeros_like(cover)
    window = np.arange(-half, half + 1)
    for slot in range(angle.shape[1]):
        tiles = np.flatnonzero(visible[:, slot])
        x, y = cx[tiles, slot], cy[tiles, slot]
        left, top = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
        px = (left[:, None] + window + np.float32(0.5) - x[:, None]).astype(np.float32)[:, None, :]
        py = (top[:, None] + window + np.float32(0.5) - y[:, None]).astype(np.float32)[:, :, None]
        cos, sin = (f(turn[tiles, slot])[:, None, None] for f in (np.cos, np.sin))
        a, b = (axis[tiles, slot][:, None, None] * np.float32(size) for axis in (long, short))
        reach = np.sqrt(((px * cos + py * sin) / a) ** 2 + ((py * cos - px * sin) / b) ** 2)
        shade = np.clip((1.0 - reach) * np.sqrt(a * b) + np.float32(0.5), 0.0, 1.0)
        corner = (tiles * width + top + margin) * width + left + margin
        where = corner[:, None, None] + window[:, None] * width + window
        stain[where] = np.maximum(stain[where], shade * dye[tiles, slot][:, None, None])
        cover[where] = np.maximum(cover[where], shade)
    inner = slice(margin, margin + size)
    cover = cover.reshape(n, width, width)[:, inner, inner]
    stain = stain.reshape(n, width, width)[:, inner, inner]
    return stain / np.maximum(cover, np.float32(1e-3)), cover.copy()
