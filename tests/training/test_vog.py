"""Variance of gradients: closed forms against autograd, running and windowed variances against the direct ones."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

from benchmark.training import vog
from benchmark.training.context import RunContext


def drawn(batch: int = 6, width: int = 4, classes: int = 3) -> tuple[torch.Tensor, torch.nn.Linear, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    head = torch.nn.Linear(width, classes)
    with torch.no_grad():
        head.weight.copy_(torch.randn(classes, width, generator=generator))
        head.bias.copy_(torch.randn(classes, generator=generator))
    return torch.randn(batch, width, generator=generator), head, torch.arange(batch) % classes


def by_autograd(features: torch.Tensor, head: torch.nn.Linear, label: torch.Tensor) -> torch.Tensor:
    """(K, 1 + D): bias and weights' gradient of one sample's cross-entropy."""
    bias, weight = torch.autograd.grad(F.cross_entropy(head(features[None]), label[None]), [head.bias, head.weight])
    return torch.cat([bias[:, None], weight], dim=1)


def test_the_closed_form_is_the_gradient() -> None:
    features, head, labels = drawn()
    expected = torch.stack([by_autograd(x, head, y) for x, y in zip(features, labels, strict=True)])
    logits = head(features)
    rows = vog.last_layer_gradients(features, logits, labels, all_activations=True)
    assert torch.allclose(rows, expected, atol=1e-6)
    own = vog.last_layer_gradients(features, logits, labels)
    assert torch.allclose(own, expected[torch.arange(6), labels], atol=1e-6)
    assert own.shape == (6, 5) and rows.shape == (6, 3, 5)


def test_a_sample_in_a_small_last_batch_has_the_same_gradient() -> None:
    """The released program differentiates the mean over a batch, so that a last batch of 2 weighs 16 times one of 32."""
    features, head, labels = drawn()
    whole = vog.last_layer_gradients(features, head(features), labels)
    assert torch.equal(vog.last_layer_gradients(features[4:], head(features[4:]), labels[4:]), whole[4:])


def test_a_residual_keeps_its_digits_where_the_probability_rounds_to_one() -> None:
    logits, labels = torch.tensor([[30.0, 0.0]]), torch.tensor([0])
    assert vog.residuals(logits, labels).item() == pytest.approx(-9.3576e-14, rel=1e-3)
    assert vog.residuals(logits, labels, all_activations=True).tolist()[0] == pytest.approx([-9.3576e-14, 9.3576e-14], rel=1e-3)


def test_the_inputs_of_last_layers_are_seen_in_passing(context: Callable[..., RunContext]) -> None:
    first, second = context().networks(2)
    images = torch.randn(4, 1, 8, 8)
    plain = first(images)
    with vog.last_layer_inputs([first, second]) as seen:
        assert torch.equal(first(images), plain)
        second(images)
    first(images)  # no longer looked at
    assert len(seen) == 2 and not seen[0].requires_grad
    assert torch.equal(first.head(seen[0]), plain)
    assert torch.equal(seen[1], second.features(images))


class TestRunningVariance:
    def test_is_that_of_all_checkpoints(self) -> None:
        values = torch.randn(7, 5, 3, generator=torch.Generator().manual_seed(1)) + 100
        running = vog.RunningVariance(5, 3, torch.device("cpu"))
        for checkpoint in values:
            running.update(checkpoint)
        assert torch.allclose(running.variance(), values.var(dim=0, correction=0), atol=1e-3)
        assert torch.allclose(running.score(), values.std(dim=0, correction=0).mean(dim=1), atol=1e-3)
        assert torch.allclose(running.mean, values.mean(dim=0))

    def test_takes_some_rows_at_a_time(self) -> None:
        running = vog.RunningVariance(3, 1, torch.device("cpu"))
        running.update(torch.tensor([[1.0], [5.0]]), torch.tensor([2, 0]))
        running.update(torch.tensor([[3.0]]), torch.tensor([2]))
        assert running.count.tolist() == [1, 0, 2]
        assert running.variance().squeeze(1).tolist() == [0.0, 0.0, 1.0]

    def test_is_kept(self) -> None:
        first, second = (vog.RunningVariance(2, 2, torch.device("cpu")) for _ in range(2))
        first.update(torch.eye(2))
        second.load_state_dict(first.state_dict())
        for each in (first, second):
            each.update(torch.ones(2, 2))
        assert torch.equal(first.score(), second.score()) and first.score().tolist() == [0.25, 0.25]


class TestWindowedVariance:
    @pytest.mark.parametrize("rows", [None, 3])
    def test_is_that_of_the_last_checkpoints(self, rows: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(vog, "PIECE", 64)  # several pieces
        generator = torch.Generator().manual_seed(2)
        vectors = torch.randn(6, 8, 4, generator=generator).half().float()
        factors = torch.randn(6, 8, *([] if rows is None else [rows]), generator=generator)
        window = vog.WindowedVariance(4)
        for vector, factor in zip(vectors, factors, strict=True):
            window.push(vector, factor)
        products = factors.reshape(6, 8, -1, 1) * vectors[:, :, None]
        expected = products[2:].std(dim=0, correction=0).mean(dim=(1, 2))
        score = window.score()
        assert score is not None and torch.allclose(score, expected, atol=1e-6)

    def test_takes_a_checkpoint_in_parts(self) -> None:
        """As a training epoch gives it: in any order, and nothing counts before the checkpoint is complete."""
        generator = torch.Generator().manual_seed(3)
        whole, parts = vog.WindowedVariance(2), vog.WindowedVariance(2)
        for checkpoint in range(3):
            vectors, factors = torch.randn(5, 4, generator=generator), torch.randn(5, generator=generator)
            whole.push(vectors, factors)
            for rows in torch.randperm(5, generator=generator).split(2):
                parts.write(5, rows, vectors[rows], factors[rows])
                assert parts.pushed == checkpoint
            parts.complete()
        first, second = whole.score(), parts.score()
        assert first is not None and second is not None and torch.equal(first, second)

    def test_a_network_at_rest_varies_by_nothing(self) -> None:
        features, head, labels = drawn()
        window = vog.WindowedVariance(5)
        for _ in range(5):
            window.push(vog.with_bias(features), vog.residuals(head(features), labels, all_activations=True))
        score = window.score()
        assert score is not None and score.tolist() == [0.0] * 6

    def test_frozen_features_leave_the_deviation_of_the_probability(self) -> None:
        """VOG = std_t(p_y) · mean |(1, h)| where h never changes."""
        features, head, labels = drawn()
        features = features.half().float()
        window, given = vog.WindowedVariance(3), []
        for scale in (0.5, 1.0, 2.0):
            logits = scale * head(features)
            given.append(logits.softmax(dim=1).gather(1, labels[:, None]).squeeze(1))
            window.push(vog.with_bias(features), vog.residuals(logits, labels))
        expected = torch.stack(given).std(dim=0, correction=0) * vog.with_bias(features).abs().mean(dim=1)
        score = window.score()
        assert score is not None and torch.allclose(score, expected, atol=1e-6)

    def test_one_checkpoint_says_nothing(self) -> None:
        window = vog.WindowedVariance(3)
        assert window.score() is None
        window.push(torch.ones(2, 2), torch.ones(2))
        assert window.score() is None

    def test_is_kept_also_when_half_full(self) -> None:
        first, second = vog.WindowedVariance(2), vog.WindowedVariance(2)
        second.load_state_dict(first.state_dict())
        assert second.vectors is None
        first.push(torch.ones(2, 3), torch.ones(2))
        second.load_state_dict(first.state_dict())
        for each in (first, second):
            each.push(torch.zeros(2, 3), torch.ones(2))
            each.push(torch.full((2, 3), 4.0), torch.tensor([1.0, 2.0]))  # the first has fallen out
            score = each.score()
            assert score is not None and score.tolist() == [2.0, 4.0]

    def test_what_half_precision_cannot_hold_stays_finite(self) -> None:
        window = vog.WindowedVariance(2)
        window.push(torch.full((1, 1), 1e9), torch.ones(1))
        window.push(torch.full((1, 1), -1e9), torch.ones(1))
        score = window.score()
        assert score is not None and score.item() == 65504


class TestPixelGradients:
    def test_of_a_linear_network_are_its_weights(self) -> None:
        head = torch.nn.Linear(2 * 2 * 3, 3)
        network = torch.nn.Sequential(torch.nn.Flatten(), head)
        images, labels = torch.randn(3, 3, 2, 2), torch.tensor([2, 0, 2])
        found = vog.pixel_gradients(network, images, labels)  # type: ignore[arg-type]
        assert found.shape == (3, 4)
        assert torch.allclose(found, head.weight.view(3, 3, 4).mean(dim=1)[labels])
        assert head.weight.grad is None and not images.requires_grad

    def test_do_not_depend_on_batch_mates_nor_change_the_network(self, context: Callable[..., RunContext]) -> None:
        """The released program of Khanal et al. passes in training mode: batch statistics, moved by the pass."""
        run = context()
        network = run.networks(1)[0].train()
        before = {name: value.clone() for name, value in network.state_dict().items()}
        images, labels = torch.randn(4, 1, 8, 8), torch.tensor([0, 1, 2, 0])
        with torch.no_grad():
            together = vog.pixel_gradients(network, images, labels)
            alone = vog.pixel_gradients(network, images[:1], labels[:1])
        assert torch.allclose(together[:1], alone, atol=1e-6) and together.abs().sum() > 0
        assert network.training
        assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())

    def test_of_all_training_images(self, context: Callable[..., RunContext]) -> None:
        run = context(n=24, classes=3)
        run._evaluation_batch = 7
        network, labels = run.networks(1)[0], run._data.labels
        found = vog.all_pixel_gradients(run, network, labels)
        images = run._augmenter(run._data.images)
        assert torch.allclose(found, vog.pixel_gradients(network, images, labels), atol=1e-6)
        running = vog.RunningVariance(24, 64, run.device)
        assert vog.all_pixel_gradients(run, network, labels, into=running).shape == (24, 0)
        assert torch.allclose(running.mean, found) and running.count.tolist() == [1] * 24


def test_class_normalised_by_hand() -> None:
    scores = torch.tensor([1.0, 3.0, 10.0, 30.0, 7.0, 0.3, 0.3, 0.3])
    labels = torch.tensor([0, 0, 1, 1, 2, 4, 4, 4])  # class 3 has no sample, class 2 one, class 4 equal scores
    assert vog.class_normalised(scores, labels, 5).tolist() == pytest.approx([-1, 1, -1, 1, 0, 0, 0, 0])
    small = vog.class_normalised(torch.tensor([1e-9, 3e-9]), torch.tensor([0, 0]), 1)
    assert small.tolist() == pytest.approx([-1, 1], rel=1e-4)
