"""A worker without torch. ``<data root>/plan.json`` says what each key does; ``<data root>/done.txt`` lists what was finished."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from benchmark.engines.base import Outcome
from benchmark.engines.serve import serve_stdio
from benchmark.lease import BusyError
from benchmark.spec import SCHEMA
from benchmark.store import RunStore, Status


def home(options):
    """Where the plan is: runs may lie in a scratch folder of a node."""
    return Path(options.data_root)


def note(folder, text):
    descriptor = os.open(folder / "done.txt", os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    os.write(descriptor, f"{text}\n".encode())
    os.close(descriptor)


def act(what, key, options, on_event):
    marker = home(options) / f"{key}.began"
    again = marker.exists()
    marker.write_text(f"{os.getpid()} {os.environ.get('CUDA_VISIBLE_DEVICES')} {os.environ.get('OMP_NUM_THREADS')} {options.threads}")
    if what == "raise":
        raise ValueError("not today")
    if what == "print":
        print("a library that prints")
        print('{"event": "outcome", "status": "failed", "seconds": 0}', flush=True)
        os.write(1, b"\x00\xff\n")
        subprocess.run([sys.executable, "-c", "print('from a child'); input()"], check=False)
    if what == "kill" or (what == "kill once" and not again):
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    if what == "exit":
        sys.exit(3)
    if what == "pair":  # until two are at work at the same time
        while len(list(home(options).glob("*.began"))) < 2:
            time.sleep(0.02)
    if what == "wait":  # until the test says so
        while not (home(options) / "go").exists():
            time.sleep(0.02)
    if what in ("hang", "stubborn") or (what == "hang once" and not again):
        if what == "stubborn":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(600)
    if what == "loaders":  # a child that outlives its parent and holds its files
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            time.sleep(600)
        (home(options) / "loader.pid").write_text(str(child))
        time.sleep(600)
    if what == "litter":
        for name in ("my plot.png", ".nfs0001", "a/b/c/d/e.txt"):
            path = RunStore(options.runs).folder(key) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    if what == "slow":
        time.sleep(0.05)
    for epoch in range(2):
        on_event({"event": "epoch", "run_key": key, "stage": "fit", "epoch": epoch, "epochs": 2, "loss": 0.5, "accuracy": Path("odd")})


def execute(key, options, on_event):
    started = time.monotonic()
    store = RunStore(options.runs)
    what = json.loads((home(options) / "plan.json").read_text())[key]
    on_event({"event": "start", "run_key": key})
    try:
        with store.lease(key) as lease:
            if store.status(key, None) is Status.DONE:
                return Outcome(key, "done", 0.0, "already")
            if what == "busy":
                raise BusyError("somebody else")
            (store.folder(key) / "log.txt").write_text(f"the log of {key}")
            act(what, key, options, on_event)
            lease.check()
            note(home(options), key)
            store.commit(key, {"schema": SCHEMA, "run_key": key, "code_hash": "c"})
    except BusyError as error:
        return Outcome(key, "busy", time.monotonic() - started, str(error))
    if what == "loose":
        raise RuntimeError("the worker let this through")
    return Outcome(key, "done", time.monotonic() - started)


if __name__ == "__main__":
    serve_stdio(execute)
