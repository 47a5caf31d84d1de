"""Several people's masks of the same images: one of them each, or what most of them say."""

from __future__ import annotations

import numpy as np

from benchmark.seeds import numpy_generator
from benchmark.segmentation import VOID


def draw_annotators(available: np.ndarray, draw: int) -> np.ndarray:
    """One annotator for each image, all who drew it equally likely.

    Args:
        available: (n, R) bool, at least one True in each row.
        draw: another number draws others.

    Returns:
        (n,) int64 in [0, R).
    """
    chances = numpy_generator("masks", "annotators", draw).random(len(available))
    place = (chances * available.sum(axis=1)).astype(np.int64)
    order = np.argsort(~available, axis=1, kind="stable")  # those who drew it come first
    drawn: np.ndarray = order[np.arange(len(available)), place]
    return drawn


def majority_vote(votes: np.ndarray, available: np.ndarray, num_classes: int) -> np.ndarray:
    """The class that most of an image's annotators give a pixel; a tie goes to the lowest.

    Args:
        votes: (n, R, T, H, W) uint8 class ids; 255 is no vote.
        available: (n, R) bool: whose votes count.
        num_classes: J.

    Returns:
        (n, T, H, W) uint8; 255 where nobody gives a class.
    """
    most = np.zeros((len(votes), *votes.shape[2:]), dtype=np.int64)
    winner = np.full(most.shape, VOID, dtype=np.uint8)
    for j in range(num_classes):
        count = ((votes == j) & available[:, :, None, None, None]).sum(axis=1)
        winner[count > most] = j
        most = np.maximum(most, count)
    return winner
