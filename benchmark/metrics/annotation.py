"""What labels were paid for, and what they bought."""

from __future__ import annotations

import numpy as np


def annotation(ledger: np.ndarray, n: int) -> dict[str, float | None]:
    """Summary of a ledger.

    Args:
        ledger: (q, 6) int64, one row an answer: round, sample, rater, given, answer, true.
        n: number of training samples.

    Returns:
        ``paid``: answers paid for; ``share``: that over n; ``found_wrong``: share of the samples asked about whose given label was
        wrong; ``annotator_wrong``: share of the answers that were wrong. The last two are None where nothing was asked.
    """
    _, first = np.unique(ledger[:, 1], return_index=True)
    asked = ledger[first]
    return {
        "paid": float(len(ledger)),
        "share": len(ledger) / n,
        "found_wrong": float((asked[:, 3] != asked[:, 5]).mean()) if len(asked) else None,
        "annotator_wrong": float((ledger[:, 4] != ledger[:, 5]).mean()) if len(ledger) else None,
    }
