"""What a classifier is rebuilt from: a few plain values that stand beside its weights, believed only after they were checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmark.errors import BenchmarkError, unknown_name
from benchmark.training.names import BACKBONES, FEATURE_BACKBONES

if TYPE_CHECKING:
    from benchmark.registry import Registry
    from benchmark.spec import RunSpec

__all__ = ["LARGEST_SIDE", "Design", "check_keepable"]

LARGEST_SIDE = 4096
"""Pixels; what the option ``image_size`` allows."""
MOST_CLASSES = 100_000
MOST_NETWORKS = 16
WIDEST = 65_536
"""Numbers of frozen features an image."""
LONGEST_NAME = 1000
_TIMM = re.compile(r"[A-Za-z0-9_.]{1,200}")
"""Names of timm's own models: no ``hf-hub:`` that would be fetched from somewhere, no path."""


@dataclass(frozen=True)
class Design:
    """How to build the networks, and what they take.

    Attributes:
        backbone: a name of :data:`~benchmark.training.names.BACKBONES`.
        networks: how many; the forecast is the mean of their softmax.
        classes: K names, in the order of the columns of a forecast.
        shape: (H, W, C) of the uint8 images; C is 1 or 3.
        features: the data option of that name where the networks take frozen features (a weights file by its name alone), else empty.
        width: D of the features, 0 without any.
        bf16: type of the device on which forward passes ran in bfloat16 (``cuda``), empty where they did not.
    """

    backbone: str
    networks: int
    classes: tuple[str, ...]
    shape: tuple[int, int, int]
    features: str = ""
    width: int = 0
    bf16: str = ""

    def to_dict(self) -> dict[str, Any]:
        """JSON-serialisable; :meth:`from_dict` reads it back."""
        return {**vars(self), "classes": list(self.classes), "shape": list(self.shape)}

    @classmethod
    def from_dict(cls, data: Any, where: str) -> Design:
        """The inverse of :meth:`to_dict`, for files that others wrote.

        Args:
            data: whatever stood there.
            where: the file, for messages.

        Raises:
            BenchmarkError: a value that is missing, of another type or out of range; names it.
        """
        if not isinstance(data, Mapping):
            raise BenchmarkError(f"{where} does not say how the model is built ('model' must be an object); export it again")
        text = {name: _text(data.get(name, ""), name, where) for name in ("backbone", "features", "bf16")}
        networks = _whole(data.get("networks"), 1, MOST_NETWORKS, "model.networks", where)
        width = _whole(data.get("width"), 1 if text["features"] else 0, WIDEST if text["features"] else 0, "model.width", where)
        classes, shape = data.get("classes"), data.get("shape")
        if not isinstance(classes, list) or not 2 <= len(classes) <= MOST_CLASSES or len({str(name) for name in classes}) != len(classes):
            raise BenchmarkError(f"{where}: model.classes must be a list of 2 to {MOST_CLASSES} different names")
        names = tuple(_text(name, "classes", where) for name in classes)
        if not isinstance(shape, list) or len(shape) != 3:
            raise BenchmarkError(f"{where}: model.shape must be [height, width, channels]")
        height, across, channels = (_whole(side, 1, LARGEST_SIDE, "model.shape", where) for side in shape)
        if channels not in (1, 3):
            raise BenchmarkError(f"{where}: model.shape says {channels} channels; images have 1 or 3")
        if text["bf16"] not in ("", "cpu", "cuda"):
            raise BenchmarkError(f"{where}: model.bf16 must be '', cpu or cuda, not '{text['bf16']}'")
        _check_backbone(text["backbone"], text["features"], where)
        return cls(text["backbone"], networks, names, (height, across, channels), text["features"], width, text["bf16"])


def check_keepable(spec: RunSpec, registry: Registry) -> None:
    """Refuse a run whose predictor is more than networks and the mean of their softmax; before anything is trained.

    Raises:
        BenchmarkError: names the method and what to do.
    """
    from benchmark.api import Method

    task = registry.load("dataset", spec.dataset.name).task
    if task != "classification":
        raise BenchmarkError(f"networks can be kept of classification only, and {spec.dataset.name} is {task}; run it without keep_model")
    method = registry.load("method", spec.method.name)
    if method.predict is not Method.predict:
        raise BenchmarkError(f"{spec.method.name} predicts in a way of its own, which no weights file holds; keep the networks of ce, say")


def _check_backbone(name: str, features: str, where: str) -> None:
    timm = name.removeprefix("timm:") if name.startswith("timm:") else None
    if timm is None and (name not in BACKBONES or name == "timm:<name>"):
        raise unknown_name(f"backbone in {where}", name, BACKBONES)
    if timm is not None and not _TIMM.fullmatch(timm):
        raise BenchmarkError(f"{where}: backbone '{name}' is no model of timm by its plain name")
    if (name in FEATURE_BACKBONES) != bool(features):
        raise BenchmarkError(f"{where}: backbone {name} and features '{features}' do not go together")


def _text(value: Any, name: str, where: str) -> str:
    if not isinstance(value, str) or len(value) > LONGEST_NAME:
        raise BenchmarkError(f"{where}: model.{name} must hold text of at most {LONGEST_NAME} characters")
    return value


def _whole(value: Any, least: int, most: int, name: str, where: str) -> int:
    if type(value) is not int or not least <= value <= most:
        raise BenchmarkError(f"{where}: {name} must be a whole number from {least} to {most}, not {str(value)[:40]}")
    return value
