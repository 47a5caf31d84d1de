"""What a classifier trained on the true labels of other samples thinks of each sample: the base of feature-dependent noise."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from benchmark import clock
from benchmark.api import Noise, TrainingData
from benchmark.data.rows import ImageRows, sampled_digest
from benchmark.files import atomic_open
from benchmark.spec import TrainingProtocol, protocol
from benchmark.training.context import RunContext
from benchmark.training.images import to_tensor
from benchmark.training.noise_rate import out_of_fold_probabilities
from benchmark.training.oracle import Oracle

logger = logging.getLogger(__name__)

FOLDS = 5
EPOCHS = 10
VERSION = 1
"""Raise it when the same samples get another posterior."""

SMALLEST_SIDE, LARGEST_SIDE = 8, 64
"""Larger images are scaled down first: the posterior only has to say what looks alike."""


def cached_posterior(
    images: np.ndarray, labels: np.ndarray, class_names: tuple[str, ...], identity: str, root: Path, device: torch.device
) -> np.ndarray:
    """(n, K) float64 out-of-fold class probabilities, trained once a data set and kept below ``root``.

    Each sample's come from a ``cnn_small`` (a linear classifier on frozen features) that trained for ten epochs on the true
    labels of the other four fifths, in one thread. The same for every seed, and for every run below this root; another kind of
    device may round otherwise.

    Args:
        images: (n, H, W, C) uint8 or (n, D) float32, the whole set.
        labels: (n,) int64 true labels.
        class_names: K names.
        identity: what tells this set from all others; part of the cached file's name.
        root: the folder for downloads and caches.
        device: where it trains.
    """
    from filelock import FileLock

    settings = _protocol(_has_room(images.shape))
    content = sampled_digest(images) + hashlib.sha256(np.ascontiguousarray(labels, dtype="<i8").data).hexdigest()
    key = hashlib.sha256(f"{VERSION}|{identity}|{content}|{settings}|{FOLDS}|{LARGEST_SIDE}".encode()).hexdigest()[:16]
    folder = root / "posterior"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{key}.npy"
    with FileLock(folder / f"{key}.lock"), clock.alone():  # whoever had the next turn would wait for the lock, and keep the turn
        posterior = _read(path, (len(labels), len(class_names)))
        if posterior is None:
            logger.info("training %d networks for the class posterior of %d samples", FOLDS, len(labels))
            posterior = _train(images, labels, class_names, settings, device)
            with atomic_open(path) as stream:
                np.save(stream, posterior)
    return posterior


def _read(path: Path, shape: tuple[int, int]) -> np.ndarray | None:
    """The kept posterior; None if there is none, or a broken one."""
    try:
        kept: np.ndarray = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return kept if kept.shape == shape else None


def _has_room(shape: tuple[int, ...]) -> bool:
    """Whether the images are large enough for convolutions; smaller ones are taken as features."""
    return len(shape) == 4 and min(shape[1:3]) >= SMALLEST_SIDE


def _protocol(pixels: bool) -> TrainingProtocol:
    return protocol("quick", {"epochs": EPOCHS, "backbone": "cnn_small" if pixels else "linear"})


def _train(
    images: np.ndarray, labels: np.ndarray, class_names: tuple[str, ...], settings: TrainingProtocol, device: torch.device
) -> np.ndarray:
    data = TrainingData(_scaled_down(images, device), torch.from_numpy(labels).to(device), len(class_names), class_names)
    state, threads = torch.random.get_rng_state(), torch.get_num_threads()
    torch.set_num_threads(1)  # another number rounds otherwise, and the labels drawn from this are part of a run's identity
    run = RunContext(data, settings, seed=0, device=device, oracle=Oracle(None, Noise(), None, len(class_names), class_names))
    everything = torch.arange(data.n, device=device)
    probabilities = out_of_fold_probabilities(run, everything, data.labels, folds=FOLDS, name="posterior", epoch_share=1.0)
    torch.random.set_rng_state(state)
    torch.set_num_threads(threads)
    return probabilities.double().cpu().numpy()


def _scaled_down(images: np.ndarray, device: torch.device) -> torch.Tensor:
    """(n, C, h, w) uint8 with sides of at most :data:`LARGEST_SIDE`, or the features as they are."""
    rows = ImageRows(images, np.arange(len(images)))
    if not _has_room(images.shape):
        return to_tensor(rows[:].reshape(len(images), -1).astype(np.float32), device)
    if max(images.shape[1:3]) <= LARGEST_SIDE:
        return to_tensor(rows[:], device)
    factor = LARGEST_SIDE / max(images.shape[1:3])
    size = [max(8, round(side * factor)) for side in images.shape[1:3]]
    parts = []
    for start in range(0, len(images), 256):
        chunk = to_tensor(rows[start : start + 256], device).float()
        parts.append(F.interpolate(chunk, size=size, mode="area").round().clamp(0, 255).to(torch.uint8))
    return torch.cat(parts)
