import pytest
import torch
from torch import nn

from benchmark.errors import BenchmarkError
from benchmark.segmentation.networks import SegmentationNetwork, build_segmentation_network, initialise


def build(name: str = "vnet_small", channels: int = 1, tasks: int = 1, classes: int = 2, **more: bool) -> SegmentationNetwork:
    torch.manual_seed(0)
    return build_segmentation_network(name, channels=channels, tasks=tasks, classes=classes, **more)


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_the_papers_network_has_its_number_of_parameters() -> None:
    assert parameters(build("vnet2d")) == 1_151_932
    assert parameters(build("vnet_small")) < 1_151_932 / 6


@pytest.mark.parametrize("name", ["vnet2d", "vnet_small", "unet:timm:mobilenetv3_small_050"])
def test_any_size_channels_tasks_and_classes(name: str) -> None:
    network = build(name, channels=3, tasks=2, classes=4).eval()
    with torch.no_grad():
        for height, width in ((16, 16), (13, 21)):
            logits, features = network.with_features(torch.randn(2, 3, height, width))
            assert logits.shape == (2, 2, 4, height, width) and logits.dtype == torch.float32
            assert features.shape == (2, network.width) and features.isfinite().all()
        images = torch.randn(2, 3, 16, 16)
        assert torch.equal(network(images), network.with_features(images)[0])
        assert torch.equal(network.features(images), network.with_features(images)[1])


@pytest.mark.parametrize("name", ["vnet_small", "vnet2d", "unet:timm:mobilenetv3_small_050"])
@pytest.mark.parametrize("inside", [True, False])
def test_logits_are_not_rounded_by_autocast(name: str, inside: bool) -> None:
    """The features are bfloat16, the last convolution is float32, whether the network or its caller asks for autocast."""
    network = build(name, tasks=2, bf16=inside)
    last = [part for part in network.trunk.head.modules() if isinstance(part, nn.Conv2d)][-1]
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    last.register_forward_hook(lambda _, given, made: seen.append((given[0], made)))
    images = torch.randn(2, 1, 32, 32)
    with torch.autocast("cpu", torch.bfloat16, enabled=not inside):
        if not inside:
            network.trunk(images)
        logits = network(images)
    given, made = seen[0]
    assert last.out_channels == 4 and given.dtype == torch.bfloat16 and made.dtype == logits.dtype == torch.float32
    assert torch.equal(made, nn.functional.conv2d(given.float(), last.weight, last.bias))
    assert (made != made.bfloat16()).float().mean() > 0.9
    logits.square().mean().backward()
    assert last.weight.grad is not None and last.weight.grad.dtype == torch.float32


@pytest.mark.parametrize(("name", "multiple"), [("vnet_small", 8), ("vnet2d", 8), ("unet:timm:mobilenetv3_small_050", 32)])
def test_single_images_too_small_for_batch_norm_are_one_line(name: str, multiple: int) -> None:
    """Two such images, a larger one, and evaluation of one are no matter."""
    network = build(name)
    for height, width in ((multiple, multiple), (1, 5)):
        line = (
            rf"^in batches of one image .* at least {multiple + 1} px in one direction, .* these have {height} × {width}: raise image_size"
        )
        with pytest.raises(BenchmarkError, match=line):
            network(torch.randn(1, 1, height, width))
        with pytest.raises(BenchmarkError, match=line):
            network.check_batches(1, height, width)
        network.check_batches(2, height, width)
        assert network(torch.randn(2, 1, height, width)).isfinite().all()
    assert network(torch.randn(1, 1, multiple, multiple + 1)).isfinite().all()
    assert network.eval()(torch.randn(1, 1, multiple, multiple)).isfinite().all()


@pytest.mark.parametrize("name", ["vnet_small", "unet:timm:mobilenetv3_small_050"])
def test_a_gradient_reaches_every_parameter(name: str) -> None:
    network = build(name, tasks=3)
    logits, features = network.with_features(torch.randn(4, 1, 32, 32))
    (logits.square().mean() + features.square().mean()).backward()
    assert not [key for key, value in network.named_parameters() if value.grad is None]


def test_images_of_a_batch_do_not_mix() -> None:
    network = build().eval()
    images = torch.randn(3, 1, 16, 24)
    with torch.no_grad():
        alone = torch.cat([network(image[None]) for image in images])
        assert torch.allclose(network(images), alone, atol=1e-5)


def test_convolutions_are_initialised_and_keep_the_scale() -> None:
    """The released program looks for 3-D convolutions, so that none of its own was ever initialised."""
    network = nn.Sequential(nn.Conv2d(16, 32, 3, padding=1), nn.ConvTranspose2d(64, 32, 2, stride=2), nn.BatchNorm2d(8))
    before = [parameter.clone() for parameter in network.parameters()]
    torch.manual_seed(0)
    initialise(network)
    changed = [not torch.equal(old, new) for old, new in zip(before, network.parameters(), strict=True)]
    assert changed[:4] == [True] * 4
    assert float(network[0].weight.detach().std()) == pytest.approx((2 / 144) ** 0.5, rel=0.05)
    assert float(network[1].weight.detach().std()) == pytest.approx((2 / 64) ** 0.5, rel=0.05)
    with torch.no_grad():
        assert float(build("vnet2d").trunk.first[0](torch.randn(4, 1, 32, 32)).std()) == pytest.approx(2**0.5, rel=0.4)


def test_the_seed_decides_the_weights_and_layout_is_channels_last() -> None:
    first, again = build(), build()
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert first.trunk.downs[0][0].weight.is_contiguous(memory_format=torch.channels_last)


def test_it_learns_a_square() -> None:
    torch.manual_seed(0)
    images = 0.5 * torch.randn(8, 1, 16, 16)
    labels = torch.zeros(8, 1, 16, 16, dtype=torch.int64)
    for row in range(8):
        labels[row, 0, row : row + 6, 4:10] = 1
    images += 2 * labels
    network = build()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    losses = []
    for _ in range(25):
        loss = nn.functional.cross_entropy(network(images).flatten(0, 1), labels.flatten(0, 1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    assert losses[-1] < 0.35 * losses[0]


def test_unknown_names_give_near_matches() -> None:
    with pytest.raises(BenchmarkError, match=r"unknown segmentation network 'vnet3d'; did you mean 'vnet2d'"):
        build("vnet3d")
    with pytest.raises(BenchmarkError, match=r"unknown timm model 'resnet81'; did you mean"):
        build("unet:timm:resnet81")
    with pytest.raises(BenchmarkError, match=r"there are no published weights for vnet2d; .*unet:timm:resnet18"):
        build("vnet2d", pretrained=True)


def test_a_failed_download_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import timm

    def offline(*_: object, **__: object) -> None:
        raise OSError("no route to host\nmore")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(BenchmarkError, match=r"^timm cannot build resnet18 with its weights as an encoder: no route to host$"):
        build("unet:timm:resnet18", pretrained=True)


def test_an_encoder_without_feature_maps_is_one_line() -> None:
    with pytest.raises(BenchmarkError, match=r"timm cannot build gmixer_12_224 as an encoder|encoder timm:gmixer_12_224 cannot take"):
        build("unet:timm:gmixer_12_224")
