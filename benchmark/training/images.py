"""Where the images of a run are: on a GPU as a whole where they fit, else where the data set has them."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import resource
import time
from pathlib import Path

import numpy as np
import psutil
import torch
from torch import Tensor

from benchmark.data.rows import ImageRows
from benchmark.training.names import RUNS_PER_GPU

logger = logging.getLogger(__name__)

SHARE_OF_MEMORY = 0.25
"""A part of a data set goes to the device whole if it takes no more than this share of the memory that is free: other runs
and the networks need the rest."""

CHUNK_BYTES = 64 * 2**20

EVALUATED_PIXELS = 2**16
"""A CPU's forward passes without gradients take images of about so many pixels together: the activations of more fall out of the
cache (images of 96 px took 1.5 times as long by 64 as by 8), of fewer the calls themselves begin to count."""


READ_AGAIN_S = 60.0
"""The parts of a data set lie in one file: what was read so short a time ago is still in the system's cache."""

LEAST_READ = 0.125
"""Of a file, this share at least must be asked for to have it read from end to end: a small part is sooner read row by row."""

GROUP = Path("/sys/fs/cgroup")
"""Where the system tells the limits of this process's group."""

_read: dict[tuple[Path, int], float] = {}


class MappedImages:
    """Images that stay where they are, with what the training loop needs of a tensor: rows by index and by slice.

    Args:
        rows: n images, (n, H, W, C) uint8 (or (n, D) float32 features), in memory or in a memory-mapped file.
        device: where the rows that are asked for go.
        at_hand: they are in memory or in the system's cache, so that a batch is a copy from there and no thread need read ahead.

    Attributes:
        shape: (n, C, H, W) or (n, D).
        device: of what :meth:`index_select` and slices return.
    """

    def __init__(self, rows: ImageRows, device: torch.device, *, at_hand: bool = False) -> None:
        self._rows, self.device, self.at_hand = rows, device, at_hand
        self._as_stored = device.type == "cpu"
        self.shape = torch.Size(rows.shape if len(rows.shape) == 2 else (len(rows), rows.shape[3], *rows.shape[1:3]))

    def __len__(self) -> int:
        return len(self._rows)

    def index_select(self, dim: int, index: Tensor) -> Tensor:
        """(m, C, H, W) copies of these rows on the device; ``dim`` is 0. An index on a GPU is waited for."""
        assert dim == 0
        return self._tensor(self._rows[index.cpu().numpy()])

    def __getitem__(self, rows: slice) -> Tensor:
        """(m, C, H, W) copies of these rows on the device."""
        return self._tensor(self._rows[rows])

    def _tensor(self, images: np.ndarray) -> Tensor:
        """On a CPU (m, H, W, C) stays the order in memory, channels_last: the one that networks want."""
        if not self._as_stored or images.ndim == 2 or images.shape[3] == 1:  # one channel: both orders are the same
            return to_tensor(images, self.device)
        return torch.from_numpy(images).permute(0, 3, 1, 2)


def place(rows: ImageRows, device: torch.device) -> Tensor | MappedImages:
    """The images of one part of a data set for a run on ``device``.

    Args:
        rows: n images, (n, H, W, C) uint8, or (n, D) float32 features.
        device: the run's device.

    Returns:
        (n, C, H, W) (or (n, D)) on the device, or the same by rows: images on a CPU, so that there is no second copy of them, and all
        workers share the system's cache of a file; else where it would take too much of the free memory.
    """
    row_bytes = int(np.prod(rows.shape[1:])) * rows.array.itemsize
    size = len(rows) * row_bytes
    fits = size <= SHARE_OF_MEMORY * free_memory(device)
    if device.type == "cpu" and rows.file is not None:
        return MappedImages(rows, device, at_hand=fits and read_ahead(rows.file, size))
    if device.type == "cpu" and len(rows.shape) == 4:
        return MappedImages(rows, device, at_hand=True)
    if fits:
        return to_tensor(rows[:], device)
    logger.info("%d images of %d kB stay on disk and are read batch by batch", len(rows), row_bytes // 1024)
    return MappedImages(rows, device)


def read_ahead(file: Path, wanted: int) -> bool:
    """Read a file from beginning to end, so that it is in the system's cache: a disk takes rows in random order badly.

    Args:
        file: of images.
        wanted: bytes of it that a run will ask for.

    Returns:
        False, with nothing read, where it takes more than half of the free memory, or where little of it is wanted.
    """
    status = file.stat()
    if status.st_size > 2 * SHARE_OF_MEMORY * free_memory(torch.device("cpu")):
        logger.info("%s does not fit into memory and is read batch by batch", file.name)
        return False
    seen = (file, status.st_mtime_ns)
    if time.monotonic() - _read.get(seen, -math.inf) > READ_AGAIN_S:
        if wanted < LEAST_READ * status.st_size:
            return False
        buffer = bytearray(8 * 2**20)
        with file.open("rb", buffering=0) as source:
            while source.readinto(buffer):
                pass
        _read[seen] = time.monotonic()
    return True


def evaluated_together(height: int, width: int) -> int:
    """How many images of this size a CPU's forward pass without gradients takes at a time; see :data:`EVALUATED_PIXELS`."""
    return max(8, min(256, EVALUATED_PIXELS // (height * width)))


def to_tensor(images: np.ndarray, device: torch.device) -> Tensor:
    """(n, H, W, C) uint8 → contiguous (n, C, H, W) uint8 on a device; (n, D) features keep their order."""
    values = torch.from_numpy(np.ascontiguousarray(images)).to(device)
    return values if values.ndim == 2 else values.permute(0, 3, 1, 2).contiguous()


def free_memory(device: torch.device) -> int:
    """Bytes that a new tensor may take on a device: what is free, within the limits set on this process and its group.

    Of a GPU that several runs share each takes its part: those that start at the same moment all find it empty.
    """
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0]) // runs_per_gpu()
    free = [int(psutil.virtual_memory().available)]
    for limit in (resource.RLIMIT_AS, resource.RLIMIT_DATA):
        soft = resource.getrlimit(limit)[0]
        if soft != resource.RLIM_INFINITY:
            free.append(soft - int(psutil.Process().memory_info().rss))
    with contextlib.suppress(OSError, ValueError):  # no such group, or "max"
        free.append(int((GROUP / "memory.max").read_text()) - int((GROUP / "memory.current").read_text()) + _cached())
    return max(0, min(free))


def _cached() -> int:
    """Bytes of files that the group's memory holds and gives up when asked: what was read ahead must not count as taken."""
    lines = (line.split() for line in (GROUP / "memory.stat").read_text().splitlines())
    return sum(int(value) for name, value in lines if name in ("active_file", "inactive_file"))


def runs_per_gpu() -> int:
    """How many processes share this one's GPU, as the local engine has told; 1 if nobody has."""
    told = os.environ.get(RUNS_PER_GPU, "")
    return max(1, int(told)) if told.isdecimal() else 1
