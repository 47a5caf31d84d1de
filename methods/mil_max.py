"""Max pooling: a bag is its most positive tile."""

from __future__ import annotations

from benchmark.api import method
from benchmark.bags.method import BagMethod


@method(
    "mil_max",
    task="bags",
    paper="max pooling, the standard assumption of multiple instance learning",
    year=None,
    family="pooling",
    needs=[],
    cost=1.0,
)
class MaxPooling(BagMethod):
    """The bag's logit is the largest of its tiles'; every tile but one has no gradient."""

    pooling = "max_pool"
