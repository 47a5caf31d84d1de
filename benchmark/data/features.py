"""Frozen features: every image embedded once, mostly by a published network, for heads that train in seconds.

``identity`` takes the pixels themselves, ``texture`` colour and texture (:mod:`benchmark.data.texture`). ``timm:<name>`` embeds with
that model's published weights, ``timm:<name>@<file>``
with weights from a file (safetensors, or a torch file of tensors), which is how pathology foundation models are handed out.
"""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.data.rows import ImageRows, sampled_digest
from benchmark.errors import BenchmarkError, unknown_name
from benchmark.files import TEMPORARY, atomic_open

if TYPE_CHECKING:
    import numpy as np
    import torch

    from benchmark.api import Report

logger = logging.getLogger(__name__)

VERSION = 1
"""Of the preprocessing; part of every cached file's name."""

LOOKED_AT = 64
"""So many blocks of a weights file tell it from another: size and time alone are those of other files, too."""

BLOCK_BYTES = 4096

BATCH = 64
TEXTURE = "texture"
TEXTURE_CHUNK = 1024
MOST_IDENTITY = 16_384
"""More numbers than this an image are no features."""


def fingerprint(setting: str) -> str:
    """What the features depend on beside the images, as a short text; cheap.

    Raises:
        BenchmarkError: neither ``identity``, ``texture`` nor ``timm:…``, or a weights file that does not exist.
    """
    name, file = _parse(setting)
    if name is None:
        return "identity"
    if name == TEXTURE:
        from benchmark.data import texture as described

        return f"texture-{described.VERSION}"
    digest = hashlib.sha256(f"{VERSION}|{name}".encode())
    if file is not None:
        digest.update(_file_digest(file))
    return f"features-{digest.hexdigest()[:12]}"


def embed(setting: str, images: np.ndarray, identity: str, root: Path, device: torch.device, report: Report | None = None) -> np.ndarray:
    """(n, D) float32 features of n images, computed once and kept below ``root``.

    Args:
        setting: ``identity``, ``texture``, ``timm:<name>`` or ``timm:<name>@<file>``.
        images: (n, H, W, C) uint8, in memory or memory-mapped.
        identity: what tells these images from all others; part of the cached file's name, as are some of the images
            themselves, because a data set whose code changed may have the identity that it had before.
        root: the folder for downloads and caches.
        device: where the model runs.
        report: is told how far it is.

    Raises:
        BenchmarkError: an unknown model, weights that cannot be had or give no numbers, images that are too large to be
            features, or a folder that cannot be written.
    """
    import numpy as np
    from filelock import FileLock

    name, file = _parse(setting)
    if name is None:
        return _pixels(images)
    key = hashlib.sha256(f"{identity}|{sampled_digest(images)}|{fingerprint(setting)}".encode()).hexdigest()[:16]
    folder = root / "features"
    path = folder / f"{key}.npy"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f"{key}.lock"):
            found = _read(path, len(images))
            if found is None:
                logger.info("embedding %d images with %s", len(images), setting)
                features = _computed(name, file, images, setting, device, report)
                for leftover in folder.glob(f"{path.name}.*{TEMPORARY}"):  # of a process that was killed; we hold its lock
                    leftover.unlink(missing_ok=True)
                with atomic_open(path) as stream:
                    np.save(stream, features)
                told = {"features": setting, "images": identity, "shape": list(features.shape)}
                (folder / f"{key}.json").write_text(json.dumps(told) + "\n")
                found = _read(path, len(images))
    except OSError as error:
        raise BenchmarkError(f"cannot keep features in {folder}: {error.strerror or error}; choose another --data-root") from error
    if found is None:
        raise BenchmarkError(f"the features in {path} cannot be read back; is the disk sound?")
    return found


def _read(path: Path, n: int) -> np.ndarray | None:
    """The (n, D) features of a file; None where there are none, or other than these."""
    import numpy as np

    try:
        found: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        return None
    except (ValueError, EOFError):  # cut short, or overwritten with something else
        return None
    return found if found.ndim == 2 and len(found) == n and found.dtype == np.float32 else None


def _file_digest(file: Path) -> bytes:
    """Of the size, the time and blocks of a weights file, evenly spaced: cheap for gigabytes, too.

    Raises:
        BenchmarkError: it cannot be read.
    """
    try:
        status = file.stat()
        digest = hashlib.sha256(f"|{status.st_size}|{status.st_mtime_ns}".encode())
        with file.open("rb") as stream:
            for block in range(LOOKED_AT):
                stream.seek(block * max(0, status.st_size - BLOCK_BYTES) // (LOOKED_AT - 1))
                digest.update(stream.read(BLOCK_BYTES))
    except OSError as error:
        raise BenchmarkError(f"the weights {file} cannot be read: {error.strerror or error}") from error
    return digest.digest()


def _parse(setting: str) -> tuple[str | None, Path | None]:
    """The timm name (None for identity) and the weights file (None for the published ones)."""
    if setting == "identity":
        return None, None
    if setting == TEXTURE:
        return TEXTURE, None
    if not setting.startswith("timm:") or not setting.removeprefix("timm:"):
        raise unknown_name("features", setting, ("identity", TEXTURE, "timm:<name>"), "timm:<name>@<file> takes weights from a file")
    name, at, file = setting.removeprefix("timm:").partition("@")
    if at and not Path(file).expanduser().is_file():
        raise BenchmarkError(f"features={setting}: there is no file {file}; write timm:<name>@<weights file>")
    return name, Path(file).expanduser() if at else None


def _computed(name: str, file: Path | None, images: np.ndarray, setting: str, device: torch.device, report: Report | None) -> np.ndarray:
    """(n, D) features, computed now."""
    import numpy as np

    from benchmark.data.texture import SMALLEST, texture

    rows = ImageRows(images, np.arange(len(images)))
    if name != TEXTURE:
        model, transform = _model(name, file, device)
        return _run(model, transform, rows, setting, device, report)
    if min(images.shape[1:3]) < SMALLEST:
        raise BenchmarkError(f"features=texture needs images of at least {SMALLEST} px, these have {min(images.shape[1:3])}")
    parts = []
    for start in range(0, len(rows), TEXTURE_CHUNK):
        parts.append(texture(rows[start : start + TEXTURE_CHUNK]))
        if report is not None:
            report("embedding with texture", min(start + TEXTURE_CHUNK, len(rows)), len(rows))
    return np.concatenate(parts)


def _pixels(images: np.ndarray) -> np.ndarray:
    import numpy as np

    width = int(np.prod(images.shape[1:]))
    if width > MOST_IDENTITY:
        raise BenchmarkError(f"features=identity would be {width} numbers an image; add image_size=32, say, or take features=timm:<name>")
    return images.reshape(len(images), width).astype(np.float32) / np.float32(255)


def _model(name: str, file: Path | None, device: torch.device) -> tuple[Any, dict[str, Any]]:
    import timm
    from timm.data import resolve_model_data_config  # type: ignore[attr-defined]

    if not timm.is_model(name) and not name.startswith("hf-hub:"):
        raise unknown_name("timm model", name, timm.list_models(), "timm.list_models() has them all")
    for chatty in ("huggingface_hub", "timm"):  # a download that fails is told in one line, not once for each attempt
        logging.getLogger(chatty).setLevel(logging.ERROR)
    try:
        model = timm.create_model(name, pretrained=file is None, num_classes=0)
        if file is not None:
            _load_weights(model, file)
    except BenchmarkError:
        raise
    except Exception as error:  # timm raises whatever its download or its model raises
        line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise BenchmarkError(
            f"features=timm:{name}: its weights cannot be had ({line}); fetch them elsewhere and write features=timm:{name}@<weights file>"
        ) from error
    return model.eval().to(device), resolve_model_data_config(model)


def _load_weights(model: Any, file: Path) -> None:
    """Fill a model without its classifier from a file; the file's classifier is ignored, nothing else may be missing."""
    import torch

    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            state = load_file(file)
        else:
            state = torch.load(file, map_location="cpu", weights_only=True)
            state = state.get("state_dict", state.get("model", state))
        missing, _ = model.load_state_dict(state, strict=False)
    except Exception as error:  # a broken file, or tensors of other shapes
        line = (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()
        raise BenchmarkError(f"the weights {file} cannot be loaded into this model: {line}") from error
    if missing:
        raise BenchmarkError(f"the weights {file} are not this model's: {len(missing)} tensors are missing, e.g. {missing[0]}")


def _run(model: Any, config: dict[str, Any], rows: ImageRows, setting: str, device: torch.device, report: Report | None) -> np.ndarray:
    """Resize to the model's input, normalise as its card says, embed; float32 throughout."""
    import numpy as np
    import torch
    import torch.nn.functional as F

    size = tuple(config["input_size"][1:])
    mean = torch.tensor(config["mean"], device=device).view(1, 3, 1, 1)
    deviation = torch.tensor(config["std"], device=device).view(1, 3, 1, 1)
    parts = []
    with torch.inference_mode():
        for start in range(0, len(rows), BATCH):
            batch = torch.from_numpy(rows[start : start + BATCH]).to(device).permute(0, 3, 1, 2).float() / 255
            batch = batch.expand(-1, 3, -1, -1)
            if batch.shape[2:] != size:
                batch = F.interpolate(batch, size=size, mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)
            features = model((batch - mean) / deviation)
            parts.append(features.flatten(1).float().cpu().numpy())
            if not np.isfinite(parts[-1]).all():
                raise BenchmarkError(f"features={setting} gives numbers that are not finite; its weights are broken, or of other input")
            if report is not None:
                report(f"embedding with {setting}", min(start + BATCH, len(rows)), len(rows))
    return np.concatenate(parts)
