"""Checkpoints and global generators: tensors and plain values only, written atomically, read without running code."""

from __future__ import annotations

import io
import random
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import numpy as np
import torch

from benchmark.errors import BenchmarkError
from benchmark.files import atomic_open


def write(path: Path, payload: dict[str, Any]) -> None:
    """Write what :func:`plain` has passed; the file is either the old or the new one, never half.

    Raises:
        OSError: the disk does not take it.
    """
    with atomic_open(path) as file:
        sink = _Sink(file)
        try:
            torch.save(payload, cast(IO[bytes], sink))
        except RuntimeError:
            if sink.error is not None:  # torch says "unexpected pos" of a full disk
                raise sink.error from None
            raise


class _Sink(io.RawIOBase):
    """A file that remembers why it could not be written."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        """Pass it on."""
        try:
            return self._file.write(data)
        except OSError as error:
            self.error = error
            raise


def load(path: Path, device: torch.device) -> dict[str, Any] | None:
    """Read a checkpoint; None if there is none or it cannot be read (the stage then starts again)."""
    if not path.exists():
        return None
    try:
        payload: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except Exception:  # a damaged file can fail in any way; starting again is always right
        return None
    return payload if isinstance(payload, dict) else None


def plain(value: Any, where: str) -> Any:
    """The same value with numpy's scalars as Python's; an untouched container is returned as it is.

    Raises:
        BenchmarkError: something else than :func:`load` reads; ``where`` begins its name.
    """
    if value is None or isinstance(value, torch.Tensor) or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, dict):
        items = {key: plain(item, f"{where}.{key}") for key, item in value.items()}
        return value if all(items[key] is item for key, item in value.items()) else items
    if type(value) in (list, tuple):
        return type(value)(plain(item, f"{where}[{position}]") for position, item in enumerate(value))
    if isinstance(value, np.generic):
        return value.item()
    raise BenchmarkError(f"{where} is a {type(value).__name__}; checkpoints keep tensors, numbers, strings, lists and dictionaries only")


def seed_generators(seed: int) -> None:
    """Seed Python's, numpy's and torch's global generators (of every device)."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def generator_states(device: torch.device, generators: dict[str, torch.Generator]) -> dict[str, Any]:
    """The states of Python's, numpy's and torch's global generators and of the named ones."""
    numpy_state: Any = np.random.get_state(legacy=True)
    return {
        "python": repr(random.getstate()[1]),
        "numpy": [str(numpy_state[0]), torch.from_numpy(np.asarray(numpy_state[1]).astype(np.int64)), *map(float, numpy_state[2:])],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
        "named": {name: generator.get_state() for name, generator in generators.items()},
    }


def restore_generators(states: dict[str, Any], device: torch.device, generators: dict[str, torch.Generator]) -> dict[str, torch.Tensor]:
    """The inverse of :func:`generator_states`; returns the states of named generators that do not exist yet."""
    numbers = tuple(int(part) for part in states["python"].strip("()").split(",") if part.strip())
    random.setstate((3, numbers, None))
    name, keys, position, has_gauss, cached = states["numpy"]
    np.random.set_state((name, keys.cpu().numpy().astype(np.uint32), int(position), int(has_gauss), cached))
    torch.set_rng_state(states["torch"].cpu())
    if states["cuda"] is not None and device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"].cpu(), device)
    named = {key: state.cpu() for key, state in states["named"].items()}
    for key in generators.keys() & named.keys():
        generators[key].set_state(named.pop(key))
    return named
