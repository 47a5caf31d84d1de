"""HNM-WSI: contrastive fine-tuning on hard negatives alone, and a network for bags that ranks positive bags above negative ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from benchmark.api import hp, method
from benchmark.bags.contrastive import ContrastiveRounds, RoundsParams
from benchmark.bags.data import BagBatch
from benchmark.bags.losses import SCORE_SPACES, ranking_loss
from benchmark.bags.networks import BagOutput


@method(
    "hnm_wsi",
    task="bags",
    paper="Huang et al., Hard Negative Sample Mining for Whole Slide Image Classification (HNM-WSI), MICCAI 2024, arXiv 2410.02212",
    year=2024,
    family="contrastive",
    needs=[],
    cost=9.0,
)
class HNMWSI(ContrastiveRounds):
    """ItS2CLR with a share of the negatives, those that look most like positives, and a ranking loss between bags."""

    presets: ClassVar = {
        "paper": {
            "encoder_optimizer": "sgd", "batch": 512, "finetune_share": 0.125, "gate": "f1",
            "neg_ratio": 0.05, "posi_batch_ratio": 0.2, "score_space": "prob",
        },
        "released": {
            "encoder_optimizer": "sgd", "batch": 512, "finetune_share": 0.5, "gate": "f1", "legacy_scale": True,
            "neg_ratio": 0.2, "posi_batch_ratio": 0.2,
        },
    }  # fmt: skip

    @dataclass(frozen=True)
    class Params(RoundsParams):
        """What is new."""

        neg_ratio: float = hp(0.2, 0.0, 1.0, search=(0.02, 1.0), log=True, help="share of negative bags' tiles in fine-tuning, the hardest")
        rank_weight: float = hp(0.1, 0.0, 100.0, search=(0.01, 1.0), log=True, help="weight of the ranking loss")
        rank_k: int = hp(10, 1, 10_000, search=(1, 20), help="tiles of a bag whose mean is ranked, those of the highest scores")
        score_space: str = hp("logit", choices=SCORE_SPACES, help="ranked are logits, as released, or probabilities, as in the paper")

    @property
    def hard_share(self) -> float:  # type: ignore[override]
        """As asked for."""
        return self.params.neg_ratio

    def pair_loss(self, output: BagOutput, batch: BagBatch) -> Tensor | float:
        """The ranking loss."""
        p = self.params
        if not p.rank_weight:
            return 0.0
        positive, negative = torch.arange(len(batch), device=batch.labels.device).chunk(2)
        loss = ranking_loss(output.instance_logits, batch.offsets, positive, negative, k=p.rank_k, score_space=p.score_space)
        return p.rank_weight * loss
