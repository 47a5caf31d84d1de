"""Hematoxylin and eosin: how much dye becomes what colour, and how laboratories differ.

Beer–Lambert: a pixel with dye concentrations ``c`` transmits ``255 * exp(-sum_s c_s * v_s)``, where ``v_s`` is the optical
density of stain s in red, green and blue. The mean vectors are those of Ruifrok and Johnston (2001), "Quantification of
histochemical staining by color deconvolution"; the spread between slides follows the idea of Tellez et al. (2018).
"""

from __future__ import annotations

import numpy as np

STAINS = np.array([[0.650, 0.704, 0.286], [0.092, 0.954, 0.283]])
"""(2, 3): unit optical densities of hematoxylin and eosin in red, green and blue."""

STRENGTH = np.array([1.05, 0.62])
"""Mean optical density at concentration 1, per stain."""


def draw_stains(slides: int, rng: np.random.Generator) -> np.ndarray:
    """The stain of each slide: (slides, 2, 3) float32 optical densities at concentration 1; hue and strength vary."""
    hue = STAINS * np.exp(0.18 * rng.standard_normal((slides, 2, 3)))
    hue /= np.linalg.norm(hue, axis=2, keepdims=True)
    strength = STRENGTH * np.exp(0.18 * rng.standard_normal((slides, 2)))
    return (hue * strength[:, :, None]).astype(np.float32)


def transmit(hematoxylin: np.ndarray, eosin: np.ndarray, stains: np.ndarray) -> np.ndarray:
    """Colours of stained tissue.

    Args:
        hematoxylin, eosin: (n, H, W) float32 concentrations, 0 or more.
        stains: (n, 2, 3) optical densities at concentration 1.

    Returns:
        (n, H, W, 3) float32 in [0, 255].
    """
    density = hematoxylin[..., None] * stains[:, None, None, 0] + eosin[..., None] * stains[:, None, None, 1]
    return 255.0 * np.exp(-density)
