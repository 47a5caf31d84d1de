"""Encoders of tiles: what they leave as it is, what fine-tuning reaches, pixels of either layout, and extraction in parts."""

from __future__ import annotations

import pytest
import torch

from benchmark.bags.encoders import ENCODERS, build_encoder
from benchmark.errors import BenchmarkError


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.fixture
def tiles():
    return torch.randn(12, 6, generator=torch.Generator().manual_seed(1))


def test_identity_changes_nothing(tiles):
    encoder = build_encoder("identity", 6)
    assert encoder.width == 6 and count(encoder) == 0
    assert torch.equal(encoder(tiles), tiles)
    with pytest.raises(BenchmarkError, match="identity has nothing to fine-tune; choose projection"):
        encoder.projected(tiles)


def test_projection_begins_with_the_features_as_they_are(tiles):
    encoder = build_encoder("projection", 6)
    assert torch.equal(encoder(tiles), tiles)
    assert count(build_encoder("projection", 512).head) == 512 * 512 + 512 + 512 * 256 + 256
    optimiser = torch.optim.SGD(encoder.parameters(), lr=0.1)
    for _ in range(2):  # the first step moves the last layer off zero, the second reaches the one below
        optimiser.zero_grad()
        encoder.projected(tiles)[:, 0].sum().backward()
        optimiser.step()
    assert all(parameter.grad.any() for parameter in encoder.parameters())
    assert not torch.allclose(encoder(tiles), tiles)


def test_pixels():
    torch.manual_seed(0)
    encoder = build_encoder("cnn", 3, base=4)
    pixels = torch.randint(0, 256, (5, 20, 18, 3), dtype=torch.uint8)
    features = encoder(pixels)
    assert features.shape == (5, 32) and encoder.width == 32 and features.isfinite().all()
    torch.testing.assert_close(encoder(pixels.permute(0, 3, 1, 2) / 255), features)
    assert not any(isinstance(part, torch.nn.InstanceNorm2d) and part.affine for part in encoder.modules())
    # each tile is normalised by itself, so its company does not matter
    torch.testing.assert_close(encoder(pixels[:1]), features[:1])
    encoder.projected(pixels)[:, 0].sum().backward()
    weights = [parameter for key, parameter in encoder.named_parameters() if key.endswith("weight")]
    assert all(weight.grad.abs().sum() > 0 for weight in weights)
    with pytest.raises(BenchmarkError, match="at least 16 pixels a side, these have 20 × 12"):
        encoder(pixels[:, :, :12])


@pytest.mark.parametrize("name", ENCODERS)
def test_extraction_in_parts(name):
    torch.manual_seed(0)
    encoder = build_encoder(name, 3, base=4).train()
    tiles = torch.randint(0, 256, (7, 16, 16, 3), dtype=torch.uint8) if name == "cnn" else torch.randn(7, 3)
    whole = encoder(tiles)
    parts = encoder.extract(tiles, chunk=3)
    torch.testing.assert_close(parts, whole)
    assert not parts.requires_grad and encoder.training


@pytest.mark.parametrize("name", ENCODERS[1:])
def test_projections_have_length_one(name):
    torch.manual_seed(0)
    encoder = build_encoder(name, 3, base=4)
    tiles = torch.randint(0, 256, (7, 16, 16, 3), dtype=torch.uint8) if name == "cnn" else torch.randn(7, 3)
    projected = encoder.projected(tiles)
    torch.testing.assert_close(projected.norm(dim=1), torch.ones(7))
    assert projected.shape[1] == max(encoder.width // 2, 1)


def test_unknown_name():
    with pytest.raises(BenchmarkError, match="unknown encoder of tiles 'projektion'; did you mean 'projection'"):
        build_encoder("projektion", 6)
