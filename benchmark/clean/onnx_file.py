"""An exported model as one ONNX file: uint8 pixels in, probabilities out; compared with the model before it gets its name."""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmark.clean.card import WEIGHTS, model_folder, read_card
from benchmark.clean.model import Model, load_model
from benchmark.errors import BenchmarkError
from benchmark.files import atomic_write_bytes

__all__ = ["ONNX", "check_packages", "export_onnx"]

ONNX = "model.onnx"
INSTALL = 'python -m pip install "noisy-label-benchmark[onnx]"'
PACKAGES = ("onnx", "onnxscript", "onnxruntime")
TOLERANCE = 1e-4
"""Largest difference of a probability between the two; sums are made in another order."""
TRIED = 3
OPSET = 20


class _Graph(nn.Module):
    """What the file computes: normalise, all networks, the mean of their softmax."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.networks: Any = nn.ModuleList(model.networks)
        self.pixels = not model.design.features
        self.scale, self.bias = nn.Buffer(model.scale.cpu()), nn.Buffer(model.bias.cpu())

    def forward(self, images: Tensor) -> Tensor:
        """(n, K) float32 from (n, H, W, C) uint8 images, or from (n, D) float32 features."""
        ordered = images.permute(0, 3, 1, 2).float() if self.pixels else images
        view = ordered * self.scale + self.bias
        return torch.stack([network.head(network.trunk(view)).softmax(dim=1) for network in self.networks]).mean(dim=0)


def check_packages() -> None:
    """Refuse to go on without the packages of the export; BenchmarkError that names the command which installs them."""
    for package in PACKAGES:
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise BenchmarkError(f"export to ONNX needs {package}; install it: {INSTALL}") from error


def export_onnx(model_dir: Path) -> Path:
    """Write ``model.onnx`` beside the weights of an exported model.

    Its input ``images`` is (n, H, W, C) uint8 at the size and with the channels that the card says, or ``features`` (n, D) float32 where
    the model takes features; its output ``probabilities`` is (n, K) float32. n is free. Files have to be decoded and scaled by the caller
    as the card says.

    Args:
        model_dir: what :func:`benchmark.clean.exporting.export_model` returned.

    Raises:
        BenchmarkError: packages that are missing, a model that cannot be loaded or exported, or a file that gives other numbers.
    """
    check_packages()
    folder = model_folder(model_dir)
    features = read_card(folder)[1].features  # only the head is exported: no features are made here, whatever file they come from
    model = load_model(folder, device="cpu", features=features)
    graph = _Graph(model).eval()
    name = "features" if features else "images"
    tried = _examples(model)
    try:
        data = _exported(graph, torch.from_numpy(tried[:2]), name)
    except Exception as error:  # whatever the exporter makes of a network
        line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise BenchmarkError(f"{folder / WEIGHTS}: backbone {model.design.backbone} cannot be exported to ONNX: {line}") from error
    with torch.no_grad():
        wanted = graph(torch.from_numpy(tried)).numpy()
    apart = float(np.abs(_run(data, name, tried) - wanted).max())
    if not apart <= TOLERANCE:
        raise BenchmarkError(f"the ONNX file of {folder} gives other probabilities (by {apart:.2g}); nothing was written")
    atomic_write_bytes(folder / ONNX, data)
    return folder / ONNX


def _exported(graph: nn.Module, example: Tensor, name: str) -> bytes:
    """The file's bytes, without the traces of the exporter's own source files."""
    told = logging.getLogger("torch.onnx")
    before = told.level
    told.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            program: Any = torch.onnx.export(
                graph,
                (example,),
                dynamo=True,
                dynamic_shapes=({0: torch.export.Dim("n")},),
                input_names=[name],
                output_names=["probabilities"],
                opset_version=OPSET,
                verbose=False,
            )
    finally:
        told.setLevel(before)
    proto = program.model_proto
    for part in (proto.graph, *proto.functions):
        for entry in (*part.node, *part.value_info, *getattr(part, "initializer", ()), *getattr(part, "input", ())):
            if hasattr(entry, "metadata_props"):
                del entry.metadata_props[:]
            if hasattr(entry, "doc_string"):
                entry.doc_string = ""
        del part.metadata_props[:]
    del proto.metadata_props[:]
    data: bytes = proto.SerializeToString(deterministic=True)
    return data


def _examples(model: Model) -> np.ndarray:
    """What the two are compared on: noise of the input's shape."""
    rng = np.random.default_rng(0)
    if model.design.features:
        return rng.normal(size=(TRIED, model.design.width)).astype(np.float32)
    return rng.integers(0, 256, (TRIED, *model.design.shape), dtype=np.uint8)


def _run(data: bytes, name: str, inputs: np.ndarray) -> np.ndarray:
    """What the file says of some inputs."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["probabilities"], {name: inputs})[0])
