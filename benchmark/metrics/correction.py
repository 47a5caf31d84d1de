"""What a method's corrected labels are worth."""

from __future__ import annotations

import numpy as np


def correction(given: np.ndarray, true: np.ndarray, corrected: np.ndarray) -> dict[str, float | None]:
    """Noise before and after correction.

    Args:
        given, true: (n,) int64 labels.
        corrected: (n,) int64 labels after correction, negative where the sample was dropped.

    Returns:
        Values in [0, 1], None where undefined:

        - ``noise_before``: share of wrong labels among all.
        - ``noise_after``: share of wrong labels among the samples that were kept; None if none was. Read it with
          ``kept``: dropping every doubtful sample lowers it too.
        - ``kept``: share of samples that were not dropped.
        - ``recovery``: of the wrong labels, the share that is now right; None if none was wrong.
    """
    if given.size == 0:
        return dict.fromkeys(("noise_before", "noise_after", "kept", "recovery"))
    wrong, kept, restored = given != true, corrected >= 0, corrected == true
    return {
        "noise_before": float(wrong.mean()),
        "noise_after": float((~restored[kept]).mean()) if kept.any() else None,
        "kept": float(kept.mean()),
        "recovery": float(restored[wrong].mean()) if wrong.any() else None,
    }
