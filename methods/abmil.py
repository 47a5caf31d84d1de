"""ABMIL: gated attention says how much each tile counts."""

from __future__ import annotations

from benchmark.api import method
from benchmark.bags.method import BagMethod


@method(
    "abmil",
    task="bags",
    paper="Ilse, Tomczak and Welling, Attention-based Deep Multiple Instance Learning, ICML 2018, arXiv 1802.04712",
    year=2018,
    family="attention",
    needs=[],
    cost=1.1,
)
class ABMIL(BagMethod):
    """Cross-entropy of the bag's logit, an attention-weighted sum of its tiles'."""

    pooling = "abmil"
