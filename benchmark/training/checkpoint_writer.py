"""Checkpoints off the critical path: a copy is taken at once, a thread of the run writes it to disk."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmark.training import checkpoint

_being_written: dict[Path, threading.Thread] = {}
"""Of all runs of this process: who reads such a file waits for it first."""


class CheckpointWriter:
    """Writes one checkpoint at a time, in a thread that lives as long as that takes.

    What is written is of the moment of :meth:`submit`, whatever becomes of the payload later. There is never more than one copy in
    memory. The process does not end before the file is whole (the thread is no daemon), a kill leaves the file before it.

    What goes wrong in the thread is raised by the next :meth:`submit` or :meth:`settle`, as it is.
    """

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    @property
    def busy(self) -> bool:
        """Whether a checkpoint is being written. An ordinary one that comes then is better left out: the one on its way is hardly
        older, the next epoch brings another, and a copy that waits would take memory for as long as the disk is the slower one."""
        return self._thread is not None and self._thread.is_alive()

    def submit(self, path: Path, payload: dict[str, Any], written: Callable[[], None] | None = None) -> None:
        """Copy a payload now and write it soon, after what is being written.

        Args:
            path: the file; either the old or the new one is there, never half.
            payload: a nested dictionary of what :func:`benchmark.training.checkpoint.plain` passes.
            written: called in the thread once the file is there.

        Raises:
            BenchmarkError: something is in it that :func:`~benchmark.training.checkpoint.load` would refuse to read.
            OSError: what was submitted before could not be written (a full disk, say).
        """
        self.settle()
        copy, copied = snapshot(checkpoint.plain(payload, "checkpoint"))

        def write() -> None:
            try:
                copied()
                checkpoint.write(path, copy)
                if written is not None:
                    written()
            except BaseException as error:  # told by submit or settle, in the run's own thread
                self._error = error
            finally:
                if _being_written.get(path) is threading.current_thread():
                    del _being_written[path]

        thread = threading.Thread(target=write, name="checkpoint", daemon=False)
        _being_written[path] = thread
        try:
            thread.start()
        except BaseException as error:  # nobody can wait for a thread that has not begun
            _being_written.pop(path, None)
            if not isinstance(error, RuntimeError):  # say, the signal that ends this process
                raise
            write()  # no more threads are to be had
        else:
            self._thread = thread

    def settle(self) -> None:
        """Wait until all is on disk; raise what went wrong there."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        error, self._error = self._error, None
        if error is not None:
            raise error


def wait_for(path: Path) -> None:
    """Wait until a checkpoint that this process is writing there is whole."""
    thread = _being_written.get(path)
    if thread is not None and thread is not threading.current_thread():
        thread.join()


def settle_all() -> None:
    """Wait until this process writes no checkpoint any more: whoever leaves a run's folder to others does, however the run ended."""
    for thread in list(_being_written.values()):
        thread.join()


def snapshot(payload: Any) -> tuple[Any, Callable[[], None]]:
    """A copy of nested dictionaries and lists with all tensors on the CPU, and what to call before they are read.

    Tensors of a GPU go to pinned memory without waiting: their copy stands in line behind the kernels that make them and before
    those that change them next. Tensors that are one object stay one.
    """
    copies: dict[int, Tensor] = {}
    devices: set[torch.device] = set()

    def copy(value: Any) -> Any:
        if isinstance(value, Tensor):
            if id(value) not in copies:
                copies[id(value)] = _copied(value, devices)
            return copies[id(value)]
        if isinstance(value, dict):
            return {key: copy(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return type(value)(copy(item) for item in value)
        return value

    copied = copy(payload)
    events = []
    for device in devices:
        with torch.cuda.device(device):
            event = torch.cuda.Event()
            event.record()
            events.append(event)

    def wait() -> None:
        for event in events:
            event.synchronize()

    return copied, wait


def _copied(tensor: Tensor, devices: set[torch.device]) -> Tensor:
    values = tensor.detach()
    if values.device.type == "cpu":
        return values.clone()
    if values.device.type != "cuda":
        return values.cpu()
    devices.add(values.device)
    target = torch.empty_like(values, device="cpu", pin_memory=True)
    return target.copy_(values, non_blocking=True)
