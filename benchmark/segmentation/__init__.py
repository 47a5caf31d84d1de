"""Segmentation with noisy masks.

Everything is T independent tasks of J classes each: overlapping organs are T = organs and J = 2, a multi-class map is T = 1 and J = K.
Labels are (n, T, H, W) uint8 class ids in [0, J), class 0 is the background; probabilities are (n, T, J, H, W).
"""

VOID = 255
"""A pixel with this label is ignored everywhere: it trains, counts and is flagged nowhere."""
