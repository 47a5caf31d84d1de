"""A trained classifier that leaves the harness: a folder of weights and a card, written once, loaded anywhere, never a pickle."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmark.clean import weights as weight_file
from benchmark.clean.card import CARD, WEIGHTS, check_weights, model_folder, read_card
from benchmark.clean.design import Design
from benchmark.data.decode import read_pixels
from benchmark.data.features import embed
from benchmark.errors import BenchmarkError
from benchmark.training.augment import Augmenter, FeatureScaler
from benchmark.training.backbones import Network
from benchmark.training.devices import resolve_device
from benchmark.training.folding import folding
from benchmark.training.images import evaluated_together, to_tensor
from benchmark.training.loader import batch_bounds

__all__ = ["Model", "load_model"]

BATCH = 512
"""Images of a forward pass, as in training; on a CPU fewer, see :func:`~benchmark.training.images.evaluated_together`."""
EMBEDDED_BYTES = 2**28
"""So many bytes of pixels are embedded at once where a model takes frozen features: the embedding network is loaded each time."""


class Model:
    """A classifier of images, ready to use; made by :func:`load_model`.

    Attributes:
        card: what card.json says: on what it was trained, how good it is, what it is for.
        design: how it is built.
        device: where it runs. networks: in evaluation mode.
        batch: images of a forward pass where nothing else is asked for.
        chunk: how many images are best handed to :meth:`predict` at once by those who have more than fit into memory.
    """

    def __init__(
        self, card: dict[str, Any], design: Design, networks: Sequence[Network], view: Augmenter | FeatureScaler, device: torch.device
    ) -> None:
        self.card, self.design, self.device = card, design, device
        self.networks, self._view = list(networks), view
        pixels = device.type == "cpu" and not design.features
        self.batch = batch = evaluated_together(*design.shape[:2]) if pixels else BATCH
        self.chunk = max(batch, EMBEDDED_BYTES // int(np.prod(design.shape))) if design.features else batch

    @property
    def classes(self) -> tuple[str, ...]:
        """K names, in the order of the columns of a forecast."""
        return self.design.classes

    @property
    def scale(self) -> Tensor:
        """Of the normalisation, (1, C, 1, 1) or (D,) float32: ``pixels * scale + bias``."""
        return self._view.scale

    @property
    def bias(self) -> Tensor:
        """Of the normalisation; see :attr:`scale`."""
        return self._view.bias

    def read(self, file: Path | str) -> np.ndarray:
        """(H, W, C) uint8 pixels of an image file as the model takes them: upright, 8 bits, the shorter side scaled, the centre cut out.

        Raises:
            OSError, ValueError or whatever else Pillow trips over: the file is missing or no image.
        """
        height, width, channels = self.design.shape
        if height == width:
            return read_pixels(file, height, channels == 1)
        return _fitted(read_pixels(file, 0, channels == 1), height, width)

    def predict(self, images: np.ndarray | Sequence[Path | str], *, batch_size: int | None = None) -> np.ndarray:
        """Class probabilities.

        Args:
            images: (n, H, W, C) uint8, C as in training, other sizes are scaled as files are; or n image files.
            batch_size: images of a forward pass; by default as many as in training.

        Returns:
            (n, K) float32, rows summing to 1.

        Raises:
            BenchmarkError: an array of another shape or type, a file that cannot be read, features that cannot be had.
        """
        if isinstance(images, np.ndarray):
            self._check(images)
        batch = batch_size or self.batch
        parts = [
            self._forecast(self._pixels(images[start:stop]), batch)
            for start, stop in batch_bounds(len(images), max(batch, self.chunk) if self.design.features else batch)
        ]
        return np.concatenate(parts) if parts else np.zeros((0, len(self.classes)), np.float32)

    def _check(self, images: np.ndarray) -> None:
        channels = self.design.shape[2]
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != channels or 0 in images.shape[1:3]:
            found = f"{images.dtype} {images.shape}"
            raise BenchmarkError(f"the model takes (n, H, W, {channels}) uint8 images, these are {found}; files may be of any mode")

    def _pixels(self, images: np.ndarray | Sequence[Path | str]) -> np.ndarray:
        """(b, H, W, C) uint8 at the model's size."""
        if isinstance(images, np.ndarray):
            height, width, _ = self.design.shape
            return images if images.shape[1:3] == (height, width) else np.stack([_fitted(image, height, width) for image in images])
        found = []
        for file in images:
            try:
                found.append(self.read(file))
            except Exception as error:  # whatever Pillow makes of a file
                raise BenchmarkError(f"{file} cannot be read as an image: {error}") from error
        return np.stack(found)

    @torch.no_grad()
    def _forecast(self, pixels: np.ndarray, batch: int) -> np.ndarray:
        inputs: Tensor
        if self.design.features:
            with tempfile.TemporaryDirectory() as folder:  # nothing is kept: an image to predict is seen once
                features = embed(self.design.features, pixels, "predict", Path(folder), self.device)
                inputs = to_tensor(np.array(features), self.device)
            if inputs.shape[1] != self.design.width:
                named = self.design.features
                raise BenchmarkError(f"features={named} gives {inputs.shape[1]} numbers an image, the model takes {self.design.width}")
        else:
            inputs = to_tensor(pixels, self.device)
        parts = []
        with folding():  # as the run evaluated, so the numbers are its own
            for start, stop in batch_bounds(len(inputs), batch):
                view = self._view(inputs[start:stop])
                parts.append(torch.stack([network(view).float().softmax(dim=1) for network in self.networks]).mean(dim=0))
        return torch.cat(parts).float().cpu().numpy()


def load_model(folder: Path | str, *, device: str = "auto", features: str = "") -> Model:
    """Load an exported model.

    Weights come from safetensors, all else from JSON; every value is checked before it is used.

    Args:
        folder: with card.json and weights.safetensors, or the one above, whose ``model`` is meant.
        device: ``auto``, ``cpu`` or ``cuda[:i]``.
        features: where the model takes features of a network whose weights lie in a file, that setting as it is here:
            ``timm:<name>@<weights file>``. A card cannot name a file to be opened.

    Raises:
        BenchmarkError: no model there, a card or weights that do not hold together, or features that the model does not take.
    """
    where = model_folder(Path(folder))
    card, design = read_card(where)
    used = _features(design, features, where / CARD)
    chosen = resolve_device(device)
    bf16 = design.bf16 == chosen.type
    check_weights(card, where)
    tensors, _ = weight_file.read(where / WEIGHTS)
    networks, scale, bias = weight_file.build(design, tensors, str(where / WEIGHTS), bf16=bf16)
    scale, bias = scale.to(chosen), bias.to(chosen)
    view = FeatureScaler(scale, bias) if design.features else Augmenter(frozenset(), *design.shape[:2], scale, bias)
    built = Design(**{**vars(design), "features": used})
    return Model(card, built, [network.to(chosen) for network in networks], view, chosen)


def _features(design: Design, given: str, where: Path) -> str:
    """The features setting to embed with: the card's, or the person's where a file or a hub is behind it."""
    named, at, file = design.features.partition("@")
    if given:
        if given.partition("@")[0] != named:
            raise BenchmarkError(f"{where}: the model takes {f'features {named}' if named else 'pixels'}, not features {given}")
        return given
    if at or named.startswith("timm:hf-hub:"):
        wanted = f"{named}@<your copy of {file}>" if at else named
        raise BenchmarkError(f"{where}: the model takes features of a network that is not part of it; add --features '{wanted}'")
    return named


def _fitted(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """(height, width, C) uint8: the shorter side scaled (bicubic), the centre cut out, as training does."""
    from PIL import Image, ImageOps

    if pixels.shape[:2] == (height, width):
        return pixels
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    return np.asarray(ImageOps.fit(image, (width, height), method=Image.Resampling.BICUBIC)).reshape(height, width, -1)
