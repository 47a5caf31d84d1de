"""HSA-NRL against hand-computed numbers, degenerate splits, and what the paper says it does."""

from __future__ import annotations

import importlib
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from benchmark.conformance import tiny_run
from benchmark.errors import BenchmarkError
from benchmark.registry import Registry

HSA = Registry().load("method", "hsa")
correction = importlib.import_module(f"{HSA.__module__}.correction")
detector = importlib.import_module(f"{HSA.__module__}.detector")
nshe = importlib.import_module(f"{HSA.__module__}.nshe")


class TestEasySplit:
    def test_the_lowest_share_is_unsure(self):
        split = correction.split_easy(torch.tensor([0.9, 0.1, 0.5, 0.3, 0.7]), 0.4)
        assert split.unsure.tolist() == [1, 3]
        assert split.easy.tolist() == [0, 2, 4]

    @pytest.mark.parametrize(("share", "unsure"), [(0.0, 0), (-1.0, 0), (1.0, 5), (1.8, 5), (0.5, 2)])
    def test_shares_are_clipped(self, share, unsure):
        split = correction.split_easy(torch.linspace(0, 1, 5), share)
        assert len(split.unsure) == unsure
        assert len(split.easy) == 5 - unsure

    def test_of_each_class_the_same_share_is_unsure(self):
        means, labels = torch.tensor([0.9, 0.8, 0.7, 0.6, 0.3, 0.1, 0.2]), torch.tensor([0, 0, 0, 0, 1, 1, 2])
        assert correction.split_easy(means, 0.5).unsure.tolist() == [3, 4, 5, 6]  # the hard classes whole: 3.5 rounds to 4
        split = correction.split_easy(means, 0.5, labels)
        assert split.unsure.tolist() == [2, 3, 5]  # two of four, one of two, and 0.5 of one rounds to none
        assert split.easy.tolist() == [0, 1, 4, 6]

    def test_the_limits_are_the_highest_means_among_the_unsure(self):
        means, labels = torch.tensor([0.9, 0.8, 0.7, 0.6, 0.3, 0.1, 0.2]), torch.tensor([0, 0, 0, 0, 1, 1, 2])
        limits = correction.highest_unsure(means, torch.tensor([2, 3, 5]), labels, 4)
        assert limits.tolist() == pytest.approx([0.7, 0.1, -1.0, -1.0])  # nothing reaches -1
        assert correction.highest_unsure(means, torch.tensor([2, 3, 5]), torch.zeros_like(labels), 1).tolist() == pytest.approx([0.7])


def test_two_witnesses_must_agree():
    given = torch.tensor([0, 0, 0, 0])
    predicted = torch.tensor([0, 0, 1, 1])
    wrong = torch.tensor([False, True, False, True])
    verdict = correction.select(given, predicted, wrong)
    # confirmed and hard: kept; confirmed but called wrong: dropped; contradicted but called hard: dropped; both: corrected
    assert verdict.state.tolist() == [correction.HARD, correction.DROPPED, correction.DROPPED, correction.NOISY]
    assert verdict.labels.tolist() == [0, 0, 1, 1]


class TestDetector:
    def histories(self, n=200, epochs=16):
        """Clean histories rise early, wrong ones late."""
        rng = np.random.default_rng(0)
        wrong = np.arange(n) % 4 == 0
        start = np.where(wrong, 11, 4)[:, None]
        curves = 1 / (1 + np.exp(-(np.arange(epochs) - start))) + rng.normal(0, 0.05, (n, epochs))
        return torch.from_numpy(curves.clip(0, 1)).float(), torch.from_numpy(wrong)

    def test_learns_the_shape_of_a_history(self):
        histories, wrong = self.histories()
        found = detector.train_detector(histories, wrong, balance=False, generator=torch.Generator().manual_seed(0))
        assert found.quality["auroc"] > 0.99
        assert found.quality["pool"] == 200
        assert found.quality["pool_wrong_share"] == pytest.approx(0.25)
        assert ((found.wrong_probability(histories) > 0.5) == wrong).float().mean() > 0.97

    def test_balance_raises_the_recall_of_the_rare_answer(self):
        vague, wrong = torch.rand(200, 16, generator=torch.Generator().manual_seed(1)), torch.arange(200) % 4 == 0  # the prior decides
        said = []
        for balance in (False, True):
            found = detector.train_detector(vague, wrong, balance=balance, generator=torch.Generator().manual_seed(0))
            said.append(int((found.wrong_probability(vague) > 0.5)[wrong].sum()))
        assert said[1] > said[0]

    @pytest.mark.parametrize("answer", [True, False])
    def test_one_kind_only_is_said_of_everything(self, answer):
        pool = torch.full((20,), answer)
        found = detector.train_detector(torch.rand(20, 8), pool, balance=True, generator=torch.Generator())
        assert found.network is None
        assert (found.wrong_probability(torch.rand(5, 8)) == float(answer)).all()

    def test_an_empty_pool_calls_everything_wrong(self):
        found = detector.train_detector(torch.zeros(0, 8), torch.zeros(0, dtype=torch.bool), balance=False, generator=torch.Generator())
        assert found.wrong_probability(torch.rand(3, 8)).tolist() == [1.0, 1.0, 1.0]
        assert found.wrong_probability(torch.zeros(0, 8)).shape == (0,)


class TestNSHE:
    def test_weights_by_hand(self):
        p = torch.tensor([0.0, 0.5, 1.0])
        # focal: 1, 0.25, 0 with mean 5/12; confidence: 0, 0.25, 1 with the same mean
        assert nshe.hard_weights(p, "focal", 2.0).tolist() == pytest.approx([2.4, 0.6, 0.0])
        assert nshe.hard_weights(p, "confidence", 2.0).tolist() == pytest.approx([0.0, 0.6, 2.4])
        assert nshe.hard_weights(p, "none", 2.0).tolist() == [1.0, 1.0, 1.0]

    def test_gamma_zero_is_no_weighting(self):
        p = torch.rand(7)
        for weighting in ("focal", "confidence"):
            assert torch.allclose(nshe.hard_weights(p, weighting, 0.0), torch.ones(7))

    def test_weights_that_all_vanish_become_one(self):
        assert nshe.hard_weights(torch.ones(4), "focal", 2.0).tolist() == [1.0] * 4

    def test_the_least_probable_are_left_out(self):
        probability = torch.tensor([0.9, 0.2, 0.8, 0.1, 0.05])
        mask = nshe.lowest(probability, torch.tensor([0, 1, 2, 3]), 0.5)  # sample 4 is not in the set
        assert mask.tolist() == [False, True, False, True, False]
        assert not nshe.lowest(probability, torch.tensor([0, 1]), 0.4).any()  # ⌊0.8⌋ = 0

    def test_the_least_probable_of_each_class_are_left_out(self):
        probability, labels = torch.tensor([0.9, 0.8, 0.7, 0.2, 0.1, 0.05]), torch.tensor([0, 0, 0, 1, 1])
        mask = nshe.lowest(probability, torch.arange(5), 0.5, labels)  # sample 5 is not in the set; ⌊1.5⌋ and one of two
        assert mask.tolist() == [False, False, True, False, True, False]
        assert nshe.lowest(probability, torch.arange(5), 0.5).tolist() == [False, False, False, True, True, False]

    @pytest.mark.parametrize(("steps", "expected"), [(100_000, 0.999), (1000, 0.99), (20, 0.5), (5, 0.0)])
    def test_momentum_is_scaled_to_short_runs(self, steps, expected):
        assert nshe.ema_momentum(0.999, steps) == pytest.approx(expected)

    def test_loss_is_per_sample_and_by_dataset_position(self):
        params = SimpleNamespace(forget_rate=0.0, weighting="focal", gamma=1.0)
        suppressor = nshe.NoiseSuppressor(torch.arange(4), 4, 3, params, warmup=1)
        suppressor.last = torch.tensor([0.0, 1.0, 0.5, 0.5])
        suppressor.left_out = torch.tensor([False, False, True, False])
        logits = torch.tensor([[2.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
        batch = SimpleNamespace(labels=torch.tensor([0, 0, 1]), indices=torch.tensor([3, 0, 2]))
        ce = torch.nn.functional.cross_entropy(logits, batch.labels, reduction="none")
        # last p of positions 3, 0, 2 is 0.5, 0, 0.5: weights 0.5, 1, 0.5 over their mean 2/3; position 2 is left out
        expected = (0.75 * ce[0] + 1.5 * ce[1]) / 2
        assert suppressor.loss(logits, batch, epoch=1) == pytest.approx(expected.item(), rel=1e-6)
        assert suppressor.loss(logits, batch, epoch=0) == pytest.approx(((ce[0] + ce[1]) / 2).item(), rel=1e-6)

    def test_a_batch_that_is_all_left_out_costs_nothing(self):
        params = SimpleNamespace(forget_rate=0.0, weighting="none", gamma=1.0)
        suppressor = nshe.NoiseSuppressor(torch.arange(2), 2, 3, params, warmup=0)
        suppressor.left_out = torch.tensor([True, True])
        batch = SimpleNamespace(labels=torch.tensor([0, 1]), indices=torch.tensor([0, 1]))
        assert suppressor.loss(torch.randn(2, 2), batch, epoch=0) == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"rounds": 3},
        {"detect": False},
        {"correct": False},
        {"ema": 0.0},
        {"detector_pool": "all", "detector_balance": True},
        {"weighting": "confidence"},
        {"weighting": "none", "warmup": 0},
        {"noise_rate": "estimate", "inject": "symmetric"},
        {"hard_ratio": 5.0, "noise_rate": 0.9},
        {"noise_rate": 0.0},
        {"per_class": True, "rounds": 2, "forget_rate": 0.1},
    ],
    ids=str,
)
def test_every_setting_trains(changes):
    result = tiny_run(HSA, **changes)
    assert torch.isfinite(result.probabilities).all()
    method = result.method
    corrected = method.corrected_labels()
    assert torch.equal(corrected == -1, method.state == correction.DROPPED)
    easy = method.state == correction.EASY
    assert torch.equal(method.labels[easy], method.data.labels[easy]) or changes.get("rounds", 1) > 1


def test_nothing_is_unsure_without_noise():
    method = tiny_run(HSA, noise_rate=0.0).method
    assert (method.state == correction.EASY).all()
    assert not method.suspects().any()
    assert torch.equal(method.corrected_labels(), method.data.labels)


def test_within_classes_no_class_is_unsure_as_a_whole():
    labels = np.where(np.arange(60) % 10 == 0, 2, np.arange(60) % 2)  # six of class 2
    method = tiny_run(HSA, labels=labels, noise_rate=0.3, per_class=True).method
    unsure = torch.bincount(method.data.labels[method.state != correction.EASY], minlength=3).tolist()
    assert unsure == [round(1.5 * 0.3 * int(size)) for size in torch.bincount(method.data.labels)]
    assert method.suppressor.labels is not None


@pytest.mark.parametrize("answer", [0.0, 1.0])
def test_a_detector_of_one_answer_ends_nothing(monkeypatch, answer):
    """Nobody is called noisy, or everybody who is unsure."""
    run_round = correction.run_round.__globals__
    monkeypatch.setitem(run_round, "train_detector", lambda *_, **__: detector.Detector(None, answer, {}))
    result = tiny_run(HSA)
    assert torch.isfinite(result.probabilities).all()
    states = set(result.method.state.tolist())
    assert (correction.NOISY in states) <= (answer == 1.0) and (correction.HARD in states) <= (answer == 0.0)


def test_to_drop_every_sample_is_an_error_of_one_line(monkeypatch):
    """Nobody is easy, and the two witnesses never agree."""
    everybody = correction.Verdict

    def never(given, predicted, wrong):
        return everybody(torch.full_like(given, correction.DROPPED), predicted)

    monkeypatch.setitem(correction.run_round.__globals__, "select", never)
    with pytest.raises(BenchmarkError, match=r"^hsa dropped every sample; lower noise_rate or hard_ratio$"):
        tiny_run(HSA, noise_rate=0.95, hard_ratio=5.0)


def test_ranking_puts_easy_samples_first():
    method = tiny_run(HSA).method
    easy = method.state == correction.EASY
    assert method.label_quality()[easy].min() >= 1 >= method.label_quality()[~easy].max()


def test_truths_that_were_used_are_metered():
    assert set(tiny_run(HSA).run.oracle.used) == {"noise_rate", "noise_kind"}
    assert not tiny_run(HSA, noise_rate=0.3, inject="symmetric").run.oracle.used


def test_more_rounds_cost_more_and_are_reported():
    one, two = tiny_run(HSA), tiny_run(HSA, rounds=2)
    assert two.run.trained_samples > one.run.trained_samples
    assert "round2_noise_rate" in two.method.diagnostics()
    assert "round2_noise_rate" not in one.method.diagnostics()
