"""The profile of the run that goes on in this process, and what a run's code calls whether there is one or not."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

if TYPE_CHECKING:
    import torch

    from benchmark.profiling.recorder import RunProfile

P = ParamSpec("P")
R = TypeVar("R")


class _Process:
    """What this process profiles at the moment."""

    __slots__ = ("profile", "start_seconds")

    def __init__(self) -> None:
        self.profile: RunProfile | None = None
        self.start_seconds = 0.0  # until it was ready for its first run, while that has not begun


_process = _Process()
_NOTHING: contextlib.AbstractContextManager[None] = contextlib.nullcontext()


def part(name: str) -> contextlib.AbstractContextManager[None]:
    """A block whose seconds are those of a part of :data:`~benchmark.profiling.PARTS`, except those of parts inside it."""
    profile = _mine()
    return _NOTHING if profile is None else profile.part(name)


def timed(name: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A function whose seconds are those of a part."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            if _process.profile is None:
                return function(*args, **kwargs)
            with part(name):
                return function(*args, **kwargs)

        return call

    return decorate


def batches(function: Callable[P, Iterator[R]]) -> Callable[P, Iterator[R]]:
    """A generator of batches: the seconds until each of them are ``data``, those between two are not."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> Iterator[R]:
        found = function(*args, **kwargs)
        return found if _process.profile is None else _timed(found)

    return call


def _timed(found: Iterator[R]) -> Iterator[R]:
    with contextlib.closing(found):  # type: ignore[type-var]
        while True:
            with part("data"):
                batch = next(found, None)
            if batch is None:
                return
            yield batch


def watch(networks: Iterable[torch.nn.Module]) -> None:
    """Count the forward passes of fresh networks, and of copies that are made of them."""
    if _process.profile is not None:
        from benchmark.profiling.hooks import add_hooks

        for network in networks:
            add_hooks(network)


def enter_forward(*_: Any) -> None:
    """A hook: a forward pass begins. Hooks know no profile, so that a network can be copied with them and outlive it."""
    if (profile := _mine()) is not None:
        profile.enter("forward")


def leave_forward(*_: Any) -> None:
    """A hook: a forward pass has ended, or has raised."""
    if (profile := _mine()) is not None:
        profile.leave()


def watched_by_others(module: torch.nn.Module) -> bool:
    """Whether a module has forward hooks beside those of a profile: somebody sees its passes, which must be made as they are."""
    before, after = module._forward_pre_hooks.values(), module._forward_hooks.values()
    return any(hook is not enter_forward for hook in before) or any(hook is not leave_forward for hook in after)


def turn_to(name: str) -> None:
    """From now on, what is in no other part is this one."""
    if (profile := _mine()) is not None:
        profile.watch.turn_to(name)


def on_device(device: torch.device) -> torch.device:
    """Where the run computes: a GPU is waited for at the edges of parts, or its seconds would be those of whoever waits next."""
    if (profile := _mine()) is not None:
        profile.on_device(device)
    return device


def stage_begins(name: str, *, first: int, epochs: int, steps: int, final: bool) -> None:
    """A stage of training begins.

    Args:
        name: of the stage.
        first: its first epoch that is still to be done, 0-based.
        epochs: of the whole stage.
        steps: about how many are still to be done.
        final: whether it makes the final predictor: its steps are traced.
    """
    if (profile := _mine()) is not None:
        profile.stage_begins(name, first=first, epochs=epochs, steps=steps, final=final)


def stage_ends() -> None:
    """The stage has come to its end."""
    if (profile := _mine()) is not None:
        profile.stage_ends()


def step_done(samples: int) -> None:
    """One training step has ended."""
    if (profile := _mine()) is not None:
        profile.step_done(samples)


def ready_after(seconds: float) -> None:
    """This process took so long to be ready for its first run; that one's profile says so."""
    _process.start_seconds = seconds


@contextlib.contextmanager
def recording(wanted: bool, folder: Path, elapsed: float = 0.0) -> Iterator[None]:
    """While the block runs, this process's run is profiled, if that is wanted.

    Args:
        wanted: without it nothing is done.
        folder: of the run.
        elapsed: seconds that the run has taken before.
    """
    start, _process.start_seconds = _process.start_seconds, 0.0
    if not wanted:
        yield
        return
    from benchmark.profiling.recorder import RunProfile

    profile = _process.profile = RunProfile(folder, elapsed=elapsed, start_seconds=start)
    try:
        yield
    finally:
        _process.profile = None
        profile.close()


def write(**facts: Any) -> None:
    """Write the profile's files, with what else is to be said of the run; a full disk costs the profile alone."""
    if (profile := _mine()) is not None:
        profile.write(facts)


def _mine() -> RunProfile | None:
    """The profile, if this is the thread that it counts."""
    profile = _process.profile
    return profile if profile is not None and profile.thread == threading.get_ident() else None
