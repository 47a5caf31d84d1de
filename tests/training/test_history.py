"""The training history: probabilities by hand, gaps, and means."""

from __future__ import annotations

import pytest
import torch

from benchmark.training.history import SampleHistory


def history(epochs: int = 4) -> SampleHistory:
    return SampleHistory(3, epochs, torch.device("cpu"))


def test_it_records_the_softmax_at_the_label() -> None:
    kept = history()
    logits = torch.tensor([[0.0, 0.0], [2.0, 0.0]]).log1p()  # odds 1:1 and 3:1
    kept.record(1, torch.tensor([2, 0]), torch.tensor([1, 0]), logits)
    assert kept.values[1].tolist() == pytest.approx([0.75, float("nan"), 0.5], nan_ok=True)
    assert kept.values[[0, 2, 3]].isnan().all()


def test_large_logits_do_not_overflow() -> None:
    kept = history()
    kept.record(0, torch.tensor([0]), torch.tensor([1]), torch.tensor([[1e4, -1e4]]))
    assert kept.values[0, 0] == 0


def test_bfloat16_logits_and_mixed_batches() -> None:
    kept = history()
    kept.record(0, torch.tensor([0]), torch.tensor([1]), torch.zeros(1, 4, dtype=torch.bfloat16))
    assert kept.values[0, 0] == 0.25
    kept.record(0, torch.tensor([1]), torch.tensor([1]), torch.zeros(2, 4))
    kept.record(0, torch.tensor([1]), torch.tensor([1]), None)
    assert kept.values[0, 1].isnan()


def test_the_mean_leaves_gaps_and_early_epochs_out() -> None:
    nan = float("nan")
    kept = history()
    kept.values.copy_(torch.tensor([[1.0, 0.9, nan], [0.2, nan, nan], [0.4, 0.3, nan], [nan, 0.5, nan]]))
    assert kept.mean().tolist() == pytest.approx([1.6 / 3, 1.7 / 3, 0.0])
    assert kept.mean(skip=1).tolist() == pytest.approx([0.3, 0.4, 0.0])
    assert kept.mean(skip=99).tolist() == pytest.approx([0.0, 0.5, 0.0])  # at least the last epoch counts
    assert kept.matrix(torch.tensor([1, 2])).tolist() == [pytest.approx([0.9, 0.0, 0.3, 0.5]), [0.0] * 4]


def test_it_survives_a_checkpoint() -> None:
    kept, other = history(), history()
    kept.values.uniform_()
    other.load_state_dict(kept.state_dict())
    assert torch.equal(kept.values, other.values) and other.values is not kept.values
