"""Mean pooling, the floor for bags: every tile inherits the label of its bag."""

from __future__ import annotations

from benchmark.api import method
from benchmark.bags.method import BagMethod


@method("mil_mean", task="bags", paper="mean pooling, the baseline of bags", year=None, family="baseline", needs=[], cost=1.0)
class MeanPooling(BagMethod):
    """The bag's logit is the mean of its tiles'; the floor that every method for bags is compared with."""

    pooling = "mean_pool"
