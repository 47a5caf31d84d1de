"""How bright a chest radiograph is where: what lies on top of what, the exposure, and the grain of the film."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from benchmark.segmentation.chest_shapes import Body, Shapes

MEAN_GREY = 0.594
"""Of the JSRT radiographs; single images differ."""

BLUR = 0.0032
"""Standard deviation of the blur, in image widths."""


def render(b: Body, s: Shapes, grain: np.ndarray) -> np.ndarray:
    """Grey values.

    Args:
        b: what is random about n bodies, from :mod:`~benchmark.segmentation.chest_shapes`.
        s: where their organs are.
        grain: (n, H, W) float32 standard normal noise of the film.

    Returns:
        (n, H, W) uint8.
    """
    from scipy.ndimage import gaussian_filter

    from benchmark.segmentation.chest_shapes import smooth

    size = grain.shape[1]
    haze, blotches = smooth(b["haze"], size), smooth(b["blotches"], size)
    lung, heart = _soft(s.lung, 0.013), _soft(s.heart, 0.030)
    grey = 0.74 + 0.02 * haze + 0.010 * blotches - 0.35 * np.square(s.aside)
    grey += (0.10 - 0.05 * s.v) * np.exp(-np.square(s.aside / 0.095))  # spine and great vessels
    grey += 0.07 * _soft(-s.above, 0.02) * _soft(s.v - 0.5, 0.1)  # abdomen
    grey += 0.050 * heart
    grey -= _air(b, s, haze, blotches, lung, heart)
    grey -= 0.16 * _soft(0.5 + 0.5 * b["stomach"] - 0.62, 0.02) * _soft(_stomach(b, s), 0.02)
    grey += _bones(b, s)
    grey -= 0.09 * np.exp(-np.square(s.u / 0.020)) * _soft(0.40 - s.v, 0.04)  # trachea
    grey = _outside(b, s, grey)
    grey = gaussian_filter(grey, (0, BLUR * size, BLUR * size), mode="nearest")
    return _exposed(b, grey, grain)


def _air(b: Body, s: Shapes, haze: np.ndarray, blotches: np.ndarray, lung: np.ndarray, heart: np.ndarray) -> np.ndarray:
    """How much darker the lungs are: less at their base and near the heart, with vessels and here and there a shadow."""
    from benchmark.segmentation.chest_shapes import smooth

    size = lung.shape[1]
    up, out = s.v - 0.47, s.aside - 0.075
    distance = np.sqrt(up * up + out * out)
    angle = np.arctan2(up, out)
    bend = smooth(b["vessel_bend"], size)
    streak = np.sin(9.0 * angle + 2.6 * bend + 6.3 * b["vessel_phase"] + 5.0 * distance)
    branch = np.sin(23.0 * angle - 3.4 * bend + 17.0 * distance)
    vessels = (np.square(np.square(streak)) * 0.6 + np.square(np.square(branch)) * 0.4) * np.exp(-distance / 0.13)
    shadow = np.maximum(smooth(b["cloud"], size) - 1.3 + b["shadow"], 0.0) * 0.10
    depth = 0.37 - 0.05 * haze - 0.018 * blotches - 0.16 * np.square(s.v - 0.40) - 0.17 * vessels - shadow
    behind = 0.05 * heart * _soft(s.chest, 0.02) * _soft(s.above, 0.02)  # lung behind the heart
    return depth * lung + behind


def _bones(b: Body, s: Shapes) -> np.ndarray:
    """Ribs (behind, and fainter in front), clavicles, shoulder blades, vertebrae."""
    turn = np.float32(2 * np.pi)
    cage = _soft(s.chest + 0.022, 0.016) * _soft(s.aside - 0.045, 0.02)
    behind = np.cos(turn * ((s.v - b["rib_drop"] * np.square(s.aside - 0.09)) / b["ribs"] + b["rib_phase"]))
    front = np.cos(turn * ((s.v + 0.62 * s.aside) / (1.18 * b["ribs"]) + 1.7 * b["rib_phase"]))
    ribs = 0.072 * _plate(behind, 0.10) + 0.055 * _plate(front, 0.35) * _soft(s.aside - 0.16, 0.05)
    ribs *= cage * (0.35 + 0.65 * _soft(s.above, 0.05))
    clavicles = 0.110 * _soft(s.clavicle, 0.008) + 0.040 * np.exp(-np.square(s.clavicle / 0.005))
    clavicles *= 0.35 + 0.65 * _soft(s.aside - 0.085, 0.04)  # little is seen of it before the spine
    blade = s.aside - 0.355 - 0.10 * b["scapula"] + 0.16 * np.square(s.v - 0.25) * 8
    blades = 0.05 * _soft(blade, 0.015) * _soft(0.46 - s.v, 0.06) * _soft(s.v - 0.16, 0.05)
    vertebrae = 0.022 * np.cos(turn * s.v / np.float32(0.062)) * np.exp(-np.square(np.square(s.u / 0.045)))
    return ribs + clavicles + blades + vertebrae


def _plate(wave: np.ndarray, start: float) -> np.ndarray:
    """A flat bone seen from the front, with brighter rims, from a wave in [-1, 1]."""
    return 0.75 * _soft(wave - start, 0.25) + 0.45 * np.exp(-np.square((wave - start) / 0.22))


def _stomach(b: Body, s: Shapes) -> np.ndarray:
    """Depth within the air bubble of the stomach, under the left dome."""
    across, down = (s.u - 0.17) / 0.085, (s.v - b["dome_left"] - 0.065) / 0.042
    return (1 - np.sqrt(across * across + down * down)) * 0.042


def _outside(b: Body, s: Shapes, grey: np.ndarray) -> np.ndarray:
    """Air beside the neck and below the armpits; softer tissue at the edge of the body."""
    shoulder = 0.015 + 0.62 * np.square(np.maximum(s.aside - 0.13, 0.0)) + 0.010 * b["fat"]
    neck = np.where(s.aside < 0.13, 0.1, 0.0)
    flank = 0.478 + 0.022 * b["fat"] + 0.10 * np.square(s.v - 0.75) + 0.20 * _soft(0.40 - s.v, 0.06) - s.aside
    body = _soft(np.minimum(s.v - shoulder + neck, flank), 0.035)
    return 0.16 + (grey - 0.16) * body


def _exposed(b: Body, grey: np.ndarray, grain: np.ndarray) -> np.ndarray:
    """Exposure, contrast and curve of the film, its grain, and 8 bits."""
    grey = np.maximum(grey, 0.02) ** (0.8 + 0.5 * b["gamma"])
    mean = grey.mean(axis=(1, 2), keepdims=True)
    grey = MEAN_GREY + 0.07 * (2 * b["exposure"] - 1) + (grey - mean) * (0.95 + 0.5 * b["contrast"])
    grey += grain * (0.008 + 0.020 * b["noise"])
    return np.clip(np.rint(grey * 255), 0, 255).astype(np.uint8)


def _soft(depth: np.ndarray, width: float) -> np.ndarray:
    """0 outside, 1 inside, a smooth ramp of about this width between."""
    t = np.clip(depth / np.float32(width) * np.float32(0.5) + np.float32(0.5), 0.0, 1.0)
    return t * t * (3 - 2 * t)
