"""Chest radiographs that never were: lungs, heart and clavicles with their true masks, for as many images as are wanted.

They stand in for the JSRT radiographs with the masks of van Ginneken et al. (2006), whose redistribution is not free: three
tasks that overlap (clavicles lie over the lungs), and about the same share of each organ (lungs 0.307, heart 0.090, clavicles
0.020 of the image) and mean grey (0.59). Brightness alone does not tell the organs apart: heart, mediastinum and abdomen are
equally bright, clavicles are as bright as ribs, and the air beside the body and in the stomach is as dark as a lung.

Shapes are drawn in body coordinates, so the same images can be rendered at any size: ``u`` goes from the midline to the
patient's left (the right of the image) and ``v`` from top to bottom, both in image widths.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmark.errors import BenchmarkError
from benchmark.seeds import numpy_generator
from benchmark.segmentation.arrays import MaskArrays

TASKS = ("lung", "heart", "clavicle")
CLASSES = ("background", "organ")

VERSION = 1
"""Raise it when the same parameters give other images."""

SMALLEST = 16
"""The least height and width in pixels."""

SECOND_IMAGES = 6
"""One in so many images is a patient's second one."""

CHUNK_PIXELS = 2**20
"""Pixels that are rendered at a time; changes memory, never the result."""

ANATOMY: dict[str, tuple[float, float, float]] = {
    # name:             mean, deviation between patients, and between the images of one patient
    "middle": (0.500, 0.008, 0.012),  # where the spine is
    "height": (0.000, 0.012, 0.012),  # how far the body is down
    "scale": (1.000, 0.040, 0.012),
    "tilt": (0.000, 0.010, 0.022),  # radians
    "turn": (0.000, 0.006, 0.010),  # of the patient, which makes one lung wider
    "wall": (0.392, 0.013, 0.004),  # from the midline to the chest wall
    "apex": (0.105, 0.014, 0.006),  # height of the lungs' tops
    "apex_side": (0.150, 0.010, 0.003),  # and their distance from the midline
    "waist": (0.660, 0.020, 0.005),  # where the chest is widest
    "medial": (0.060, 0.006, 0.002),  # from the midline to a lung
    "hilum": (0.034, 0.006, 0.002),  # how much further at the great vessels
    "aorta": (0.022, 0.007, 0.002),  # how far its arch stands out
    "dome_right": (0.722, 0.020, 0.018),  # height of the diaphragm's two domes
    "dome_left": (0.750, 0.020, 0.018),
    "dome": (2.100, 0.350, 0.150),  # their curvature
    "heart_u": (0.058, 0.012, 0.004),
    "heart_v": (0.620, 0.014, 0.010),
    "heart_long": (0.190, 0.014, 0.003),
    "heart_short": (0.151, 0.010, 0.003),
    "heart_turn": (0.520, 0.120, 0.040),  # radians
    "clavicle_in": (0.058, 0.007, 0.004),  # medial end, from the midline
    "clavicle_out": (0.292, 0.014, 0.007),  # lateral end
    "clavicle_v": (0.272, 0.012, 0.012),  # height of the medial end
    "clavicle_rise": (0.046, 0.016, 0.020),  # how much higher the lateral end is
    "clavicle_bow": (0.010, 0.004, 0.002),
    "clavicle_width": (0.0173, 0.0016, 0.0006),  # half of it
    "ribs": (0.078, 0.004, 0.002),  # distance between two ribs
    "rib_phase": (0.000, 0.300, 0.080),
    "rib_drop": (1.500, 0.250, 0.100),
    "fat": (0.000, 1.000, 0.100),
}
"""Feature → its mean and how it varies; lengths in image widths."""

Body = dict[str, np.ndarray]
"""Name → (n, 1, 1) float32, or (n, k, k) float32 for the coarse grids of smooth random fields."""

GRIDS = {"bend_u": 6, "bend_v": 6, "haze": 7, "blotches": 18, "vessel_bend": 9, "cloud": 4}
"""Smooth random field → cells along a side of its coarse grid."""


def chest_shapes(n: int, size: int = 256, seed: int = 0) -> MaskArrays:
    """Draw n radiographs.

    Args:
        n: how many images; one in :data:`SECOND_IMAGES` is the second one of a patient (same anatomy, another pose and exposure).
        size: height and width in pixels.
        seed: another seed gives other patients.

    Returns:
        images (n, size, size, 1) uint8; labels (n, 3, size, size) uint8 of the tasks :data:`TASKS`; groups are patients, and a
        patient's images follow each other.

    Raises:
        BenchmarkError: no image, or images too small to show anything.
    """
    if n < 1 or size < SMALLEST:
        raise BenchmarkError(f"chest_shapes needs at least 1 image of {SMALLEST} px, not {n} of {size} px")
    rng = numpy_generator("chest_shapes", VERSION, seed, n)
    patients = n - n // SECOND_IMAGES
    twice = np.zeros(patients, dtype=bool)
    twice[rng.permutation(patients)[: n // SECOND_IMAGES]] = True
    groups = np.repeat(np.arange(patients, dtype=np.int64), 1 + twice)
    body = _draw(groups, patients, rng)
    from benchmark.segmentation.chest_rendering import render

    images = np.empty((n, size, size, 1), dtype=np.uint8)
    labels = np.empty((n, len(TASKS), size, size), dtype=np.uint8)
    chunk = max(1, CHUNK_PIXELS // size**2)
    for start in range(0, n, chunk):
        part = slice(start, start + chunk)
        some = {name: values[part] for name, values in body.items()}
        grain = rng.standard_normal((len(some["wall"]), size, size), dtype=np.float32)
        shapes = outline(some, size)
        labels[part] = np.stack([shapes.lung > 0, shapes.heart > 0, shapes.clavicle > 0], axis=1)
        images[part, :, :, 0] = render(some, shapes, grain)
    return MaskArrays(images, labels, TASKS, CLASSES, groups=groups)


@dataclass(frozen=True)
class Shapes:
    """Where the organs of n images are; every depth is about the distance in image widths to the edge, positive inside.

    Attributes:
        u, v: (n, H, W) float32 body coordinates.
        aside: (n, H, W) float32, distance from the midline.
        lung, heart, clavicle: (n, H, W) float32 depths of the organs.
        chest: depth within the chest wall.
        above: depth above the diaphragm.
    """

    u: np.ndarray
    v: np.ndarray
    aside: np.ndarray
    lung: np.ndarray
    heart: np.ndarray
    clavicle: np.ndarray
    chest: np.ndarray
    above: np.ndarray


def outline(b: Body, size: int) -> Shapes:
    """The organs of n bodies at a size in pixels."""
    centres = ((np.arange(size, dtype=np.float32) + np.float32(0.5)) / np.float32(size)).astype(np.float32)
    x, y = centres[None, None, :] - b["middle"], centres[None, :, None] - np.float32(0.5) - b["height"]
    cos, sin = np.cos(b["tilt"]) / b["scale"], np.sin(b["tilt"]) / b["scale"]
    u = x * cos + y * sin + 0.006 * smooth(b["bend_u"], size)
    v = y * cos - x * sin + np.float32(0.5) + 0.006 * smooth(b["bend_v"], size)
    left = u > 0
    aside = np.abs(u)
    # A patient who is turned a little shows one lung wider than the other.
    wall = b["wall"] + np.where(left, b["turn"], -b["turn"])
    lateral = aside - b["apex_side"]
    across = np.where(lateral > 0, lateral / (wall - b["apex_side"]), -lateral / (b["apex_side"] - 0.03))
    up = np.maximum(b["waist"] - v, 0) / (b["waist"] - b["apex"])
    chest = (1 - np.sqrt(across * across * np.sqrt(np.minimum(across, 2.0)) + up * up)) * 0.26
    dome = np.where(left, b["dome_left"], b["dome_right"])
    above = (dome + b["dome"] * np.square(aside - 0.19) - v) * np.float32(0.9)
    medial = b["medial"] + b["hilum"] * np.exp(-np.square((v - 0.47) / 0.11))
    medial = medial + np.where(left, b["aorta"] * np.exp(-np.square((v - 0.335) / 0.042)), 0.0)
    heart = _heart(b, u, v)
    lung = np.minimum(np.minimum(chest, above), np.minimum(aside - medial, 0.006 - heart))
    return Shapes(u, v, aside, lung, heart, _clavicle(b, aside, v), chest, above)


def _heart(b: Body, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    du, dv = u - b["heart_u"], v - b["heart_v"]
    cos, sin = np.cos(b["heart_turn"]), np.sin(b["heart_turn"])
    along, over = (du * cos + dv * sin) / b["heart_long"], (dv * cos - du * sin) / b["heart_short"]
    # An egg: the apex, at the lower left of the patient, is narrower than the base.
    return (1 - np.sqrt(along * along + np.square(over * (1 + 0.18 * along)))) * b["heart_short"]


def _clavicle(b: Body, aside: np.ndarray, v: np.ndarray) -> np.ndarray:
    length = b["clavicle_out"] - b["clavicle_in"]
    t = (aside - b["clavicle_in"]) / length
    inside = np.clip(t, 0.0, 1.0)
    line = b["clavicle_v"] - b["clavicle_rise"] * inside + b["clavicle_bow"] * np.sin(np.float32(2 * np.pi) * inside)
    width = b["clavicle_width"] * (1 + 0.35 * np.square(1 - 1.25 * inside))  # the medial end is the thick one
    return width - np.hypot(v - line, (t - inside) * length)


def smooth(grid: np.ndarray, size: int) -> np.ndarray:
    """A coarse grid (n, k, k) as a smooth field (n, size, size) float32 of about the same deviation (cubic B-splines)."""
    k = grid.shape[1] - 3
    place = (np.arange(size) + 0.5) / size * k
    cell = np.minimum(place.astype(np.int64), k - 1)
    t = place - cell
    weights = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3], axis=1) / 6
    basis = np.zeros((size, k + 3), dtype=np.float32)
    basis[np.arange(size)[:, None], cell[:, None] + np.arange(4)] = weights * np.sqrt(1 / np.square(weights).sum(axis=1).mean())
    return basis @ grid @ basis.T


def _draw(groups: np.ndarray, patients: int, rng: np.random.Generator) -> Body:
    """Everything random about the images but the grain of the film."""
    n, body = len(groups), {}
    for name, (mean, between, within) in ANATOMY.items():
        person, visit = np.clip(rng.standard_normal(patients), -2.2, 2.2), np.clip(rng.standard_normal(n), -2.2, 2.2)
        body[name] = mean + between * person[groups] + within * visit
    for name in ("vessel_phase", "exposure", "contrast", "gamma", "stomach", "shadow", "scapula", "noise"):
        body[name] = rng.random(n)
    columns = {name: values.astype(np.float32).reshape(n, 1, 1) for name, values in body.items()}
    fields = {name: rng.standard_normal((n, cells + 3, cells + 3), dtype=np.float32) for name, cells in GRIDS.items()}
    return columns | fields
