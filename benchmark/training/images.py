"""Where the images of a run are: on the device as a whole where they fit, else in a file that batches are read from."""

from __future__ import annotations

import contextlib
import logging
import resource
from pathlib import Path

import numpy as np
import psutil
import torch
from torch import Tensor

from benchmark.data.rows import ImageRows

logger = logging.getLogger(__name__)

SHARE_OF_MEMORY = 0.25
"""A part of a data set goes to the device whole if it takes no more than this share of the memory that is free: other runs
and the networks need the rest."""

CHUNK_BYTES = 64 * 2**20

EVALUATED_PIXELS = 2**16
"""A CPU's forward passes without gradients take images of about so many pixels together: the activations of more fall out of the
cache (images of 96 px took 1.5 times as long by 64 as by 8), of fewer the calls themselves begin to count."""


class MappedImages:
    """Images that stay where they are, with what the training loop needs of a tensor: rows by index and by slice.

    Args:
        rows: n images, (n, H, W, C) uint8 (or (n, D) float32 features), in a memory-mapped file.
        device: where the rows that are asked for go.

    Attributes:
        shape: (n, C, H, W) or (n, D).
        device: of what :meth:`index_select` and slices return.
    """

    def __init__(self, rows: ImageRows, device: torch.device) -> None:
        self._rows, self.device = rows, device
        self.shape = torch.Size(rows.shape if len(rows.shape) == 2 else (len(rows), rows.shape[3], *rows.shape[1:3]))

    def __len__(self) -> int:
        return len(self._rows)

    def index_select(self, dim: int, index: Tensor) -> Tensor:
        """(m, C, H, W) copies of these rows on the device; ``dim`` is 0. An index on a GPU is waited for."""
        assert dim == 0
        return to_tensor(self._rows[index.cpu().numpy()], self.device)

    def __getitem__(self, rows: slice) -> Tensor:
        """(m, C, H, W) copies of these rows on the device."""
        return to_tensor(self._rows[rows], self.device)


def place(rows: ImageRows, device: torch.device) -> Tensor | MappedImages:
    """The images of one part of a data set for a run on ``device``.

    Args:
        rows: n images, (n, H, W, C) uint8, or (n, D) float32 features.
        device: the run's device.

    Returns:
        (n, C, H, W) (or (n, D)) on the device, or the same by rows where that would take too much of the free memory.
    """
    row_bytes = int(np.prod(rows.shape[1:])) * rows.array.itemsize
    if len(rows) * row_bytes <= SHARE_OF_MEMORY * free_memory(device):
        return to_tensor(rows[:], device)
    logger.info("%d images of %d kB stay on disk and are read batch by batch", len(rows), row_bytes // 1024)
    return MappedImages(rows, device)


def evaluated_together(height: int, width: int) -> int:
    """How many images of this size a CPU's forward pass without gradients takes at a time; see :data:`EVALUATED_PIXELS`."""
    return max(8, min(256, EVALUATED_PIXELS // (height * width)))


def to_tensor(images: np.ndarray, device: torch.device) -> Tensor:
    """(n, H, W, C) uint8 → contiguous (n, C, H, W) uint8 on a device; (n, D) features keep their order."""
    ordered = images if images.ndim == 2 else images.transpose(0, 3, 1, 2)
    return torch.from_numpy(np.ascontiguousarray(ordered)).to(device)


def free_memory(device: torch.device) -> int:
    """Bytes that a new tensor may take on a device: what is free, within the limits set on this process and its group."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    free = [int(psutil.virtual_memory().available)]
    for limit in (resource.RLIMIT_AS, resource.RLIMIT_DATA):
        soft = resource.getrlimit(limit)[0]
        if soft != resource.RLIM_INFINITY:
            free.append(soft - int(psutil.Process().memory_info().rss))
    group = Path("/sys/fs/cgroup")
    with contextlib.suppress(OSError, ValueError):  # no such group, or "max"
        free.append(int((group / "memory.max").read_text()) - int((group / "memory.current").read_text()))
    return max(0, min(free))
