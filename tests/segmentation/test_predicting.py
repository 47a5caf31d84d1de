"""Images meet their own labels."""

from __future__ import annotations

import torch

from benchmark.api import TrainingData
from benchmark.segmentation.predicting import predict_beside
from benchmark.spec import protocol
from benchmark.tasks import task_of
from benchmark.training.context import RunContext
from benchmark.training.oracle import Oracle


def test_every_image_meets_its_own_labels(monkeypatch):
    """Also where the evaluation takes several batches, the last of them smaller."""
    values = torch.arange(7, dtype=torch.uint8)
    images, labels = (part.view(7, 1, 1, 1).expand(7, 1, 8, 8).contiguous() for part in (values, values))
    data = TrainingData(images, labels, 7, tuple("abcdefg"), ("one",))
    settings = protocol("quick", {"normalize": "none"}, task="segmentation")
    oracle = Oracle(labels.numpy(), None, None, 7, data.class_names)
    run = RunContext(data, settings, seed=0, device=torch.device("cpu"), oracle=oracle, task=task_of("segmentation"))
    monkeypatch.setattr(run, "_evaluation_batch", 3)
    sizes = []

    def gap(pictures, masks):
        sizes.append(len(pictures))
        return (255 * pictures - masks).abs().amax(dim=(1, 2, 3))

    assert torch.allclose(predict_beside(run, gap, labels), torch.zeros(7), atol=1e-4)
    assert max(sizes) <= 4 and sum(sizes) == 7 and len(sizes) > 1
