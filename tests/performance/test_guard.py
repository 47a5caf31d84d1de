"""What safety costs: checkpoints on and off the training thread, batches in pieces. Times are of this machine; compare ratios."""

from __future__ import annotations

import io
import time
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from benchmark.files import atomic_write_bytes
from benchmark.spec import protocol
from benchmark.training import checkpoint
from benchmark.training.backbones import Network, build_network
from benchmark.training.checkpoint_writer import CheckpointWriter
from benchmark.training.networks import Networks

pytestmark = pytest.mark.perf

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def network(name: str, size: int = 32) -> Network:
    torch.manual_seed(0)
    return build_network(name, channels=3, size=size, num_classes=10).to(DEVICE)


def _wait() -> None:
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


@pytest.mark.parametrize("name", ["cnn_small", "resnet18", "resnet34"])
def test_a_checkpoint_off_the_training_thread(name: str, tmp_path: Path, report) -> None:
    """Networks with Adam's moments; the reference serialises, writes and syncs before the training goes on."""
    torch.set_num_threads(1)
    networks = Networks([network(name)], protocol("quick", {"optimizer": "adam"}))
    networks.step(networks[0](torch.randn(2, 3, 32, 32, device=DEVICE)).sum())
    writer = CheckpointWriter()

    def waits() -> float:
        started = time.perf_counter()
        buffer = io.BytesIO()
        torch.save(checkpoint.plain({"networks": networks.state_dict()}, "checkpoint"), buffer)
        atomic_write_bytes(tmp_path / "one.pt", buffer.getvalue())
        return time.perf_counter() - started

    def goes_on() -> float:
        _wait()
        started = time.perf_counter()
        writer.submit(tmp_path / "two.pt", {"networks": networks.state_dict()})
        taken = time.perf_counter() - started
        writer.settle()
        return taken

    pairs = sorted(((waits(), goes_on()) for _ in range(7)), key=lambda pair: pair[0] / pair[1])
    before, after = pairs[len(pairs) // 2]
    size = (tmp_path / "two.pt").stat().st_size / 1e6
    report(
        f"checkpoint, {name}, Adam, {size:.0f} MB: {before:.3f} s on the training thread before, {after:.3f} s now, {before / after:.1f} ×"
    )
    assert (tmp_path / "one.pt").stat().st_size == pytest.approx(size * 1e6, rel=0.1)


def test_training_beside_the_writer(tmp_path: Path, report, interleaved) -> None:
    """Steps of ResNet-18 while its checkpoint is written, in CPU time of the training thread: does the writer hold the interpreter?"""
    torch.set_num_threads(1)
    networks = Networks([network("resnet18")], protocol("quick", {"optimizer": "adam"}))
    images, labels = torch.randn(16, 3, 32, 32, device=DEVICE), torch.arange(16, device=DEVICE) % 10
    writer = CheckpointWriter()

    def steps() -> None:
        for _ in range(3):
            networks.step(F.cross_entropy(networks[0](images), labels))
        _wait()

    def beside() -> None:
        writer.submit(tmp_path / "x.pt", {"networks": networks.state_dict()})
        steps()

    with_it, without, ratio = interleaved(beside, steps)
    writer.settle()
    report(f"3 steps of resnet18 with a checkpoint: {with_it:.2f} s, without {without:.2f} s, ratio {ratio:.2f}")
    assert (tmp_path / "x.pt").exists()


@pytest.mark.parametrize(("name", "size", "batch"), [("cnn_small", 32, 128), ("resnet18", 32, 64)])
def test_a_batch_in_pieces(name: str, size: int, batch: int, report, interleaved) -> None:
    """Forward and backward pass of a batch in four pieces over that of the whole; activations that autograd holds at once."""
    torch.set_num_threads(1)
    whole, cut = network(name, size), network(name, size)
    cut.micro_batch = batch // 4
    images, labels = torch.randn(batch, 3, size, size, device=DEVICE), torch.arange(batch, device=DEVICE) % 10

    def step(net: Network) -> None:
        F.cross_entropy(net(images), labels).backward()
        _wait()

    pieces, at_once, ratio = interleaved(lambda: step(cut), lambda: step(whole))
    held = [_held(net, images) for net in (cut, whole)]
    report(
        f"{name}, {size} px, batch {batch} in 4 pieces: {pieces:.3f} s, whole {at_once:.3f} s, ratio {ratio:.2f}; activations held after "
        f"the forward pass {held[0]:.1f} MB and {held[1]:.1f} MB, at most {held[1] / 4:.1f} MB more in the backward pass"
    )
    assert held[0] < held[1]


def _held(net: Network, images: torch.Tensor) -> float:
    storages: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        logits = net(images)
    parameters = {p.untyped_storage().data_ptr() for p in net.state_dict().values()}
    del logits
    return sum(size for pointer, size in storages.items() if pointer not in parameters) / 1e6
