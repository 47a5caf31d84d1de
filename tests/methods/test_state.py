"""What a checkpoint keeps of a method's attributes."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from benchmark.api import Method, method
from benchmark.errors import BenchmarkError


@method("stateful")
class Stateful(Method):
    """Nothing but attributes."""


def made(**attributes) -> Stateful:
    instance = Stateful()
    instance.run = SimpleNamespace(device=torch.device("cpu"))
    vars(instance).update(attributes)
    return instance


def test_plain_values_come_back():
    nested = {"rounds": [1, 2.5, None], "mask": torch.tensor([True, False])}
    source = made(quality=torch.arange(3.0), rate=np.float64(0.25), name="x", notes=nested)
    target = made()
    target.load_state_dict(source.state_dict())
    assert torch.equal(target.quality, torch.arange(3.0))
    assert (target.rate, target.name, target.notes["rounds"]) == (0.25, "x", [1, 2.5, None])
    assert torch.equal(target.notes["mask"], nested["mask"])


def test_a_numpy_array_is_refused_by_name():
    with pytest.raises(BenchmarkError, match=r"stateful\.weights is a numpy array"):
        made(weights=np.zeros(3)).state_dict()


def test_objects_are_restored_in_place():
    source, target = made(layer=torch.nn.Linear(2, 2)), made(layer=torch.nn.Linear(2, 2))
    target.load_state_dict(source.state_dict())
    assert torch.equal(target.layer.weight, source.layer.weight)
    with pytest.raises(BenchmarkError, match="create it in setup"):
        made().load_state_dict(source.state_dict())
