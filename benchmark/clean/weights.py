"""The final networks of a run as a safetensors file: written by the worker where they are asked for, read without running code.

``<run folder>/model.safetensors`` holds the tensors of each network under ``<position>.<name>``, and ``scale`` and ``bias`` of the
normalisation (``pixels * scale + bias``); its header holds the :class:`~benchmark.clean.design.Design`. Nothing of it enters a run's
key, its code's hash or its numbers.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from benchmark.api import Method, TrainingData
from benchmark.clean.design import Design
from benchmark.errors import BenchmarkError
from benchmark.files import atomic_write_bytes
from benchmark.spec import canonical_json
from benchmark.tasks import task_of
from benchmark.training.backbones import Network, build_network
from benchmark.training.networks import Networks

if TYPE_CHECKING:
    from benchmark.prepare import PreparedData
    from benchmark.training.context import RunContext

__all__ = ["BIAS", "SCALE", "build", "contents", "keep", "read"]

HEADER = "design"
SCALE, BIAS = "scale", "bias"
TRIED = 64
"""So many training images are forecast by what is kept and compared with what the run says of them."""
TOLERANCE, BF16_TOLERANCE = 1e-3, 5e-2
"""Of that comparison: batches of another size round differently, bfloat16 far more."""


def keep(
    path: Path, method: Method, networks: Any, prepared: PreparedData, training: TrainingData, run: RunContext, believed: np.ndarray
) -> None:
    """Write the networks that a method has trained, in one step.

    Args:
        path: the file.
        method: which has been trained.
        networks: what its ``fit`` returned.
        prepared, training: the run's data.
        run: its context.
        believed: (n,) probability of the given labels by the run's final predictor, which the networks must have, too.

    Raises:
        BenchmarkError: they are not what the run predicts with.
    """
    if not isinstance(networks, Networks) or not all(isinstance(network, Network) for network in networks):
        raise BenchmarkError(f"{method.name}.fit() returned no networks that could be kept")
    tried = torch.arange(min(TRIED, training.n), device=run.device)
    again = run.class_probabilities(networks, tried).gather(1, training.labels[tried].view(-1, 1)).squeeze(1).float().cpu().numpy()
    bf16 = networks[0].bf16
    apart = float(np.abs(again - believed[: len(again)]).max())
    if not apart <= (BF16_TOLERANCE if bf16 else TOLERANCE):
        raise BenchmarkError(f"{method.name} predicts with other networks than fit() returned (probabilities differ by {apart:.2g})")
    weak, _ = task_of("classification").augmenters(run.protocol, prepared.dataset.augmentation, training.images)
    height, width, channels = (int(side) for side in prepared.arrays.images.shape[1:])
    features = prepared.dataset.options.features
    name, at, file = features.partition("@")
    design = Design(
        run.protocol.backbone,
        len(networks),
        tuple(training.class_names),
        (height, width, channels),
        f"{name}@{Path(file).name}" if at else name,
        int(training.images.shape[1]) if features else 0,
        run.device.type if bf16 else "",
    )
    tensors = {f"{position}.{name}": value for position, network in enumerate(networks) for name, value in network.state_dict().items()}
    atomic_write_bytes(path, contents({**tensors, SCALE: weak.scale.view(-1), BIAS: weak.bias.view(-1)}, design))


def contents(tensors: dict[str, Tensor], design: Design | None = None) -> bytes:
    """A safetensors file of these tensors; the same bytes for the same values."""
    from safetensors.torch import save

    plain = {name: tensors[name].detach().cpu().clone(memory_format=torch.contiguous_format) for name in sorted(tensors)}
    return save(plain, None if design is None else {HEADER: canonical_json(design.to_dict())})  # one key: their order is not fixed


def read(path: Path) -> tuple[dict[str, Tensor], Design | None]:
    """The tensors of a file, on the CPU, and the design that its header holds, if any.

    Raises:
        BenchmarkError: no such file, or none of safetensors.
    """
    from safetensors import safe_open

    if not path.is_file():
        raise BenchmarkError(f"{path} {'is no file' if path.exists() else 'does not exist'}")
    try:
        with safe_open(path, framework="pt") as file:
            header = (file.metadata() or {}).get(HEADER)
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 - the file is no mapping; it may change
        data = None if header is None else json.loads(header)
    except Exception as error:  # a foreign file can fail in any way
        raise BenchmarkError(f"{path} is no sound safetensors file: {_first_line(error)}") from error
    return tensors, None if data is None else Design.from_dict(data, str(path))


def build(design: Design, tensors: dict[str, Tensor], where: str, *, bf16: bool = False) -> tuple[list[Network], Tensor, Tensor]:
    """The networks of a design with these weights, in evaluation mode on the CPU, then scale and bias of the normalisation.

    The shapes are compared before anything is allocated, so that a design asks for no more memory than its file has.

    Raises:
        BenchmarkError: a tensor that is missing, of another shape or type, not finite, or one too many.
    """
    numbers = design.width or design.shape[2]
    expected: dict[str, tuple[tuple[int, ...], torch.dtype]] = dict.fromkeys((SCALE, BIAS), ((numbers,), torch.float32))
    with torch.device("meta"):
        empty = _network(design, bf16).state_dict()
    for position in range(design.networks):
        expected |= {f"{position}.{name}": (tuple(value.shape), value.dtype) for name, value in empty.items()}
    for name in (*expected, *tensors):
        if name not in tensors:
            raise BenchmarkError(f"{where} lacks the tensor {name} of backbone {design.backbone}")
        if name not in expected:
            raise BenchmarkError(f"{where} has a tensor {name[:80]!r}, which backbone {design.backbone} does not know")
        found, (shape, kind) = tensors[name], expected[name]
        if tuple(found.shape) != shape or found.dtype != kind:
            raise BenchmarkError(f"{where}: {name} is {found.dtype} {tuple(found.shape)}, backbone {design.backbone} needs {kind} {shape}")
        if not torch.isfinite(found).all():
            raise BenchmarkError(f"{where}: {name} holds numbers that are not finite")
    networks = []
    for position in range(design.networks):
        with torch.random.fork_rng(devices=[]):  # the weights that a fresh network draws are nobody's business
            network = _network(design, bf16)
        network.load_state_dict({name: tensors[f"{position}.{name}"] for name in empty})
        networks.append(network.eval().requires_grad_(False))
    return networks, tensors[SCALE], tensors[BIAS]


def _network(design: Design, bf16: bool) -> Network:
    height, width, channels = design.shape
    size, inputs = (1, design.width) if design.features else (min(height, width), channels)
    return build_network(design.backbone, channels=inputs, size=size, num_classes=len(design.classes), bf16=bf16)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
