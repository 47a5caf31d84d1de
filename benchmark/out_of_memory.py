"""A run that does not fit into memory is tried again with its batches in smaller and smaller pieces."""

from __future__ import annotations

import gc
import logging
import traceback
from collections.abc import Callable
from typing import TypeVar

import torch

from benchmark import clock
from benchmark.errors import BenchmarkError
from benchmark.training.micro_batch import Pieces

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

_WORDS = (
    "DefaultCPUAllocator: can't allocate memory",
    "CUDA error: out of memory",  # outside torch's own cache: a context, pinned memory
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)
"""What else than torch.OutOfMemoryError says so."""


class OutOfMemoryError(BenchmarkError):
    """A run does not fit into memory, however small its pieces."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory, of the GPU or of this machine, was short."""
    return isinstance(error, torch.OutOfMemoryError) or (isinstance(error, RuntimeError) and any(word in str(error) for word in _WORDS))


def within_memory(attempt: Callable[[Pieces], Result], batch: int) -> Result:
    """Call ``attempt`` with whole batches and, while memory is short, with pieces of half a batch, a quarter, …

    A run of a group is first tried again by itself, with whole batches. Every attempt has to begin anew: between two of them nothing of
    the former is held. What it left on disk it may go on from.

    Args:
        attempt: is told how to cut batches, and notes what its networks bear.
        batch: samples in a whole batch.

    Raises:
        OutOfMemoryError: the smallest pieces do not fit either, or the networks take none. One line: what was tried, the next step.
        Exception: what ``attempt`` raises beside want of memory.
    """
    size: int | None = None
    tried: list[str] = []
    while True:
        pieces = Pieces(size)
        try:
            return attempt(pieces)
        except RuntimeError as error:  # of which torch.OutOfMemoryError is one
            if not is_out_of_memory(error):
                raise
            words = " ".join(str(error).split(". ")[0].split())
            traceback.clear_frames(error.__traceback__)  # they hold the network and its activations
        if size is None and (run := clock.member()) is not None and run.go_alone():
            logger.warning("out of memory among runs that are trained together (%s); trying again by itself", words)
            _free()
            continue
        _free()
        tried.append(f"{batch} samples" if size is None else str(size))
        smaller = (batch if size is None else size) // 2
        if pieces.refusal or smaller < pieces.least:
            raise OutOfMemoryError(_farewell(words, tried, pieces.refusal))
        logger.warning(
            "out of memory with %s at a time (%s); trying again with pieces of %d: gradients are still those of %d samples, "
            "batch norm sees a piece",
            *(tried[-1], words, smaller, batch),
        )
        size = smaller


def _free() -> None:
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def _farewell(words: str, tried: list[str], refusal: str) -> str:
    why = f" ({refusal})" if refusal else ""
    return (
        f"out of memory, tried with {', '.join(tried)} at a time{why}: {words}; give fewer runs a card (--per-gpu, --jobs), "
        "a smaller protocol.batch_size, smaller images or another backbone, or free the memory that others use"
    )
