"""Pick-and-Learn: its weights and loss by hand, the released program's two slips, a judge that learns, is kept and judges."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch

from benchmark.conformance import tiny_run
from benchmark.conformance_data import tiny_masks
from benchmark.registry import Registry
from benchmark.segmentation import VOID
from benchmark.segmentation.losses import pixel_cross_entropy, soft_dice

PickAndLearn = Registry().load("method", "seg_pick_and_learn")
CrossEntropy = Registry().load("method", "seg_ce")


class _Given:
    """A judge that says what a test wants."""

    def __init__(self, scores):
        self.values, self.optimizers = torch.tensor(scores).view(len(scores), -1), []

    def __getitem__(self, index):
        return lambda pairs: self.values

    def set_epoch(self, *_):
        pass

    def train(self, mode=True):
        pass


def step(logits, labels, scores, loss="ce"):
    """The loss of a batch whose network gives these (B, T, J, H, W) logits and whose judge gives these scores."""
    method = PickAndLearn(PickAndLearn.Params(loss=loss))
    method.data = SimpleNamespace(num_classes=logits.shape[2])
    method.run = SimpleNamespace(protocol=SimpleNamespace(epochs=1))
    method.judge = _Given(scores)
    batch = SimpleNamespace(images=torch.zeros(len(labels), 1, *labels.shape[2:]), labels=labels)
    return method.training_step(batch, [lambda _: logits], 0).item()


def two_images():
    """p1 = 0.9 in an image of class 1, 0.6 in one of class 0."""
    p = torch.tensor([0.9, 0.6]).view(2, 1, 1, 1, 1).expand(2, 1, 1, 2, 2)
    labels = torch.tensor([1, 0], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 1, 2, 2)
    return torch.cat([1 - p, p], dim=2).log(), labels.clone()


def test_the_loss_by_hand():
    logits, labels = two_images()
    a, b = math.exp(2 * math.tanh(0.5)), math.exp(2 * math.tanh(-1.0))
    expected = (a * -math.log(0.9) + b * -math.log(0.4)) / (a + b)
    assert step(logits, labels, [0.5, -1.0]) == pytest.approx(expected, rel=1e-5)


def test_dice_is_weighted_the_same():
    logits, labels = two_images()
    a, b = math.exp(2 * math.tanh(0.5)), math.exp(2 * math.tanh(-1.0))
    first, second = soft_dice(logits, labels).view(-1).tolist()
    assert step(logits, labels, [0.5, -1.0], loss="dice") == pytest.approx((a * first + b * second) / (a + b), rel=1e-5)


def test_perfect_logits_cost_nothing():
    """The released loss takes a softmax of the softmax, which leaves 0.313 at perfect logits."""
    labels = torch.tensor([1, 0], dtype=torch.uint8).view(2, 1, 1, 1)
    logits = torch.tensor([[-40.0, 40.0], [40.0, -40.0]]).view(2, 1, 2, 1, 1)
    assert step(logits, labels, [0.1, 0.2]) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("copies", [1, 5])
def test_the_loss_does_not_shrink_with_the_batch(copies):
    """The released program divides weights that add up to 1 by the size of the batch once more."""
    logits, labels = two_images()
    doubled = logits.repeat(copies, 1, 1, 1, 1), labels.repeat(copies, 1, 1, 1)
    assert step(*doubled, [0.3] * 2 * copies) == pytest.approx(pixel_cross_entropy(logits, labels).mean().item(), rel=1e-5)


def test_void_images_have_no_weight():
    logits, labels = two_images()
    void = torch.full_like(labels[:1], VOID)
    labels[1, :, 0] = VOID  # half of an image
    with_void = step(torch.cat([logits, logits[:1]]), torch.cat([labels, void]), [0.5, -1.0, 3.0])
    assert with_void == pytest.approx(step(logits, labels, [0.5, -1.0]), rel=1e-5)
    assert step(logits, torch.full_like(labels, VOID), [0.5, -1.0]) == 0


def test_tasks_are_weighed_apart():
    """Each has weights of its own that add up to 1; void throughout is the other task's business only."""
    logits, labels = two_images()
    twice = torch.cat([logits, logits], dim=1), torch.cat([labels, labels], dim=1)
    single = step(logits, labels, [0.5, -1.0]), step(logits, labels, [-1.0, 0.5])
    assert step(*twice, [[0.5, -1.0], [-1.0, 0.5]]) == pytest.approx(sum(single) / 2, rel=1e-5)
    twice[1][1, 1] = VOID
    assert step(*twice, [[0.5, -1.0], [-1.0, 0.5]]) == pytest.approx((single[0] - math.log(0.9)) / 2, rel=1e-5)
    single = step(logits, labels, [0.5, -1.0], loss="dice"), soft_dice(logits, labels)[0].item()
    assert step(*twice, [[0.5, -1.0], [-1.0, 0.5]], loss="dice") == pytest.approx(sum(single) / 2, rel=1e-5)


def test_the_judge_sees_image_and_mask_and_void_as_no_object():
    method = PickAndLearn()
    method.data = SimpleNamespace(num_classes=3)
    seen = []
    method.judge = [lambda pairs: seen.append(pairs) or pairs[:, :2, 0, 0]]
    labels = torch.tensor([[0, 1, 2, VOID], [2, 2, 1, 0]], dtype=torch.uint8).view(1, 2, 2, 2)
    method.scores(torch.full((1, 1, 2, 2), 7.0), labels)
    flat = seen[0].view(5, 4).tolist()
    assert flat == [[7, 7, 7, 7], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 0], [1, 1, 0, 0]]


@pytest.mark.parametrize("loss", ["ce", "dice"])
def test_the_judge_learns_with_its_own_optimiser(loss):
    """All of it moves, and starts the same whatever the loss."""
    result = tiny_run(PickAndLearn, loss=loss)
    again = PickAndLearn(PickAndLearn.Params(loss=loss))
    again.setup(result.data, result.run)
    moved = dict(result.method.judge[0].named_parameters())
    assert all(not torch.equal(start, moved[name]) for name, start in again.judge[0].named_parameters())
    lr = result.method.judge.optimizers[0].param_groups[0]["lr"]
    assert lr == result.method.judge.schedule.lr(1, 2) < result.run.protocol.lr


def test_when_all_images_weigh_the_same_it_is_cross_entropy(train_masks, discs):
    """Same initial weights, same batches: those of the judge are drawn apart. The images have equally many labelled pixels."""

    class Undecided(PickAndLearn):
        def scores(self, images, labels):
            return super().scores(images, labels) * 0

    case = discs(n=10)
    equal, other = (train_masks(cls, case, loss="ce") for cls in (Undecided, PickAndLearn))
    plain = train_masks(CrossEntropy, case)
    assert torch.allclose(equal.probabilities, plain.probabilities, atol=1e-4)
    assert not torch.allclose(other.probabilities, plain.probabilities, atol=1e-3)


def test_scores_of_all_images_in_their_order():
    method = tiny_run(PickAndLearn).method
    image, labels = method.data.images[5:6], method.data.labels[5:6]
    with torch.no_grad():
        alone = method.run.predict(lambda images: method.scores(images, labels), torch.tensor([5]))
    assert image.shape[0] == 1 and torch.allclose(method.label_quality()[5], alone[0, 0], atol=1e-6)
    assert not any(part.training for part in method.judge[0].modules())
    assert 1 / 24 <= method.diagnostics()["effective_images"] <= 1 + 1e-6


def test_equal_scores_make_all_images_count():
    method = PickAndLearn()
    method.data, method.quality = SimpleNamespace(n=8), torch.full((8, 2), 0.4)
    assert method.diagnostics()["effective_images"] == pytest.approx(1)


def test_vgg_is_built_for_the_channels_and_refuses_small_images():
    small, _ = tiny_masks()
    vgg = PickAndLearn(PickAndLearn.Params(judge="vgg16_bn"))
    assert "32 px" in vgg.supports(small) and PickAndLearn().supports(small) is None
    data, _ = tiny_masks(size=(32, 32), tasks=2, channels=1)
    result_like = SimpleNamespace(seed=0, protocol=tiny_run(PickAndLearn).run.protocol, device=torch.device("cpu"))
    vgg.data = data
    vgg.setup(data, result_like)
    convolutions = [part for part in vgg.judge[0].modules() if isinstance(part, torch.nn.Conv2d)]
    assert len(convolutions) == 13 and convolutions[0].in_channels == 1 + 2
    scores = vgg.scores(data.images[:2].float(), data.labels[:2])
    assert scores.shape == (2, 2) and (scores >= 0).all()
    vgg.judge.train(False)
    pairs = torch.randn(2, 3, 32, 32)
    maps = vgg.judge[0].layers(pairs).mean(dim=(2, 3))  # 512 channels, half of them for either task
    torch.testing.assert_close(vgg.judge[0](pairs), torch.stack([maps[:, :256].mean(dim=1), maps[:, 256:].mean(dim=1)], dim=1))


@pytest.mark.parametrize("seed", [0, 1])
def test_masks_that_are_elsewhere_are_found(train_masks, discs, seed):
    """With seeds 0 to 4 every wrong mask had a lower score than every right one."""
    case = discs(n=40, seed=seed, misplaced=True)
    scores = train_masks(PickAndLearn, case, seed=seed, epochs=20, batch_size=4).method.label_quality().numpy()
    wrong = (case[0].labels.numpy() != case[1]).any(axis=(1, 2, 3))
    assert (scores[wrong][:, None] < scores[~wrong]).mean() > 0.95


@pytest.mark.parametrize("after", [0, 2, 4])
def test_a_killed_run_ends_the_same(train_masks, discs, tmp_path, after):
    case = discs(n=10)
    whole = train_masks(PickAndLearn, case, epochs=5)
    assert train_masks(PickAndLearn, case, epochs=5, folder=tmp_path, kill_after=after) is None
    resumed = train_masks(PickAndLearn, case, epochs=5, folder=tmp_path)
    assert torch.equal(resumed.probabilities, whole.probabilities)
    assert torch.equal(resumed.method.label_quality(), whole.method.label_quality())
