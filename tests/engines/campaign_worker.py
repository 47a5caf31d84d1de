"""A worker for fault campaigns: six short epochs with a checkpoint each, resumable, on the real store; disks that are full once.

``<data root>/plan.json`` gives for each key the hash of its code and the epoch at which its disk is full for once, or null.
``<data root>/commits.txt`` gets a line for each commit. The result is a number that depends on every epoch, once each.
"""

import errno
import hashlib
import json
import os
import time
from pathlib import Path

from benchmark.engines.base import Outcome
from benchmark.engines.serve import serve_stdio
from benchmark.files import append_line, atomic_write_text
from benchmark.lease import BusyError
from benchmark.spec import SCHEMA
from benchmark.store import RunStore, Status

EPOCHS = 6


def step(state, key, epoch):
    return hashlib.sha256(f"{state} {key} {epoch}".encode()).hexdigest()


def train(folder, key, full_at, home, on_event, lease):
    """Resume from the checkpoint; returns the state after the last epoch."""
    checkpoint = folder / "last.pt"
    epoch, state = json.loads(checkpoint.read_text()) if checkpoint.exists() else (0, "")
    marker = home / f"{key}.full"
    while epoch < EPOCHS:
        time.sleep(0.03)
        state = step(state, key, epoch)
        epoch += 1
        append_line(folder / "history.jsonl", {"stage": "fit", "epoch": epoch})
        if epoch == full_at and not marker.exists():
            marker.touch()
            raise OSError(errno.ENOSPC, "No space left on device")
        atomic_write_text(checkpoint, json.dumps([epoch, state]))
        lease.check()
        on_event({"event": "epoch", "run_key": key, "stage": "fit", "epoch": epoch, "epochs": EPOCHS, "loss": 0.5, "accuracy": None})
    return state


def execute(key, options, on_event):
    started, store, home = time.monotonic(), RunStore(options.runs), Path(options.data_root)
    code, full_at = json.loads((home / "plan.json").read_text())[key]
    on_event({"event": "start", "run_key": key})
    try:
        with store.lease(key) as lease:
            if store.status(key, code) is Status.DONE:
                return Outcome(key, "done", 0.0)
            state = train(store.folder(key), key, full_at, home, on_event, lease)
            accuracy = int(state[:8], 16) / 2**32
            store.commit(
                key, {"schema": SCHEMA, "run_key": key, "code_hash": code, "status": "done", "metrics": {"last": {"accuracy": accuracy}}}
            )
            descriptor = os.open(home / "commits.txt", os.O_CREAT | os.O_APPEND | os.O_WRONLY)
            os.write(descriptor, f"{key}\n".encode())
            os.close(descriptor)
    except BusyError as error:
        return Outcome(key, "busy", 0.0, str(error))
    return Outcome(key, "done", time.monotonic() - started)


if __name__ == "__main__":
    serve_stdio(execute)
