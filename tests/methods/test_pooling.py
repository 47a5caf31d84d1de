"""Max and mean pooling, ABMIL and DSMIL as methods: what they are of bags of one tile, where gradients go, and which tiles they find."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
import torch

from benchmark import conformance
from benchmark.bags.data import BagBatch, BagData
from benchmark.bags.losses import bag_cross_entropy
from benchmark.bags.networks import BagOutput
from benchmark.bags.segments import segment_max, segment_sum
from benchmark.conformance import tiny_run
from benchmark.conformance_bags import tiny_bags
from benchmark.params import resolve
from benchmark.registry import Registry
from benchmark.spec import protocol

NAMES = ("mil_max", "mil_mean", "abmil", "dsmil")
MAX, MEAN, ABMIL, DSMIL = METHODS = tuple(Registry().load("method", name) for name in NAMES)
OFFSETS = torch.tensor([0, 3, 4, 6])


@contextlib.contextmanager
def epochs(number: int, lr: float = 0.03) -> Iterator[None]:
    """The tiny runs' protocol with more epochs than two."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conformance, "protocol", lambda name, old: protocol(name, {**old, "epochs": number, "lr": lr}))
        yield


def slides(n: int = 32, tiles: int = 12, witness: int = 2, seed: int = 0):
    """Bags of which every other one holds some tiles that are shifted along the first of five features; and the truth of all tiles."""
    generator = torch.Generator().manual_seed(seed)
    values, labels = torch.randn(n, tiles, 5, generator=generator), torch.arange(n) % 2
    truth = (torch.arange(tiles) < witness) & (labels[:, None] == 1)
    values[..., 0] += 4 * truth
    data = BagData(values.flatten(0, 1), labels, 2, ("negative", "positive"), offsets=torch.arange(0, n * tiles + 1, tiles))
    return (data, labels.numpy()), truth.flatten()


def state(run, name: str = "") -> torch.Tensor:
    return torch.cat([value.flatten() for key, value in run.networks[0].state_dict().items() if name in key])


def outputs(run) -> BagOutput:
    with torch.no_grad():
        return run.networks[0](run.run.predict(lambda tiles: tiles), run.data.offsets)


def ranked(scores: torch.Tensor, truth: torch.Tensor) -> float:
    """The share of pairs of a positive and a negative tile that are in order."""
    return float((scores[truth][:, None] > scores[~truth][None, :]).float().mean())


# ------------------------------------------------------------------------------------------------------- identities


@pytest.mark.parametrize("cls", [MAX, MEAN, ABMIL])
def test_a_bag_of_one_tile_is_that_tile(cls):
    run = tiny_run(cls, bags=tiny_bags(tiles=(1, 1)))
    torch.testing.assert_close(outputs(run).bag_logits, outputs(run).instance_logits)
    torch.testing.assert_close(run.probabilities[:, 1], run.judgements["tile_scores"])


def test_of_bags_of_one_tile_max_and_mean_are_one_classifier():
    one, other = (tiny_run(cls, bags=tiny_bags(tiles=(1, 1))) for cls in (MAX, MEAN))
    assert torch.equal(state(one), state(other)) and torch.equal(one.probabilities, other.probabilities)
    one, other = (tiny_run(cls) for cls in (MAX, MEAN))
    assert not torch.equal(state(one), state(other))


@pytest.mark.parametrize("light", [False, True])
def test_of_bags_of_one_tile_the_streams_of_dsmil_are_two_classifiers_of_it(light):
    """Attention is one, so that the bag's stream is a classifier of the tile's value, and the other stream is mil_max."""
    run = tiny_run(DSMIL, bags=tiny_bags(tiles=(1, 1)), light=light)
    network, tiles, found = run.networks[0].pooling, run.run.predict(lambda tiles: tiles), outputs(run)
    with torch.no_grad():
        value = tiles if light else network.value(network.embedding(tiles).relu())
        torch.testing.assert_close(found.bag_logits, network.bag(value).squeeze(1))
    assert (found.attention == 1).all()
    single = outputs(tiny_run(MAX, bags=tiny_bags(tiles=(1, 1))))
    whole = outputs(tiny_run(DSMIL, bags=tiny_bags(tiles=(1, 1)), light=light, bag_share=0.0))
    assert torch.equal(whole.instance_logits, single.instance_logits)


def test_the_loss_of_dsmil_by_hand():
    output = BagOutput(torch.tensor([0.3, -0.2, 0.1]), torch.tensor([2.0, 0.0, 1.0, 0.5, -0.5, 3.0]), None)
    batch = BagBatch(torch.zeros(6, 1), torch.tensor([1, 1, 0]), torch.arange(3), offsets=OFFSETS, rows=torch.arange(6))
    bags, largest = (bag_cross_entropy(logits, batch.labels) for logits in (output.bag_logits, torch.tensor([2.0, 0.5, 3.0])))

    def loss(**changes):
        return DSMIL(resolve(DSMIL.Params, changes, "dsmil")).bag_loss(output, batch)

    torch.testing.assert_close(loss(), (bags + largest) / 2)
    torch.testing.assert_close(loss(bag_share=0.25), 0.25 * bags + 0.75 * largest)
    torch.testing.assert_close(loss(bag_share=1.0), bags)
    largest_of_max = BagOutput(segment_max(output.instance_logits, OFFSETS)[0], output.instance_logits, None)
    assert torch.equal(loss(bag_share=0.0), MAX().bag_loss(largest_of_max, batch))


@pytest.mark.parametrize("light", [False, True])
def test_without_the_stream_of_bags_the_tiles_of_dsmil_are_those_of_max_pooling(light):
    bags, _ = slides(n=12)
    with epochs(3):
        single, two, both = (
            tiny_run(MAX, bags=bags),
            tiny_run(DSMIL, bags=bags, bag_share=0.0, light=light),
            tiny_run(DSMIL, bags=bags, light=light),
        )
    assert torch.equal(state(single), state(two, "instance")) and not torch.equal(state(single), state(both, "instance"))
    assert torch.equal(single.judgements["tile_scores"], two.judgements["tile_scores"])


def test_light_is_the_smaller_network():
    assert DSMIL().pooling == "dsmil" and DSMIL().design() == {"pooling": "dsmil"}
    full, light = (tiny_run(DSMIL, light=light).networks[0] for light in (False, True))
    # of 6 features: two classifiers of 7 each; 42 + 128 · 7 + 42 of them full, 128 · 7 + 128 · 129 of the light one
    assert [sum(p.numel() for p in network.parameters()) for network in (full, light)] == [14 + 42 + 896 + 42, 14 + 896 + 16512]


# ---------------------------------------------------------------------------------------------------------- by hand


def shares(cls, **changes) -> torch.Tensor:
    """How much each tile's features move the logits of three bags in a network that is trained."""
    run = tiny_run(cls, **changes)
    tiles = torch.randn(6, 6, generator=torch.Generator().manual_seed(0)).requires_grad_()
    run.networks[0](tiles, OFFSETS).bag_logits.sum().backward()
    return tiles.grad.norm(dim=1)


def test_the_gradient_of_max_pooling_reaches_one_tile_a_bag():
    moved = shares(MAX) > 0
    assert [int(part.sum()) for part in moved.split([3, 1, 2])] == [1, 1, 1]


def test_the_gradient_of_mean_pooling_reaches_all_tiles_alike():
    found = shares(MEAN)
    torch.testing.assert_close(found, found[3] / torch.tensor([3.0, 3.0, 3.0, 1.0, 2.0, 2.0]))
    assert found[3] > 0


@pytest.mark.parametrize(("cls", "changes"), [(ABMIL, {}), (DSMIL, {}), (DSMIL, {"light": True})])
def test_attention_adds_up_to_one(cls, changes):
    bags, _ = slides(n=12)
    with epochs(5):
        run = tiny_run(cls, bags=bags, **changes)
    attention = outputs(run).attention
    torch.testing.assert_close(segment_sum(attention, run.data.offsets), torch.ones(12))
    assert (attention > 0).all() and float(attention.std()) > 1e-3
    assert (shares(cls, **changes) > 0).all()


def test_abmil_of_tiles_that_are_alike():
    """Attention is even then, and the bag's logit is a tile's."""
    network = tiny_run(ABMIL).networks[0]
    tile = torch.randn(1, 6, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = network(tile.expand(6, 6), OFFSETS)
    torch.testing.assert_close(found.attention, 1 / torch.tensor([3.0, 3, 3, 1, 2, 2]))
    torch.testing.assert_close(found.bag_logits, found.instance_logits[:3])


# -------------------------------------------------------------------------------------------------------- behaviour


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(("cls", "changes"), [(MAX, {}), (MEAN, {}), (ABMIL, {}), (DSMIL, {}), (DSMIL, {"light": True})])
def test_it_learns_bags_and_finds_the_tiles(cls, changes, seed):
    bags, truth = slides(seed=seed)
    with epochs(30):
        run = tiny_run(cls, bags=bags, **changes)
    bag, tile = ranked(run.probabilities[:, 1], run.data.labels == 1), ranked(run.judgements["tile_scores"], truth)
    # ten tiles of twelve are the same on all bags, and the mean counts them
    assert tile > 0.98 and (bag == 1 if cls is not MEAN else 0.85 < bag < 1)
    attention = outputs(run).attention
    assert attention is None or float(attention[truth].mean()) > 0.45  # of the half that each of two could have
