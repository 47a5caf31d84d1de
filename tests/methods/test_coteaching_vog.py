"""Co-teaching with variance of gradients: its limits, its picks by hand, and the released program's slips are not repeated."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from benchmark import conformance
from benchmark.api import hp
from benchmark.conformance import resumes_exactly, tiny_run
from benchmark.registry import Registry
from benchmark.spec import protocol
from benchmark.training.vog import class_normalised, last_layer_gradients, pixel_gradients

VOG = Registry().load("method", "coteaching_vog")
Coteaching = Registry().load("method", "coteaching")


@pytest.fixture
def epochs(monkeypatch):
    """Lets tiny runs train longer than two epochs: gradients vary only once there are some."""

    def set_epochs(number, **changes):
        monkeypatch.setattr(conformance, "protocol", lambda name, given: protocol(name, {**given, "epochs": number, **changes}))

    set_epochs(6)
    return set_epochs


class TestPick:
    losses = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0])
    vog = torch.tensor([0.0, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0, 2.0, 9.0, 1.0])

    def picks(self, ratio, forget, labels=None, **params):
        method = VOG(VOG.Params(mix_ratio=ratio, **params))
        return method.pick(self.losses, self.vog, torch.zeros(10, dtype=torch.long) if labels is None else labels, forget).tolist()

    def test_by_loss_then_by_variance_of_what_is_left(self):
        # k = 5: four by loss; sample 0 has the smallest variance and is taken already
        assert self.picks(0.2, 0.5) == [1, 1, 1, 1, 0, 0, 0, 0, 0, 2]
        assert self.picks(0.4, 0.5) == [1, 1, 1, 0, 0, 0, 0, 2, 0, 2]

    def test_the_limits(self):
        assert self.picks(0.0, 0.5) == [1] * 5 + [0] * 5
        assert self.picks(1.0, 0.7) == [2, 0, 0, 0, 0, 0, 0, 2, 0, 2]
        assert self.picks(0.3, 0.0).count(0) == 0

    @pytest.mark.parametrize("size", [51, 76, 127, 128])
    def test_no_pick_is_lost_to_rounding(self, size):
        """⌊k (1 − r)⌋ + ⌊k r⌋ is often k − 1, as in the released program, which then divides by k."""
        method = VOG()
        picks = method.pick(torch.rand(size), torch.rand(size), torch.zeros(size, dtype=torch.long), 0.0)
        assert (picks > 0).all() and int((picks == 1).sum()) == int(0.8 * size + 1e-9)

    def test_at_least_one(self):
        assert sum(pick > 0 for pick in self.picks(0.2, 0.95)) == 1

    def test_within_classes(self):
        labels = torch.tensor([0] * 6 + [1] * 4)
        picks = self.picks(0.5, 0.5, labels, per_class=True)  # three of six, one of them by loss; two of four, one by loss
        assert picks[:6] == [1, 2, 2, 0, 0, 0] and picks[6:] == [1, 0, 0, 2]


def test_losses_are_means_over_what_the_other_network_picks():
    method = VOG(VOG.Params(mix_ratio=0.5, harvest="evaluation"))
    method.rate, method.gradual = 0.5, 1
    method.vog = torch.tensor([[9.0, 9.0, 1.0, 0.5], [9.0, 9.0, 9.0, 0.1]])
    first = torch.tensor([[4.0, 0.0], [3.0, 0.0], [2.0, 0.0], [1.0, 0.0]])
    second = first.flip(0)
    labels = torch.zeros(4, dtype=torch.long)
    batch = SimpleNamespace(images=None, labels=labels, indices=torch.tensor([0, 1, 2, 3]))
    losses = method.training_step(batch, [lambda _: first, lambda _: second], epoch=2)
    ce = [torch.nn.functional.cross_entropy(z, labels, reduction="none") for z in (first, second)]
    # the first network picks 0 by loss and 3 by variance; the second 3 by loss, then 0, the first of equal variances
    assert losses[0].item() == pytest.approx((ce[0][3] + ce[0][0]).item() / 2)
    assert losses[1].item() == pytest.approx((ce[1][0] + ce[1][3]).item() / 2)
    early = method.training_step(batch, [lambda _: first, lambda _: second], epoch=1)
    assert early[0].item() == pytest.approx((ce[0][2] + ce[0][3]).item() / 2)  # while the ramp lasts, by loss alone


@pytest.mark.parametrize("harvest", ["training", "evaluation"])
def test_without_a_share_it_is_coteaching(harvest, epochs):
    mine, other = tiny_run(VOG, mix_ratio=0.0, harvest=harvest), tiny_run(Coteaching)
    assert torch.equal(mine.probabilities, other.probabilities)
    assert torch.equal(mine.method.label_quality(), other.method.label_quality())
    assert mine.method.window1.pushed == 0
    assert not torch.equal(tiny_run(VOG, mix_ratio=0.5, harvest=harvest).probabilities, other.probabilities)


@pytest.mark.parametrize("harvest", ["training", "evaluation"])
def test_looking_at_gradients_changes_no_network(harvest, epochs):
    """Until the first picks by variance it is co-teaching, although gradients are looked at: no batch statistics are moved."""
    epochs(2)
    mine, other = tiny_run(VOG, mix_ratio=1.0, harvest=harvest), tiny_run(Coteaching)
    assert mine.method.window1.pushed == 2
    assert torch.equal(mine.probabilities, other.probabilities)
    assert torch.equal(mine.run.history.values, other.run.history.values)


@pytest.mark.parametrize("harvest", ["training", "evaluation"])
def test_nothing_is_kept_before_the_first_picks_reach_back_to_it(harvest, epochs):
    """Of 12 epochs the ramp has 3, so the first picks by variance are in epoch 4 and go by epochs 2 and 3."""
    epochs(12)
    assert tiny_run(VOG, observe_epochs=2, harvest=harvest).method.window2.pushed == 10


def test_the_training_passes_are_what_is_harvested(epochs, monkeypatch):
    for gradient in ("label", "all_activations"):
        seen = torch.zeros(6, 2, 60, 97 if gradient == "label" else 3 * 97)
        step = VOG.training_step

        def spy(method, batch, networks, epoch, gradient=gradient, seen=seen, step=step):
            with torch.no_grad():  # the same passes again: batch statistics are of the batch, and those that are kept are not used
                parts = [(network.features(batch.images), network(batch.images)) for network in networks]
            every = gradient == "all_activations"
            for position, (h, z) in enumerate(parts):
                seen[epoch, position, batch.indices] = last_layer_gradients(h, z, batch.labels, all_activations=every).flatten(1)
            return step(method, batch, networks, epoch)

        with monkeypatch.context() as patch:
            patch.setattr(VOG, "training_step", spy)
            method = tiny_run(VOG, gradient=gradient, observe_epochs=3).method
        expected = seen[-3:].std(dim=0, correction=0).mean(dim=2)
        assert torch.allclose(method.vog, expected, rtol=2e-2, atol=1e-5)  # half precision


@pytest.mark.parametrize("gradient", ["label", "all_activations", "pixels"])
def test_the_variance_is_that_of_the_last_epochs(gradient, epochs, monkeypatch):
    seen = []
    observe = VOG.gradients

    def spy(method, networks, run):
        images, labels = run._augmenter(run._data.images[:]), run._data.labels
        networks.train(False)
        if gradient == "pixels":
            seen.append(torch.stack([pixel_gradients(network, images, labels) for network in networks]))
        else:
            with torch.no_grad():
                parts = [(network.features(images), network(images)) for network in networks]
            every = gradient == "all_activations"
            seen.append(torch.stack([last_layer_gradients(h, z, labels, all_activations=every).flatten(1) for h, z in parts]))
        return observe(method, networks, run)

    monkeypatch.setattr(VOG, "gradients", spy)
    harvest = "training" if gradient == "pixels" else "evaluation"  # pixels are never looked at while training
    method = tiny_run(VOG, gradient=gradient, observe_epochs=3, rate=0.2, harvest=harvest).method
    assert len(seen) == 6  # the ramp ends with the first epoch, so every epoch counts
    expected = torch.stack(seen[-3:]).std(dim=0, correction=0).mean(dim=2)
    assert torch.allclose(method.vog, expected, rtol=2e-2, atol=1e-5)  # half precision


def test_scores_within_classes_have_mean_zero(epochs):
    plain, normal = tiny_run(VOG, mix_ratio=0.2).method, tiny_run(VOG, class_norm=True).method
    labels = normal.data.labels
    assert all(abs(normal.vog[0][labels == k].mean().item()) < 1e-5 for k in range(3))
    assert not all(abs(plain.vog[0][labels == k].mean().item()) < 1e-5 for k in range(3))
    again = class_normalised(normal.window1.score(), labels, 3)
    assert torch.equal(normal.vog[0], again)


@pytest.mark.parametrize("harvest", ["training", "evaluation"])
def test_networks_at_rest_have_gradients_that_vary_by_nothing(harvest, epochs):
    epochs(6, lr=0.0, backbone="mlp")  # without batch norm, whose statistics move even so
    method = tiny_run(VOG, channels=6, size=conformance.FEATURES, harvest=harvest).method
    assert method.window2.pushed == 6
    assert method.vog.max() <= (1e-7 if harvest == "training" else 0)  # in another batch a sample's logits may be rounded otherwise


def test_what_it_picks_from_all_samples_at_once(epochs):
    method = tiny_run(VOG, noise_rate=0.3, mix_ratio=0.5).method
    picked, suspects = method.sample_columns()["picked"], method.suspects()
    assert torch.equal(suspects, picked == 0)
    assert [int((picked == kind).sum()) for kind in range(3)] == [18, 21, 21]
    assert method.quality[picked == 1].min() >= method.quality[picked != 1].max()
    vog = method.sample_columns()["vog"]
    assert vog[picked == 2].max() <= vog[picked == 0].min()


@pytest.mark.parametrize(
    ("kind", "source"), [("label", "training"), ("all_activations", "training"), ("label", "evaluation"), ("pixels", "evaluation")]
)
def test_a_killed_run_resumes_exactly(kind, source, epochs):
    class Variant(VOG):
        @dataclass(frozen=True)
        class Params(VOG.Params):
            gradient: str = hp(kind, choices=("label", "all_activations", "pixels"))
            harvest: str = hp(source, choices=("training", "evaluation"))
            class_norm: bool = hp(True)
            per_class: bool = hp(True)

    epochs(4)
    resumes_exactly(Variant)


def test_odd_classes_with_every_option(epochs):
    epochs(4)
    for labels in (np.zeros(60, dtype=np.int64), np.where(np.arange(60) == 7, 2, np.arange(60) % 2)):
        for gradient in ("label", "all_activations", "pixels"):
            result = tiny_run(VOG, labels=labels, gradient=gradient, class_norm=True, per_class=True)
            assert torch.isfinite(result.probabilities).all() and torch.isfinite(result.method.vog).all()
    for options in ({"channels": 1}, {"size": (8, 12)}, {"channels": 6, "size": conformance.FEATURES}):
        if options.get("size") == conformance.FEATURES:
            epochs(4, backbone="linear")
        tiny_run(VOG, gradient="pixels", **options)
