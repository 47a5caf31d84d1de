"""Networks by name: shapes, sizes counted by hand, and errors that say what to do."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from benchmark.errors import BenchmarkError
from benchmark.training.backbones import GlobalPool, Network, build_network


def build(name: str, **changes: object) -> Network:
    settings: dict[str, object] = {"channels": 3, "size": 32, "num_classes": 10, **changes}
    return build_network(name, **settings)  # type: ignore[arg-type]


def count(network: Network) -> int:
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(
    ("name", "size"),
    [("cnn_small", 8), ("cnn9", 28), ("resnet18", 8), ("resnet34", 8), ("preact_resnet18", 8), ("timm:resnet18", 32)],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_logits_and_features_have_their_shapes(name: str, size: int, channels: int) -> None:
    network = build(name, size=size, channels=channels, num_classes=4).eval()
    images = torch.randn(2, channels, size, size)
    with torch.no_grad():
        logits, features = network(images), network.features(images)
    assert logits.shape == (2, 4) and features.shape == (2, network.head.in_features)
    assert logits.dtype == features.dtype == torch.float32


def test_parameter_counts_by_hand() -> None:
    small = 9 * (3 * 24 + 24 * 48 + 48 * 96) + 2 * (24 + 48 + 96) + 96 * 10 + 10
    assert count(build("cnn_small")) == small == 53_794
    assert count(build("cnn_small", channels=1)) == small - 9 * 2 * 24

    widths = [3, 128, 128, 128, 256, 256, 256, 512, 256, 128]  # table 2 of Han et al. 2018
    nine = 9 * sum(a * b for a, b in itertools.pairwise(widths)) + 2 * sum(widths[1:]) + 128 * 10 + 10
    assert count(build("cnn9")) == nine == 4_432_522

    blocks = [(64, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 512), (512, 512)]
    stem = 9 * 3 * 64
    convolutions = sum(9 * (a * b + b * b) for a, b in blocks)
    shortcuts = sum(a * b for a, b in blocks if a != b)
    head = 512 * 10 + 10
    norms = 2 * 64 + sum(2 * 2 * b for _, b in blocks) + sum(2 * b for a, b in blocks if a != b)
    assert count(build("resnet18")) == stem + convolutions + shortcuts + norms + head == 11_173_962
    preact_norms = sum(2 * (a + b) for a, b in blocks) + 2 * 512
    assert count(build("preact_resnet18")) == stem + convolutions + shortcuts + preact_norms + head == 11_172_170

    imagenet_stem = 49 * 3 * 64
    assert count(build("timm:resnet18")) == imagenet_stem + convolutions + shortcuts + norms + head == 11_181_642


def test_the_cifar_stem_keeps_the_size() -> None:
    network = build("resnet18").eval()
    sizes = []
    trunk = network.trunk
    trunk.layer1.register_forward_hook(lambda *call: sizes.append(tuple(call[2].shape[2:])))
    with torch.no_grad():
        network(torch.randn(1, 3, 32, 32))
    assert sizes == [(32, 32)]


def test_a_timm_model_whose_features_are_wider_than_it_says() -> None:
    network = build("timm:mobilenetv3_small_050", num_classes=3).eval()
    assert network(torch.randn(2, 3, 32, 32)).shape == (2, 3)
    assert network.head.in_features == 1024


def test_last_logits_are_those_of_the_latest_training_pass() -> None:
    network = build("cnn_small", size=8)
    logits = network(torch.randn(2, 3, 8, 8))
    assert network.last_logits is not None and torch.equal(network.last_logits, logits) and not network.last_logits.requires_grad
    with torch.no_grad():
        network(torch.randn(3, 3, 8, 8))
    network.eval()(torch.randn(4, 3, 8, 8))
    assert len(network.last_logits) == 2


def test_bfloat16_gives_float32_logits_near_those_of_float32() -> None:
    torch.manual_seed(0)
    exact = build("cnn_small", size=8).eval()
    rough = build("cnn_small", size=8, bf16=True).eval()
    rough.load_state_dict(exact.state_dict())
    images = torch.randn(4, 3, 8, 8)
    assert rough(images).dtype == torch.float32
    assert not torch.equal(rough(images), exact(images))
    torch.testing.assert_close(rough(images), exact(images), atol=0.05, rtol=0.05)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("cnn9", {"size": 27}, "cnn9 needs images of at least 28 px, these have 27; use cnn_small or resnet18"),
        ("cnn_small", {"size": 7}, "cnn_small needs images of at least 8 px, these have 7; use resnet18"),
        ("resnet19", {}, r"unknown backbone 'resnet19'; did you mean 'resnet18'.*timm:<name>"),
        ("timm:resnet1800", {}, r"unknown timm model 'resnet1800'; did you mean"),
        ("resnet18", {"pretrained": True}, "pretrained=true needs a timm backbone, not resnet18"),
        ("timm:vit_tiny_patch16_224", {}, "timm:vit_tiny_patch16_224 cannot take images of 32 px: .*224"),
    ],
)
def test_errors_tell_in_one_line_what_to_do(name: str, changes: dict[str, object], message: str) -> None:
    with pytest.raises(BenchmarkError, match=message) as raised:
        build(name, **changes)
    assert "\n" not in str(raised.value)


def test_weights_that_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    import timm

    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(timm, "create_model", refuse)
    with pytest.raises(BenchmarkError, match="timm cannot build resnet18 with its weights: RuntimeError"):
        build("timm:resnet18", pretrained=True)


@pytest.mark.parametrize("name", ["cnn_small", "cnn9", "resnet18", "preact_resnet18", "timm:resnet18"])
def test_weights_follow_the_global_generator(name: str) -> None:
    def weights(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return torch.cat([p.flatten() for p in build(name).parameters()])

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_pooling_before_the_activation_changes_nothing() -> None:
    """cnn_small as papers draw it, with the activation first: the same logits, and gradients that part by the order of sums at most."""
    network = build("cnn_small", size=16)
    convolutions = [module for module in network.trunk if isinstance(module, nn.Conv2d)]
    norms = [module for module in network.trunk if isinstance(module, nn.BatchNorm2d)]
    drawn = nn.Sequential(
        *(convolutions[0], norms[0], nn.ReLU(), nn.MaxPool2d(2), convolutions[1], norms[1], nn.ReLU(), nn.MaxPool2d(2)),
        *(convolutions[2], norms[2], nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), network.head),
    )
    images, labels = torch.randn(8, 3, 16, 16).to(memory_format=torch.channels_last), torch.arange(8)
    found = []
    for forward in (network, drawn):
        network.zero_grad()
        logits = forward(images)
        torch.nn.functional.cross_entropy(logits, labels).backward()
        found.append((logits, convolutions[0].weight.grad))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found[0][1], found[1][1], rtol=1e-4, atol=1e-6)
    assert found[0][1].abs().max() > 0


def test_global_pool_is_the_mean_over_the_pixels() -> None:
    images = torch.arange(2 * 3 * 4 * 6, dtype=torch.float32).view(2, 3, 4, 6).requires_grad_()
    pooled = GlobalPool()(images)
    torch.testing.assert_close(pooled, images.mean(dim=(2, 3), keepdim=True))
    assert pooled[0, 0, 0, 0] == 11.5  # the mean of 0 to 23
    pooled.sum().backward()
    assert images.grad is not None and bool((images.grad == 1 / 24).all())
