"""DivideMix: two networks divide the samples for each other; the labels that neither trusts are guessed (MixMatch)."""

from typing import ClassVar

from benchmark.api import method
from benchmark.training.codivide import CoDivide


@method(
    "dividemix",
    paper="Li et al., DivideMix: Learning with Noisy Labels as Semi-supervised Learning, ICLR 2020, arXiv 2002.07394",
    year=2020,
    family="semi-supervised",
    needs=["noise_rate"],
    cost=9.0,
)
class DivideMix(CoDivide):
    """Co-divide by a mixture over losses, co-refine and co-guess labels, mix everything."""

    presets: ClassVar = {
        "low": {"lambda_u": 0.0},
        "high": {"lambda_u": 25.0},
        "extreme": {"lambda_u": 50.0, "average_losses": 5},
        "asymmetric": {"lambda_u": 0.0, "confidence_penalty": 1.0},
        "cifar100_low": {"lambda_u": 25.0, "warmup": 30},
        "cifar100_high": {"lambda_u": 150.0, "warmup": 30},
        "clothing1m": {"lambda_u": 0.0, "alpha": 0.5, "warmup": 1, "confidence_penalty": 1.0},
        "imbalanced": {"prior": "none", "per_class": True},
    }
