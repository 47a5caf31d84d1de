"""Plain cross-entropy: the floor of every comparison."""

import torch.nn.functional as F

from benchmark.api import Method, method


@method(
    "ce",
    paper="cross-entropy, the baseline without any defence",
    year=None,
    family="baseline",
    needs=[],
    cost=1.0,
)
class CrossEntropy(Method):
    """Cross-entropy on the given labels, with no defence against wrong ones."""

    def training_step(self, batch, networks, epoch):
        """Mean cross-entropy of the batch."""
        return F.cross_entropy(networks[0](batch.images), batch.labels)
