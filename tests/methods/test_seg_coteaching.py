"""Co-teaching on masks: apart without forgetting, selections by hand, what ranks images, what it flags and keeps."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from benchmark.conformance import _KilledError, tiny_run
from benchmark.conformance_data import tiny_masks
from benchmark.registry import Registry
from benchmark.segmentation import VOID
from benchmark.segmentation.losses import pixel_cross_entropy, soft_dice

Coteaching = Registry().load("method", "seg_coteaching")
CrossEntropy = Registry().load("method", "seg_ce")


def made(**params):
    """A method past its ramp."""
    method = Coteaching(Coteaching.Params(**params))
    method.gradual, method.rounding = 1, torch.Generator().manual_seed(0)
    return method


HALF = torch.tensor([0.5])
"""What was drawn for one task: halves are rounded up."""


def row(p):
    """(B, 1, 2, 1, W) logits that give class 1 the probabilities p, B rows of W."""
    p = torch.tensor(p)
    return torch.stack([1 - p, p], dim=1).log().view(len(p), 1, 2, 1, -1)


def step(method, first, second, labels):
    """The two losses of a batch whose networks give these logits."""
    batch = SimpleNamespace(images=None, labels=torch.tensor(labels, dtype=torch.uint8).view(len(labels), 1, 1, -1))
    return [loss.item() for loss in method.training_step(batch, [lambda _: first, lambda _: second], 3)], batch.labels


class _TwoApart(CrossEntropy):
    """Two networks on the same batches; neither knows of the other."""

    networks = 2

    def training_step(self, batch, networks, epoch):
        return tuple(super(_TwoApart, self).training_step(batch, [network], epoch) for network in networks)


@pytest.mark.parametrize("level", ["image", "pixel"])
def test_without_forgetting_it_is_two_networks_apart(level):
    pair, apart = tiny_run(Coteaching, noise_rate=0.0, level=level), tiny_run(_TwoApart)
    assert torch.allclose(pair.probabilities, apart.probabilities, atol=1e-6)
    single = tiny_run(CrossEntropy)
    image = single.data.images[:2].float()
    with torch.no_grad():
        assert torch.allclose(pair.networks[0](image), single.networks[0](image), atol=1e-5)


def test_each_network_learns_the_images_that_the_other_finds_easy():
    first = row([[0.9, 0.9], [0.8, 0.8], [0.3, 0.3], [0.2, 0.2]])
    losses, labels = step(made(noise_rate=0.5), first, first.flip(0), [[1, 1]] * 4)
    ce = [pixel_cross_entropy(logits, labels) for logits in (first, first.flip(0))]
    assert losses == pytest.approx([ce[0][2:].mean().item(), ce[1][:2].mean().item()])


def test_what_ranks_masks():
    """The first mask has lost most of its object, the second is a little off: cross-entropy keeps the first, Dice the second."""
    logits = row([[0.02] * 16 + [0.9] * 4, [0.15] * 12 + [0.7] * 8])
    labels = [[0] * 17 + [0] * 2 + [1], [0] * 12 + [1] * 8]
    logits[0, ..., 16:19] /= 4  # the network is not sure of what the mask lacks
    given = torch.tensor(labels, dtype=torch.uint8).view(2, 1, 1, -1)
    ce, dice = pixel_cross_entropy(logits, given), soft_dice(logits, given).view(-1)
    means = ce.mean(dim=(1, 2, 3))
    assert means[0] < means[1] and dice[0] > dice[1]
    kept = {rank_by: step(made(noise_rate=0.5, rank_by=rank_by), logits, logits, labels)[0][0] for rank_by in ("ce", "dice", "both")}
    assert kept["ce"] == pytest.approx(means[0].item())
    assert kept["dice"] == pytest.approx(means[1].item())
    assert kept["both"] == pytest.approx(means[int((means + dice).argmin())].item())


def test_masks_are_selected_task_by_task():
    """Noise strikes the masks of an image apart; one that is void throughout is no candidate."""
    method, drawn = made(noise_rate=0.5, rank_by="ce"), torch.tensor([0.1, 0.1])
    p = torch.tensor([[0.9, 0.2], [0.2, 0.9], [0.8, 0.3], [0.3, 0.99]])
    logits = torch.stack([1 - p, p], dim=2).log().view(4, 2, 2, 1, 1)
    labels = torch.ones(4, 2, 1, 1, dtype=torch.uint8)
    kept = method.keep(logits, pixel_cross_entropy(logits, labels), labels, 3, drawn)
    assert kept.view(4, 2).T.tolist() == [[True, False, True, False], [False, True, False, True]]
    labels[3, 1] = VOID
    kept = method.keep(logits, pixel_cross_entropy(logits, labels), labels, 3, drawn)
    assert kept.view(4, 2).T.tolist() == [[True, False, True, False], [False, True, False, False]]
    labels[:, 1] = VOID
    kept = method.keep(logits, pixel_cross_entropy(logits, labels), labels, 3, drawn)
    assert kept.view(4, 2).T.tolist() == [[True, False, True, False], [False] * 4]


def test_rounding_by_hand():
    """Of 4 masks 3.2 stay, of the 3 that are not void 2.4; each task has a draw of its own."""
    method, p = made(noise_rate=0.2, rank_by="ce"), torch.tensor([0.9, 0.8, 0.7, 0.6]).view(4, 1).expand(4, 2)
    logits = torch.stack([1 - p, p], dim=2).log().view(4, 2, 2, 1, 1)
    labels = torch.ones(4, 2, 1, 1, dtype=torch.uint8)
    labels[0, 1] = VOID
    for drawn, numbers in (((0.79, 0.59), [3, 2]), ((0.81, 0.59), [4, 2]), ((0.79, 0.61), [3, 3])):
        kept = method.keep(logits, pixel_cross_entropy(logits, labels), labels, 3, torch.tensor(drawn)).view(4, 2)
        assert kept.sum(dim=0).tolist() == numbers
    method, drawn = made(noise_rate=0.95), torch.full((2,), 1e-6)
    assert method.keep(logits, pixel_cross_entropy(logits, labels), labels, 3, drawn).view(4, 2).sum(dim=0).tolist() == [1, 1]


@pytest.mark.parametrize(("rate", "mean"), [(0.1, 3.6), (0.2, 3.2), (0.25, 3.0), (0.3, 2.8), (0.0, 4.0)])
def test_of_small_batches_the_share_is_right_in_the_mean(rate, mean):
    """Of 4 masks rounded down, every rate up to a quarter leaves one out."""
    method, numbers = made(noise_rate=rate, rank_by="ce"), []
    first = row([[0.9], [0.8], [0.6], [0.3]])
    batch = SimpleNamespace(images=None, labels=torch.ones(4, 1, 1, 1, dtype=torch.uint8))
    keep = method.keep
    method.keep = lambda *given: numbers.append(keep(*given)) or numbers[-1]
    for _ in range(1000):
        method.training_step(batch, [lambda _: first, lambda _: first.flip(0)], 3)
    counts = torch.stack(numbers).view(1000, 2, 4).sum(dim=2)
    assert torch.equal(counts[:, 0], counts[:, 1])  # both networks keep as many
    assert counts.float().mean().item() == pytest.approx(mean, abs=0.05)
    assert set(counts.unique().tolist()) == {int(mean), -int(-mean // 1)}


def test_rounding_resumes(tmp_path):
    """Killed after an epoch, the second draws what it would have drawn."""
    whole = tiny_run(Coteaching, noise_rate=0.3)
    assert not torch.equal(whole.probabilities, tiny_run(Coteaching, noise_rate=0.375).probabilities)
    with pytest.raises(_KilledError):
        tiny_run(Coteaching, noise_rate=0.3, folder=tmp_path, kill_after=1)
    resumed = tiny_run(Coteaching, noise_rate=0.3, folder=tmp_path)
    assert torch.equal(whole.probabilities, resumed.probabilities)
    assert torch.equal(whole.method.rounding.get_state(), resumed.method.rounding.get_state())


@pytest.mark.parametrize("level", ["image", "pixel"])
def test_a_void_mask_is_judged_by_the_image_s_others(level):
    """Nothing in it can be wrong, and it is none of the share."""
    case = tiny_masks(tasks=2)
    case[0].labels[2, 1] = VOID
    case[0].labels[5] = VOID
    method = tiny_run(Coteaching, masks=case, noise_rate=0.25, level=level).method
    quality = method.label_quality()
    assert torch.isfinite(quality).all() and quality[5] == 1
    if level == "pixel":
        assert not method.pixel_suspects()[case[0].labels == VOID].any()
    else:
        lowest = method.mask_quality.nan_to_num(nan=2.0).argsort(dim=0)
        assert torch.equal(method.suspects().nonzero().view(-1), lowest[:5].unique())  # ⌊23 / 4⌋ and ⌊22 / 4⌋
        assert not method.suspects()[5]


def test_pixels_of_small_loss_are_exchanged():
    first, second = row([[0.9, 0.2, 0.8, 0.1]]), row([[0.1, 0.8, 0.2, 0.9]])
    losses, labels = step(made(noise_rate=0.5, level="pixel"), first, second, [[1, 1, 1, 1]])
    ce = [pixel_cross_entropy(logits, labels).view(-1) for logits in (first, second)]
    assert losses == pytest.approx([ce[0][[1, 3]].mean().item(), ce[1][[0, 2]].mean().item()])


def test_void_is_not_selected():
    logits = row([[0.9, 0.2, 0.8, 0.1, 0.999, 0.999]])
    losses, labels = step(made(noise_rate=0.5, level="pixel"), logits, logits, [[1, 1, 1, 1, VOID, VOID]])
    assert losses[0] == pytest.approx(pixel_cross_entropy(logits, labels).view(-1)[[0, 2]].mean().item())


def test_within_classes_no_object_is_given_up():
    """Class 1 has the two largest losses."""
    logits, labels = row([[0.1, 0.2, 0.1, 0.2, 0.6, 0.3]]), [[0, 0, 0, 0, 1, 1]]
    kept = {}
    for per_class, right in ((True, [0, 2, 4]), (False, [0, 1, 2])):
        losses, given = step(made(noise_rate=0.5, level="pixel", per_class=per_class), logits, logits, labels)
        kept[per_class] = losses[0]
        assert losses[0] == pytest.approx(pixel_cross_entropy(logits, given).view(-1)[right].mean().item())


def test_the_share_ramps_up():
    method = made(noise_rate=0.5)
    method.gradual = 3
    logits = row([[0.9], [0.8], [0.6], [0.3]])
    labels = torch.ones(4, 1, 1, 1, dtype=torch.uint8)
    kept = [int(method.keep(logits, pixel_cross_entropy(logits, labels), labels, epoch, HALF).sum()) for epoch in range(4)]
    assert kept == [4, 3, 2, 2]


def test_flags_the_rate():
    images = tiny_run(Coteaching, noise_rate=0.25).method
    assert int(images.suspects().sum()) == 6 and images.pixel_suspects() is None
    quality = images.label_quality()
    assert quality[images.suspects()].max() <= quality[~images.suspects()].min()
    pixels = tiny_run(Coteaching, noise_rate=0.25, level="pixel").method
    flagged, labels = pixels.pixel_suspects(), pixels.data.labels
    assert pixels.suspects() is None and not flagged[labels == VOID].any()
    for label in (0, 1):
        assert flagged[labels == label].float().mean().item() == pytest.approx(0.25, abs=0.01)


def test_a_number_asks_nobody():
    assert not any(tiny_run(Coteaching).run.oracle.used.values())


def test_pixels_of_several_tasks():
    result = tiny_run(Coteaching, masks=tiny_masks(tasks=2, classes=3), level="pixel")
    assert torch.isfinite(result.probabilities).all()


@pytest.mark.parametrize("seed", [0, 1])
def test_it_learns_from_the_right_masks(train_masks, discs, seed):
    """Of seeds 0 to 5 the worst error is 0.37 of cross-entropy's; of a rate of 0.4, which is the true one, 0.67."""
    case, errors = discs(n=40, seed=seed, misplaced=True), {}
    for cls, params in ((CrossEntropy, {}), (Coteaching, {"noise_rate": 0.5})):
        result = train_masks(cls, case, seed=seed, epochs=20, batch_size=4, **params)
        errors[cls] = (result.probabilities.argmax(dim=2).numpy() != case[1]).mean()
    assert errors[Coteaching] < 0.6 * errors[CrossEntropy]
    wrong = torch.from_numpy((case[0].labels.numpy() != case[1]).any(axis=(1, 2, 3)))
    assert result.method.suspects()[wrong].float().mean() > 0.9  # half are suspects
