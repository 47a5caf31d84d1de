"""Networks for bags: parameters counted, each against a loop over its bags as papers write it and gradients."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from benchmark.bags.networks import NETWORKS, build_bag_network
from benchmark.errors import BenchmarkError

OFFSETS = torch.tensor([0, 4, 5, 12])


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def network(name, features=6, **options):
    torch.manual_seed(0)
    return build_bag_network(name, features, **options)


@pytest.fixture
def tiles():
    return torch.randn(12, 6, generator=torch.Generator().manual_seed(1))


def textbook(network, name, bag):
    """(bag logit, instance logits, attention) of one bag, tile by tile as the paper or its program has it."""
    instances = network.instance(bag).squeeze(1)
    if name == "max_pool":
        return instances.max(), instances, None
    if name == "mean_pool":
        return instances.mean(), instances, None
    u = F.relu(network.embedding(bag))
    if name == "abmil":
        gated = torch.tanh(network.content(u)) * torch.sigmoid(network.gate(u))
        attention = network.attention(gated).squeeze(1).softmax(0)
        return network.instance(attention @ u).squeeze(), network.instance(u).squeeze(1), attention
    q = torch.tanh(network.query(u))
    v = bag if name == "dsmil_light" else network.value(u)
    order = instances.argsort(descending=True)
    attention = (q @ q[order[0]] / q.shape[1] ** 0.5).softmax(0)
    return network.bag(attention @ v).squeeze(), instances, attention


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("dsmil", 592_002), ("dsmil_light", 83_202), ("abmil", 262_656 + 2 * 65_664 + 129 + 513), ("max_pool", 513), ("mean_pool", 513)],
)
def test_parameters_at_512_features(name, parameters):
    assert count(network(name, 512)) == parameters


@pytest.mark.parametrize("name", NETWORKS)
def test_against_one_bag_at_a_time(name, tiles):
    built = network(name, attention_width=5)
    output = built(tiles, OFFSETS)
    parts = [textbook(built, name, tiles[a:b]) for a, b in [(0, 4), (4, 5), (5, 12)]]
    torch.testing.assert_close(output.bag_logits, torch.stack([part[0] for part in parts]))
    torch.testing.assert_close(output.instance_logits, torch.cat([part[1] for part in parts]))
    torch.testing.assert_close(built.scores(tiles), output.instance_logits)
    if parts[0][2] is None:
        assert output.attention is None
    else:
        torch.testing.assert_close(output.attention, torch.cat([part[2] for part in parts]))
        assert output.attention[4] == 1  # the bag of one tile


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_are_the_textbook_ones(name, tiles):
    built = network(name, attention_width=5).double()
    tiles = tiles.double()
    bag_weights = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    tile_weights = torch.linspace(-1, 2, 12, dtype=torch.float64)

    def gradients(bag_logits, instance_logits):
        loss = (bag_logits * bag_weights).sum() + (instance_logits * tile_weights).sum()
        return dict(zip(built.state_dict(), torch.autograd.grad(loss, list(built.parameters())), strict=True))

    found = gradients(*built(tiles, OFFSETS)[:2])
    parts = [textbook(built, name, tiles[a:b]) for a, b in [(0, 4), (4, 5), (5, 12)]]
    expected = gradients(torch.stack([part[0] for part in parts]), torch.cat([part[1] for part in parts]))
    for key, gradient in expected.items():
        torch.testing.assert_close(found[key], gradient)
        # a softmax does not feel a constant: the last bias of the attention is free
        assert gradient.abs().max() > 1e-6 or key == "attention.bias", key


@pytest.mark.parametrize("name", NETWORKS)
def test_order_of_tiles_and_company_of_bags_do_not_matter(name, tiles):
    built = network(name)
    together = built(tiles, OFFSETS)
    order = torch.cat([torch.randperm(4), torch.tensor([4]), 5 + torch.randperm(7)])
    shuffled = built(tiles[order], OFFSETS)
    torch.testing.assert_close(shuffled.bag_logits, together.bag_logits)
    torch.testing.assert_close(shuffled.instance_logits, together.instance_logits[order])
    alone = built(tiles[5:], torch.tensor([0, 7]))
    torch.testing.assert_close(alone.bag_logits, together.bag_logits[2:])


@pytest.mark.parametrize("name", NETWORKS)
def test_bfloat16_is_near(name, tiles):
    exact, near = network(name)(tiles, OFFSETS), network(name, bf16=True)(tiles, OFFSETS)
    for wanted, found in zip(exact, near, strict=True):
        if wanted is not None:
            assert found.dtype == torch.float32
            torch.testing.assert_close(found, wanted, atol=0.05, rtol=0.05)
    assert (near.bag_logits - exact.bag_logits).abs().max() > 0 or name.endswith("pool")


def test_unknown_name():
    with pytest.raises(BenchmarkError, match="unknown network for bags 'dsmi'; did you mean 'dsmil'"):
        build_bag_network("dsmi", 6)
