"""ItS2CLR: the encoder is fine-tuned by contrast between tiles whose pseudo labels a network for bags gives, at a growing pace."""

from __future__ import annotations

from typing import ClassVar

from benchmark.api import method
from benchmark.bags.contrastive import ContrastiveRounds


@method(
    "its2clr",
    task="bags",
    paper="Liu et al., Multiple Instance Learning via Iterative Self-Paced Supervised Contrastive Learning, CVPR 2023, arXiv 2210.09452",
    year=2023,
    family="contrastive",
    needs=[],
    cost=9.0,
)
class ItS2CLR(ContrastiveRounds):
    """Rounds of DSMIL and supervised contrastive fine-tuning on all tiles of negative bags."""

    presets: ClassVar = {
        "released": {
            "encoder_optimizer": "sgd", "batch": 512, "finetune_share": 0.5, "gate": "f1", "legacy_scale": True, "warmup": 15,
        },
    }  # fmt: skip
