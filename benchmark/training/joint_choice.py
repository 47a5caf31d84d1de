"""Whether a joint pass is faster than passes one after the other: measured once a process for each architecture and shape."""

from __future__ import annotations

import contextlib
import copy
import logging
import math
import statistics
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from benchmark.training.backbones import Network
from benchmark.training.folding import folding
from benchmark.training.joint_pass import JointPass, collecting, joint_backward, shared_images
from benchmark.training.joint_steps import Stacks
from benchmark.training.optimizers import OPTIMIZERS
from benchmark.training.stacking import architecture

logger = logging.getLogger(__name__)

HANDOVER_S = 50e-6
"""What a network's part in a joint step costs beside the step, estimated: two changes of threads with their random states take 9 µs on
an idle machine, several times that on a busy one, and the requests are made around them."""

GAIN = 1.05
"""A joint step must be faster by this factor."""

LARGEST = 2**24
"""Numbers in the images of a joint pass without gradients; larger ones gain nothing and take memory."""

ROUNDS = 5

forced: bool | None = None
"""For tests and benchmarks: the answer to every question; None measures."""

_measured: dict[tuple[object, ...], dict[int, bool]] = {}


def worth_it(networks: Sequence[Network], images: Sequence[Tensor]) -> bool:
    """Whether one pass of all these networks, each on its images, is faster than a pass each; with gradients: the whole training step.

    What is measured runs on copies of the networks and draws nothing from any global generator. A batch smaller than one that was
    measured goes by that one's answer.
    """
    if forced is not None:
        return forced
    gradients = torch.is_grad_enabled()
    if not gradients and sum(one.numel() for one in images) > LARGEST:
        return False
    inputs, size = len(shared_images(images)), len(networks)
    rounded = (2 ** math.ceil(math.log2(size)), min(inputs, 2) if inputs < size else 0)
    first = images[0]
    where = (str(first.device), torch.get_num_threads(), gradients, networks[0].training)
    found = architecture(networks[0])
    key = (found if isinstance(found, str) else found.signature, tuple(first.shape[1:]), first.dtype, *rounded, *where)
    answers, batch = _measured.setdefault(key, {}), int(first.shape[0])
    larger = [known for known in answers if 2 * known >= batch]
    if larger:
        return answers[min(larger)]
    answers[batch] = _measure(networks, images, gradients)
    return answers[batch]


def _measure(networks: Sequence[Network], images: Sequence[Tensor], gradients: bool) -> bool:
    try:
        apart, together = compare(networks, images, gradients)
    except torch.cuda.OutOfMemoryError:
        logger.info("%d networks together do not fit into the memory of the device; one after the other", len(networks))
        return False
    together += HANDOVER_S * len(networks) if len(shared_images(images)) == len(networks) else 0.0
    used = apart > GAIN * together
    what = f"{len(networks)} networks on {'×'.join(map(str, images[0].shape))}"
    times = f"{1000 * together:.2f} ms together, {1000 * apart:.2f} ms one after the other"
    logger.info("%s: %s a %s; %s", what, times, "training step" if gradients else "pass", "together" if used else "one after the other")
    return used


def compare(networks: Sequence[Network], images: Sequence[Tensor], gradients: bool = True, rounds: int = ROUNDS) -> tuple[float, float]:
    """Seconds of the networks one after the other, and together: a training step with gradients, else a forward pass; medians."""
    copies = [_twin(network) for network in networks]
    generator = torch.Generator().manual_seed(0)
    drawn = {id(one): torch.randn(one.shape, generator=generator).to(one) for one in images}
    given = [drawn[id(one)] for one in images]
    optimizers = [OPTIMIZERS["sgd"](twin.parameters(), lr=1e-6, momentum=0.9, fused=True) for twin in copies] if gradients else []
    stacks = Stacks()

    def apart() -> None:
        for i, (twin, one) in enumerate(zip(copies, given, strict=True)):
            logits = twin.logits(one)
            if gradients:
                optimizers[i].zero_grad()
                logits.logsumexp(dim=1).mean().backward()
                optimizers[i].step()

    def together() -> None:
        joint = JointPass(stacks.stack(copies), shared_images(given))
        if gradients:
            for optimizer in optimizers:
                optimizer.zero_grad()
            with collecting() as passes:
                for logits in joint.logits():
                    logits.logsumexp(dim=1).mean().backward()
            joint_backward(passes)
            stacks.step(optimizers)

    with torch.set_grad_enabled(gradients), contextlib.nullcontext() if gradients else folding():  # as an evaluation would pass them
        apart()
        together()
        pairs = [(_seconds(apart, given[0]), _seconds(together, given[0])) for _ in range(rounds)]
    return statistics.median(a for a, _ in pairs), statistics.median(b for _, b in pairs)


def _twin(network: Network) -> Network:
    logits, network.last_logits = network.last_logits, None
    memo, network.memo = network.memo, None
    try:
        return copy.deepcopy(network)
    finally:
        network.last_logits, network.memo = logits, memo


def _seconds(work: Callable[[], None], like: Tensor) -> float:
    if like.is_cuda:
        torch.cuda.synchronize(like.device)
    started = time.perf_counter()
    work()
    if like.is_cuda:
        torch.cuda.synchronize(like.device)
    return time.perf_counter() - started
