"""What tells the four tissue classes apart, as numbers: one row of features per class, mixed and varied per tile.

The features are the textbook signs of colorectal biopsies. *Normal* mucosa has round, regular lumens and small round nuclei
at the base of mucin-rich cells. *Serrated* lesions keep such nuclei, but their lumen is saw-toothed. *Adenoma* crowds
dark, pencil-shaped nuclei in several rows around a narrow lumen. *Adenocarcinoma* has irregular, cribriform glands with
large nuclei of every size and orientation. (Bosman et al., WHO Classification of Tumours of the Digestive System.)
"""

from __future__ import annotations

import numpy as np

CLASSES = ("normal", "serrated", "adenocarcinoma", "adenoma")
"""Class names, in the order of Chaoyang (Zhu et al., 2021), the real set that these tiles stand in for."""

FEATURES: dict[str, tuple[float, float, float, float]] = {
    # name:             normal serrated carcinoma adenoma
    "lumen_radius": (0.190, 0.210, 0.130, 0.105),  # of the main lumen, in tile widths
    "saw": (0.02, 0.50, 0.06, 0.05),  # depth of its saw teeth, relative to the radius
    "irregularity": (0.04, 0.08, 0.42, 0.12),  # smooth deformation of lumen and gland
    "cribriform": (0.0, 0.0, 0.075, 0.0),  # radius of the secondary lumens, in tile widths
    "gland_radius": (0.400, 0.400, 0.460, 0.400),  # outer edge of the epithelium, in tile widths
    "nuclei": (14.0, 14.0, 19.0, 29.0),  # epithelial nuclei per gland
    "nucleus_radius": (0.036, 0.036, 0.062, 0.038),  # geometric mean of the semi-axes, in tile widths
    "elongation": (1.15, 1.30, 1.35, 2.70),  # ratio of the semi-axes, the long one along the radius
    "pleomorphism": (0.06, 0.08, 0.34, 0.10),  # standard deviation of log size
    "disorder": (0.15, 0.20, 1.20, 0.15),  # standard deviation of the orientation, in radians
    "height": (0.84, 0.80, 0.52, 0.55),  # where the nuclei lie: 0 at the lumen, 1 at the base
    "stratification": (0.03, 0.06, 0.26, 0.22),  # standard deviation of that height
    "chromatin": (0.85, 0.90, 1.10, 1.30),  # hematoxylin in a nucleus
    "mucin": (0.75, 0.65, 0.10, 0.15),  # 1 bleaches the cytoplasm
    "necrosis": (0.0, 0.05, 0.60, 0.10),  # debris in the lumen
}
"""Feature → its mean in each class of :data:`CLASSES`."""

VARIATION = 0.30
"""Relative standard deviation of every feature between the tiles of one class."""

HARD_SHARE = 0.23
"""Share of tiles that look much like another class."""


def draw_mixing(n: int, rng: np.random.Generator) -> np.ndarray:
    """How much each tile looks like another class: (n,) float32 in [0, 0.5).

    Most tiles lie in [0, 0.2], denser towards 0; a share of :data:`HARD_SHARE` is uniform in [0.3, 0.48].
    """
    easy = 0.2 * rng.beta(1.0, 2.0, n)
    hard = rng.uniform(0.30, 0.48, n)
    return np.where(rng.random(n) < HARD_SHARE, hard, easy).astype(np.float32)


def draw_features(classes: np.ndarray, mixing: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """The features of each tile: ``(1 - m) * own class + m * another class``, then varied between tiles.

    Args:
        classes: (n,) integers into :data:`CLASSES`.
        mixing: (n,) weight m of the other class, which is drawn uniformly from the other three.
        rng: source of the other class and of the variation.

    Returns:
        Feature name → (n,) float32.
    """
    n = len(classes)
    other = (classes + rng.integers(1, len(CLASSES), n)) % len(CLASSES)
    variation = np.exp(VARIATION * rng.standard_normal((len(FEATURES), n)))
    features = {}
    for row, (name, values) in enumerate(FEATURES.items()):
        means = np.asarray(values)
        mean = (1.0 - mixing) * means[classes] + mixing * means[other]
        # Sizes of whole glands vary less than everything else, or the tile would be all lumen or all stroma.
        spread = np.sqrt(variation[row]) if name in ("gland_radius", "nucleus_radius", "elongation") else variation[row]
        features[name] = (mean * spread).astype(np.float32)
    features["height"] = np.minimum(features["height"], 0.9)
    return features
