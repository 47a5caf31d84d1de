"""ADELE: what is cross-entropy, its loss and curves by hand, whose labels change and when, what travels with the image, resume."""

from __future__ import annotations

import importlib
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from benchmark.conformance import tiny_run
from benchmark.conformance_data import tiny_masks
from benchmark.errors import BenchmarkError
from benchmark.params import resolve
from benchmark.registry import Registry
from benchmark.segmentation import VOID
from benchmark.segmentation.adele import at_scales, early_learning_ended, scale_consistency
from benchmark.segmentation.losses import pixel_cross_entropy, pixel_mean

Adele = Registry().load("method", "seg_adele")
CrossEntropy = Registry().load("method", "seg_ce")
module = importlib.import_module(Adele.__module__)


def test_at_one_scale_and_without_correction_it_is_cross_entropy(train_masks, discs):
    """Same initial weights, same batches, same history."""
    case = discs()
    same = train_masks(Adele, case, epochs=7, scales="1", confidence=1.0)
    plain = train_masks(CrossEntropy, case, epochs=7)
    assert same.method.diagnostics()["corrected"] == 0
    assert torch.equal(same.probabilities, plain.probabilities)
    assert torch.allclose(same.run.history.values, plain.run.history.values, atol=1e-6)
    assert torch.equal(same.method.label_quality(), same.run.history.mean(skip=0))
    assert not torch.allclose(tiny_run(Adele).probabilities, tiny_run(CrossEntropy).probabilities, atol=1e-3)


def made(data=None, **params):
    """A method after its setup."""
    data = data or tiny_masks()[0]
    method = Adele(Adele.Params(**params))
    method.data, method.run = data, SimpleNamespace(protocol=SimpleNamespace(epochs=20), device=torch.device("cpu"))
    method.setup(data, method.run)
    return method


class _Net:
    """Logits of the pixel's brightness, at whatever size."""

    last_logits = None

    def __call__(self, images):
        return torch.stack([-images, images], dim=2)

    def train(self, mode=True):
        pass


def test_the_loss_by_hand():
    """The mean over scales of the cross-entropy with the *current* masks, and the weighted mean of the images' disagreement."""
    torch.manual_seed(0)
    images = torch.randn(2, 1, 8, 8)
    given, current = torch.randint(0, 2, (2, 2, 1, 8, 8), dtype=torch.uint8)
    current[:, :, 0] = given[:, :, 0] = VOID
    method, network = made(consistency=0.7, sure=0.6), _Net()
    loss = method.training_step(SimpleNamespace(images=images, labels=torch.cat([given, current], dim=1)), [network], 0)
    logits = at_scales(network, images, (0.7, 1.0, 1.5))
    each = [pixel_mean(pixel_cross_entropy(one, current), current) for one in logits]
    agreement = scale_consistency(logits, given, 0.6)
    assert agreement.min() > 0
    assert loss.item() == pytest.approx((sum(each) / 3 + 0.7 * agreement.mean()).item(), rel=1e-5)


def test_predictions_are_held_against_the_given_masks():
    """And those of the mean over scales are what the history sees, at the size of the masks."""
    images = torch.full((1, 1, 8, 8), 3.0)
    given, current = torch.ones(1, 1, 8, 8, dtype=torch.uint8), torch.zeros(1, 1, 8, 8, dtype=torch.uint8)
    given[..., :4] = 0
    given[..., 0, :] = VOID
    method, network = made(), _Net()
    method.training_step(SimpleNamespace(images=images, labels=torch.cat([given, current], dim=1)), [network], 0)
    assert method.counts.tolist() == [[[0, 28], [28, 56]]]  # 7 rows of 8, half of them class 1; all is predicted class 1
    assert network.last_logits.shape == (1, 1, 2, 8, 8)
    mean = at_scales(network, images, (0.7, 1.0, 1.5)).softmax(dim=3).mean(dim=0)
    torch.testing.assert_close(network.last_logits.softmax(dim=2), mean)


def counts(iou):
    """(T, J, 2) of these intersections over unions."""
    iou = torch.tensor(iou)
    return torch.stack([(1000 * iou).round().long(), torch.full(iou.shape, 1000)], dim=2)


@pytest.mark.parametrize(("every", "corrections"), [(1, [5, 6, 7, 8, 9, 10, 11, 12]), (10, [5, 6, 8, 9, 10, 12])])
def test_classes_end_apart_and_are_remembered(monkeypatch, every, corrections):
    """Each class by its own curve, the background by none; the labels are corrected at once, and then every so many epochs."""
    ends = {0.1: 1, 0.2: 5, 0.6: 9}  # the curve's value → after how many epochs it has ended, and in this epoch only
    corrected = []
    monkeypatch.setattr(module, "early_learning_ended", lambda values, r: ends.get(round(float(values[0]), 3)) == len(values))
    monkeypatch.setattr(module, "predict_beside", lambda run, _, labels: corrected.append(epoch + 1) or labels)
    method = made(tiny_masks(tasks=2, classes=3)[0], every=every)
    assert method.every == min(every, 2)  # a tenth of 20 epochs
    for epoch in range(12):
        method.counts = counts([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]])
        method.end_epoch(SimpleNamespace(train=lambda mode: None), epoch, method.run)
    assert method.ended_after.tolist() == [[0, 5, 0], [0, 0, 9]]
    assert corrected == corrections
    assert method.diagnostics() == {"corrected": 0, "ended": 0.5, "ended_after": 7}


def test_the_curves_decide(monkeypatch):
    """A curve that flattens ends its class's early learning when its fit says so, one that climbs slowly does not."""
    monkeypatch.setattr(module, "predict_beside", lambda run, _, labels: labels)
    fast, slow = (0.9 * -np.expm1(-rate * np.arange(1, 16)) for rate in (1.0, 0.02))
    method = made(tiny_masks(tasks=2)[0])
    for epoch in range(15):
        method.counts = counts([[0.9, fast[epoch]], [0.9, slow[epoch]]])
        method.end_epoch(SimpleNamespace(train=lambda mode: None), epoch, method.run)
    first = next(m for m in range(1, 16) if early_learning_ended(fast[:m].round(3)))
    assert method.ended_after.tolist() == [[0, first], [0, 0]] and 1 < first < 15


def test_nothing_is_corrected_before_an_end():
    method = tiny_run(Adele, confidence=0.0).method  # two epochs have no curve
    assert torch.equal(method.corrected_labels(), method.data.labels) and not method.pixel_suspects().any()
    assert method.diagnostics() == {"corrected": 0, "ended": 0}


class _Spying(Adele):
    """Corrects from the second epoch on, by a rule of its own, and looks at what its batches carry."""

    def end_epoch(self, networks, epoch, run):
        self.current = torch.where(self.data.labels == VOID, VOID, 1 - self.data.labels)

    def training_step(self, batch, networks, epoch):
        given, current = batch.labels.chunk(2, dim=1)
        turned = torch.where(given == VOID, given, 1 - given)
        assert torch.equal(current, given if epoch == 0 else turned)
        self.moved = int((given != self.data.labels[batch.indices]).any())
        return super().training_step(batch, networks, epoch)


def test_current_masks_move_with_the_given_ones(train_masks):
    assert train_masks(_Spying, tiny_masks(tasks=2), epochs=2, augmentation="flip+rot90").method.moved


def test_objects_that_a_mask_lacks_come_back_unless_forbidden():
    """Noise that erases whole objects is what this program injects; the paper's masks come from image labels."""
    images, given = torch.full((1, 1, 8, 8), 3.0), torch.zeros(1, 1, 8, 8, dtype=torch.uint8)
    ended = torch.tensor([[False, True]])
    free, bound = (made(present_only=only).corrected([_Net()], images, given, ended) for only in (False, True))
    assert (free == 1).all() and (bound == 0).all()


@pytest.mark.parametrize("after", [0, 5, 8])
def test_a_killed_run_ends_the_same(train_masks, discs, tmp_path, after):
    """Also when labels have been corrected by then."""
    case, params = discs(n=10), {"epochs": 9, "scales": "1.0+0.5", "slope_change": 0.05, "confidence": 0.6}
    whole = train_masks(Adele, case, **params)
    assert whole.method.diagnostics()["corrected"] > 0 and whole.method.ended_after.max() < 8
    assert train_masks(Adele, case, folder=tmp_path, kill_after=after, **params) is None
    resumed = train_masks(Adele, case, folder=tmp_path, **params)
    assert torch.equal(resumed.probabilities, whole.probabilities)
    assert torch.equal(resumed.method.corrected_labels(), whole.method.corrected_labels())
    assert torch.equal(resumed.method.iou, whole.method.iou)


@pytest.mark.parametrize("scales", ["", "big", "1+0", "1++2", "nan"])
def test_scales_that_are_none(scales):
    with pytest.raises(
        BenchmarkError, match=r"^seg_adele: scales '.*' is not factors from 0\.1 to 10 joined by \+, e\.g\. 0\.7\+1\.0\+1\.5$"
    ):
        resolve(Adele.Params, {"scales": scales}, "seg_adele")
