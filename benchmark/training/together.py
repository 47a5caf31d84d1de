"""Several runs in one process, in lockstep where they ask for the same thing.

Each run is executed wholly, in a thread of its own, but only one thread works at a time: the one that holds the baton. A thread waits
when it asks for a pass of its networks, or for a step of its optimisers. Once all wait, the request of the run that has come least far
is served, together with all others that ask for the same. A run that asks for what cannot be joined does it itself and waits for
nobody, so the group changes when things are computed, never what.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import queue
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from benchmark import clock
from benchmark.engines.base import Execute, OnEvent, Outcome, WorkerOptions

if TYPE_CHECKING:
    from torch import Tensor

    from benchmark.training.backbones import BaseNetwork
    from benchmark.training.joint_pass import JointPass

logger = logging.getLogger(__name__)

PATIENCE_S = 1.0
"""How long a run that is to end may go on until it asks for something; then it is interrupted wherever it is."""


def execute_together(execute: Execute, keys: Sequence[str], options: WorkerOptions, on_event: OnEvent) -> Iterator[Outcome]:
    """Run several registered runs side by side; yields one outcome each, in the order in which they end.

    ``on_event`` is called in the thread that iterates. Closing the iterator, or an exception in it such as KeyboardInterrupt, ends all
    runs: they give their leases back, and resume from their checkpoints.
    """
    group = Group(execute, keys, options)
    log = logging.getLogger("benchmark")
    level = log.level
    log.setLevel(min(level or logging.INFO, logging.INFO))  # a run that ends puts back what it found: it must not be less than this
    left = len(keys)
    try:
        group.start()
        while left:
            item = group.inbox.get()
            if isinstance(item, Outcome):
                left -= 1
                yield item
            else:
                on_event(item)
    finally:
        group.stop()
        log.setLevel(level)


@dataclass
class _Request:
    """What a run waits for.

    Attributes:
        kind: ``forward`` (a joint pass), ``backward`` (what waits at the doors, and the optimisers' step), ``step`` (the step alone) or
            ``turn`` (nothing: all others had their turn).
        key: requests of equal keys can be served at once.
        answer: the logits of a forward pass; None: the run is to do it alone.
    """

    kind: str
    key: Any
    networks: Sequence[Any] = ()
    images: Any = None
    optimizers: Sequence[Any] = ()
    passes: Sequence[JointPass] = ()
    answer: Any = None
    error: BaseException | None = None


@dataclass
class _Randomness:
    """The global generators as one run left them."""

    python: Any
    numpy: Any = None
    torch: Any = None
    cuda: Any = field(default_factory=list)

    @classmethod
    def now(cls) -> _Randomness:
        """The states of all generators of the modules that are loaded."""
        saved = cls(random.getstate())
        if "numpy" in sys.modules:
            import numpy as np

            saved.numpy = np.random.get_state()
        if "torch" in sys.modules:
            import torch

            saved.torch = torch.get_rng_state()
            saved.cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
        return saved

    def restore(self) -> None:
        """Put them back."""
        random.setstate(self.python)
        if self.numpy is not None:
            import numpy as np

            np.random.set_state(self.numpy)
        if self.torch is not None:
            import torch

            torch.set_rng_state(self.torch)
            if self.cuda:
                torch.cuda.set_rng_state_all(self.cuda)


class Member:
    """One run of a group.

    Attributes:
        stacked: the largest number of runs, this one among them, whose networks were trained in one pass.
        alone: it computes everything by itself and does not give its turn away; see :func:`benchmark.clock.alone`.
        leaving: it was told that the group is to end.
    """

    def __init__(self, group: Group, key: str) -> None:
        self.group, self.key, self.stacked = group, key, 1
        self.request: _Request | None = None
        self.alone = self.leaving = self.ended = False
        self.go = threading.Semaphore(0)
        self.randomness = _Randomness.now()
        self._epochs, self._requests = 0, 0
        self._active = 0.0
        self._since: float | None = None
        self.thread = threading.Thread(target=self._main, name=f"run-{key}", daemon=True)

    # --------------------------------------------------------------------------------------------- for a run

    @property
    def position(self) -> tuple[int, int]:
        """How far it has come; the run that has come least far is served first, so that all meet again in every epoch."""
        return self._epochs, self._requests

    def new_epoch(self) -> None:
        """The run begins an epoch."""
        self.check()
        if not self.alone:
            self._epochs, self._requests = self._epochs + 1, 0

    def new_networks(self) -> None:
        """The run has built networks, and may have done with those before."""
        self.group.forget()

    def check(self) -> None:
        """Raises KeyboardInterrupt once the group is to end."""
        if self.group.stopped:
            self.leaving = True
            raise KeyboardInterrupt

    def go_alone(self) -> bool:
        """From now on compute everything alone, once the others have let go of what failed with it; False if it did so before."""
        if self.alone:
            return False
        self.alone = True
        self.group.forget()
        self._wait(_Request("turn", ("turn",)))
        return True

    def forward(self, networks: Sequence[BaseNetwork], images: Tensor) -> list[Tensor] | None:
        """Logits of networks on the same images; None if the run has to compute them itself."""
        from benchmark.training.stacking import joint_key

        self.check()
        self._requests += 1
        key = joint_key(networks, images) if self.group.size() > 1 and not self.alone else None
        if key is None or self.group.refused(key):
            return None
        answer: list[Tensor] | None = self._wait(_Request("forward", ("forward", key), networks, images)).answer
        return answer

    def step(self, optimizers: Sequence[Any], passes: Sequence[JointPass], after_backward: Callable[[], None] | None) -> None:
        """Send gradients that wait at the doors of ``passes`` on to the parameters, and step."""
        self._requests += 1
        both = after_backward is None
        self._wait(_Request("backward", ("backward", both), optimizers=optimizers if both else (), passes=passes))
        if after_backward is not None:
            after_backward()
            self._wait(_Request("step", ("step",), optimizers=optimizers))

    # -------------------------------------------------------------------------------------------- the clock

    def seconds(self) -> float:
        """Of its own thread, and its share of what was done for several."""
        return self._active + (0.0 if self._since is None else time.perf_counter() - self._since)

    def pause(self) -> None:
        """Its thread stops working for it."""
        self._active, self._since = self.seconds(), None

    def resume(self) -> None:
        """Its thread works for it again."""
        self._since = time.perf_counter()

    def charge(self, seconds: float) -> None:
        """Its share of joint work."""
        self._active += seconds

    # ---------------------------------------------------------------------------------------------- private

    def _wait(self, request: _Request) -> _Request:
        self.request = request
        self.pause()
        try:
            self.group.hand_over(self)
        finally:
            self.request = None
        self.resume()
        if request.error is not None:
            raise request.error
        return request

    def _main(self) -> None:
        from benchmark.engines.serial import execute_here

        clock.belong_to(self)
        started, outcome = time.monotonic(), None
        try:
            self.go.acquire()
            self.check()
            self.randomness.restore()
            self.resume()
            outcome = execute_here(self.group.execute, self.key, self.group.options, self.group.inbox.put)
        except KeyboardInterrupt:
            outcome = Outcome(self.key, "killed", time.monotonic() - started, "interrupted")
        finally:
            self.ended = True
            self.group.inbox.put(outcome or Outcome(self.key, "killed", time.monotonic() - started, "its thread broke"))
            self.group.forget()
            with contextlib.suppress(KeyboardInterrupt):  # the group is to end
                self.group.hand_over(self)


class Group:
    """Runs that share a process.

    Attributes:
        inbox: events and outcomes for the thread that started the group.
        stopped: all runs are to end.
    """

    def __init__(self, execute: Execute, keys: Sequence[str], options: WorkerOptions) -> None:
        self.execute, self.options = execute, options
        self.inbox: queue.SimpleQueue[dict[str, Any] | Outcome] = queue.SimpleQueue()
        self.members = [Member(self, key) for key in keys]
        self.running: Member | None = None
        self.stopped = False
        self._stacks: Any = None
        self._refused: set[tuple[int, Any]] = set()

    def start(self) -> None:
        """Start all runs; the first has the baton."""
        for member in self.members:
            member.thread.start()
        self.running = self.members[0]
        self.running.go.release()

    def size(self) -> int:
        """How many runs have not ended."""
        return sum(not member.ended for member in self.members)

    def refused(self, key: Any) -> bool:
        """Whether so many runs as there are now were found to be faster one after the other at this."""
        return (self.size(), key) in self._refused

    def forget(self) -> None:
        """Let go of stacks and joint optimisers, which hold networks and the optimisers' states; what is still used is built again."""
        self._stacks = None

    def stop(self) -> None:
        """End all runs that go on, and wait for it; each leaves by a KeyboardInterrupt where it is."""
        self.stopped = True
        running = self.running
        for member in self.members:
            if not member.ended:
                member.go.release()
        if running is not None:
            running.thread.join(PATIENCE_S)  # most ask for something soon, and leave there, where nothing is half done
        if running is not None and not (running.ended or running.leaving) and running.thread.ident is not None:
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(running.thread.ident), ctypes.py_object(KeyboardInterrupt))
        for member in self.members:
            if member.thread.ident is not None:  # the system may have refused a thread
                member.thread.join()

    def hand_over(self, giver: Member) -> None:
        """Give the baton to a run that can work, serving what is waited for if there is none; returns when the giver has it again."""
        giver.check()
        taker = self._next(giver)
        if taker is giver or taker is None:
            return
        giver.randomness = _Randomness.now()
        self.running = taker
        taker.go.release()
        if giver.ended:
            return
        giver.go.acquire()
        giver.check()
        giver.randomness.restore()

    def _next(self, giver: Member) -> Member | None:
        """Who works next; None once all have ended."""
        while True:
            living = [member for member in self.members if not member.ended]
            if not living:
                return None
            free = [member for member in living if member.request is None]
            if free:
                return giver if giver in free else free[0]
            served = self._serve(living)
            for member in served:
                member.request = None

    def _serve(self, waiting: Sequence[Member]) -> list[Member]:
        """Serve the run that has come least far, and all that ask for the same."""
        first = min(waiting, key=lambda member: member.position)
        assert first.request is not None
        chosen = [member for member in waiting if member.request is not None and member.request.key == first.request.key]
        requests = [member.request for member in chosen if member.request is not None]
        started = time.perf_counter()
        try:
            if first.request.kind != "turn":
                {"forward": self._forward, "backward": self._backward, "step": self._step}[first.request.kind](chosen, requests)
        except Exception as error:
            self._failed(chosen, requests, error)
        share = (time.perf_counter() - started) / len(chosen)
        for member in chosen:
            member.charge(share)
        return chosen

    def _failed(self, members: Sequence[Member], requests: Sequence[_Request], error: Exception) -> None:
        """A pass that fails is made by each run for itself, which then fails alone if it does; what comes after it cannot be."""
        if requests[0].kind == "forward":
            logger.warning("a joint pass of %d runs failed (%s); each makes its own", len(requests), " ".join(str(error).split()))
            self._refused.add((self.size(), requests[0].key[1]))
            return
        for request in requests:
            request.error = error

    def _forward(self, members: Sequence[Member], requests: Sequence[_Request]) -> None:
        """One pass for all, where that is faster."""
        import torch

        from benchmark.training.joint_choice import worth_it
        from benchmark.training.joint_pass import JointPass, shared_images

        if len(requests) == 1:
            return
        networks = [network for request in requests for network in request.networks]
        images = [request.images for request in requests for _ in request.networks]
        key = requests[0].key[1]
        gradients = bool(key[-1])
        with torch.set_grad_enabled(gradients):
            if not worth_it(networks, images):
                if len(requests) == self.size():
                    self._refused.add((len(requests), key))
                return
            joint = JointPass(self._kept().stack(networks), shared_images(images))
            logits = joint.logits()
        for member, request in zip(members, requests, strict=True):
            request.answer, logits = logits[: len(request.networks)], logits[len(request.networks) :]
            if gradients:
                member.stacked = max(member.stacked, len(requests))

    def _backward(self, members: Sequence[Member], requests: Sequence[_Request]) -> None:
        from benchmark.training.joint_pass import joint_backward

        passes = {id(one): one for request in requests for one in request.passes}
        joint_backward(list(passes.values()))
        self._step(members, requests)

    def _step(self, members: Sequence[Member], requests: Sequence[_Request]) -> None:
        import torch

        optimizers = [optimizer for request in requests for optimizer in request.optimizers]
        with torch.enable_grad():
            if optimizers:
                self._kept().step(optimizers)

    def _kept(self) -> Any:
        kept = self._stacks
        if kept is None:
            from benchmark.training.joint_steps import Stacks

            kept = self._stacks = Stacks()
        return kept
