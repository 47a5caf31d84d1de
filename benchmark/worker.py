"""One registered spec → one committed result."""

from __future__ import annotations

import errno
import functools
import logging
import platform
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmark import clock, metrics, profiling
from benchmark.api import Method, TrainingData
from benchmark.clean import weights
from benchmark.clean.design import check_keepable
from benchmark.code_hash import code_hash
from benchmark.engines.base import Outcome, WorkerOptions
from benchmark.errors import BenchmarkError, DivergedError, LeaseLostError
from benchmark.files import atomic_open, default_data_root
from benchmark.host import host
from benchmark.lease import BusyError, Lease
from benchmark.observer import RunObserver
from benchmark.out_of_memory import within_memory
from benchmark.prepare import PreparedData, prepare
from benchmark.registry import Registry
from benchmark.resolve import instantiate_method
from benchmark.spec import SCHEMA, RunSpec, canonical_json
from benchmark.store import MODEL, PHASES, RunStore, Status
from benchmark.system_metrics import SystemSampler
from benchmark.tasks import task_of
from benchmark.tasks.base import Task
from benchmark.training.checkpoint_writer import settle_all
from benchmark.training.context import RunContext
from benchmark.training.devices import keep_freed_memory, resolve_device
from benchmark.training.micro_batch import Pieces
from benchmark.training.oracle import LEDGER, Oracle

logger = logging.getLogger(__name__)

Event = Callable[[dict[str, Any]], None]


def execute(key: str, options: WorkerOptions, on_event: Event) -> Outcome:
    """Run one registered cell completely: lease, train, commit.

    Every ordinary exception becomes an outcome (``failed``, with error.json); only KeyboardInterrupt and SystemExit
    pass. A cell that is already done is not run again; one that another worker holds is ``busy``.

    Args:
        key: a run key of the store at ``options.runs``.
        options: device, threads, data root, …
        on_event: receives progress events.
    """
    started = time.monotonic()
    keep_freed_memory()
    store = RunStore(options.runs)

    def outcome(status: Any, message: str = "") -> Outcome:
        return Outcome(key, status, time.monotonic() - started, message)

    try:
        spec = store.spec(key)
        registry = _registry(options.plugins)
        hashed = code_hash(spec, registry)
        if options.keep_model:
            check_keepable(spec, registry)
        with store.lease(key) as lease:
            if store.status(key, hashed) is Status.DONE:  # another driver finished it between plan and lease
                result = store.result(key) or {}
                if not (options.keep_model and store.lacks_model(key, result)):
                    return outcome(result.get("status", "done"), str(result.get("reason") or ""))
            if store.result(key) is not None or store.error(key) is not None:
                store.archive(key)  # stale, or failed before: put away here, under the lease, so that nobody's rerun is
            recording = profiling.recording(options.profile, store.folder(key), time.monotonic() - started)
            with _log_file(store.folder(key) / "log.txt"), recording:
                try:
                    attempt = functools.partial(_run, spec, registry, store, options, on_event, lease, hashed)
                    return outcome(*within_memory(attempt, spec.protocol.batch_size))
                except LeaseLostError:
                    raise
                except Exception as error:
                    logger.exception("run %s failed", key)
                    if isinstance(error, OSError) and error.errno == errno.ENOSPC:  # nothing is wrong with the run: it can resume
                        return outcome("failed", f"no space left below {options.runs}; free some and give the same command again")
                    store.fail(key, error, traceback.format_exc())
                    return outcome("failed", _one_line(error))
                finally:
                    settle_all()
    except (BusyError, LeaseLostError) as error:
        return outcome("busy", str(error))
    except Exception as error:  # before the lease, or a disk that cannot even take error.json
        return outcome("failed", _one_line(error))
    finally:
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()  # here nothing holds the run's tensors any more, not even a traceback


def _run(
    spec: RunSpec,
    registry: Registry,
    store: RunStore,
    options: WorkerOptions,
    on_event: Event,
    lease: Lease,
    hashed: str,
    pieces: Pieces,
) -> tuple[str, str]:
    """Train and commit; returns the outcome's status and message. Called again with smaller pieces if memory was short; it then goes on
    from the checkpoints that the attempt before has left."""
    key, folder = spec.key(), store.folder(spec.key())
    profiling.turn_to("preparation")
    device = profiling.on_device(resolve_device(options.device))
    torch.set_num_threads(options.threads)
    begun = datetime.now(UTC).isoformat(timespec="seconds")
    on_event({"event": "start", "run_key": key, **spec.labels, "seed": spec.seed})
    data_root = Path(options.data_root) if options.data_root else default_data_root()
    prepared = prepare(spec, registry, data_root, device)
    method = instantiate_method(registry, spec.method, data_root)
    task = task_of(prepared.dataset.task)
    training = task.training_data(prepared, device)
    result: dict[str, Any] = {"schema": SCHEMA, "run_key": key, "code_hash": hashed, "status": "done", "reason": None}
    result |= {
        "spec": spec.to_dict(),
        "metrics": {},
        "epochs": {},
        "noise": prepared.record,
        "data": {"task": task.name, **task.describe(prepared)},
    }

    reason = method.supports(training)
    if reason is not None:
        result |= {"status": "skipped", "reason": reason, "oracle": [], "diagnostics": {}, "cost": {}}
        _commit(store, spec, result, host(device), begun)
        return "skipped", reason

    def tick(line: dict[str, Any]) -> None:
        lease.check()
        event = {name: line[name] for name in ("stage", "epoch", "epochs", "loss")}
        on_event({"event": "epoch", "run_key": key, **event, "accuracy": line.get(f"val_{task.headline}")})

    begun_at = clock.seconds()
    with SystemSampler(folder / "system.jsonl", str(device)) as sampler:
        run, observer = _context(spec, task, prepared, training, options, device, folder, tick, hashed, pieces)
        method.run, method.data = run, training
        try:
            networks = _fit(method, training, run)
            evaluated = observer.predictions()
            if not evaluated:
                raise BenchmarkError(f"{method.name} evaluated no epoch; its last stage must pass predictor= to run.epochs()")
            predictions = evaluated | task.label_arrays(prepared) | task.judgements(method, training, run)
            predictions |= {"ledger": run.oracle.ledger()} if run.oracle.paid else {}
        except DivergedError as error:
            result |= {"status": "diverged", "reason": str(error)}
            predictions = {}
    if predictions:
        result["metrics"] = metrics.compute(predictions)
        result["epochs"] = {
            "last": int(predictions["epochs_last_k"][-1]),
            "selected": int(predictions["epoch_selected"]),
            "best": int(predictions["epoch_best"]),
            "last_k": len(predictions["epochs_last_k"]),
        }
        _write_arrays(folder, predictions, prepared, task)
        table = task.sample_table(prepared, predictions, method, run)
        _write_samples(folder / "samples.parquet", prepared, table, method)
        if options.keep_model:
            weights.keep(folder / MODEL, method, networks, prepared, training, run, table["given_probability"])
    result["oracle"] = sorted(name for name, count in run.oracle.used.items() if count)
    # a method that diverged may lack what its diagnostics read
    result["diagnostics"] = {name: float(value) for name, value in method.diagnostics().items()} if predictions else {}
    result["cost"] = _cost(clock.seconds() - begun_at, run, observer, sampler, training, pieces)
    run.settle()  # the commit removes the checkpoints, and none may come after it
    lease.check()
    _commit(store, spec, result, host(device) | {"precision": run.precision}, begun)
    return result["status"], result["reason"] or ""


def _cost(
    seconds: float, run: RunContext, observer: RunObserver, sampler: SystemSampler, training: TrainingData, pieces: Pieces
) -> dict[str, Any]:
    """What the run took; ``seconds`` those of this attempt."""
    train_seconds = sum(line["seconds"] for line in observer.lines)
    return {
        "seconds": seconds + observer.earlier_seconds,
        "train_seconds": train_seconds,
        "samples_per_second": run.trained_samples / train_seconds if train_seconds else None,
        "peak_memory_mb": sampler.peak_memory_mb,
        "gpu_peak_memory_mb": sampler.gpu_peak_memory_mb(),
        **(sampler.gpu_use() if run.device.type == "cuda" else {}),
        "parameters": run.parameters,
        "trained_epochs": run.trained_samples / training.n,
        "micro_batch": pieces.size,
        **({} if (group := clock.member()) is None or group.stacked == 1 else {"stacked": group.stacked}),
    }


def _fit(method: Method, training: TrainingData, run: RunContext) -> Any:
    """Train; returns the networks. What is done before is the preparation, what follows makes the result."""
    profiling.turn_to("method")
    try:
        method.setup(training, run)
        return method.fit(training, run)
    finally:
        profiling.turn_to("commit")


def _commit(store: RunStore, spec: RunSpec, result: dict[str, Any], where: dict[str, Any], begun: str) -> None:
    """The profile, if one was asked for, then the result, which is the last file of a run; ``where`` it ran."""
    profiling.write(run_key=spec.key(), labels=dict(spec.labels), seed=spec.seed, device=where["device"])
    store.commit(spec.key(), result | {"host": where, "started": begun, "finished": _now()})


def _context(
    spec: RunSpec,
    task: Task,
    prepared: PreparedData,
    training: TrainingData,
    options: WorkerOptions,
    device: torch.device,
    folder: Path,
    tick: Event,
    hashed: str,
    pieces: Pieces,
) -> tuple[RunContext, RunObserver]:
    """The method's view of the run and the harness's."""
    wrong = prepared.wrong
    truth, rate = (prepared.truth["train"], float(wrong.mean())) if prepared.knows_truth else (None, None)
    classes = (training.num_classes, training.class_names)
    oracle = Oracle(truth, prepared.noise, rate, *classes, given=prepared.labels["train"], seed=spec.seed)
    run = RunContext(
        training,
        spec.protocol,
        seed=spec.seed,
        device=device,
        oracle=oracle,
        augmentation=prepared.dataset.augmentation,
        folder=folder,
        checkpoint_seconds=options.checkpoint_seconds,
        code=hashed,
        shared=options.runs / PHASES,
        identity=_beside_the_method(spec, device, options.threads, pieces),
        task=task,
        pieces=pieces,
    )
    images = {part: task.part(prepared, part, device) for part in ("val", "test")}
    labels = {part: prepared.labels[part] for part in ("val", "test")}
    mask = torch.from_numpy(wrong).to(device)
    observer = RunObserver(folder / "history.jsonl", images, labels, mask, run.history, spec.protocol.last_k, tick, task)
    run.observe(observer)
    (folder / "history.jsonl").unlink(missing_ok=True)  # a checkpoint brings back the lines that count
    return run, observer


def _beside_the_method(spec: RunSpec, device: torch.device, threads: int, pieces: Pieces) -> str:
    """All that determines a run's numbers beside its method; two kinds of processors may round differently."""
    rest = {name: value for name, value in spec.to_dict().items() if name not in ("method", "labels")}
    return canonical_json({**rest, "device": str(device), "threads": threads, "host": platform.node(), "pieces": pieces.size})


def _write_arrays(folder: Path, predictions: dict[str, np.ndarray], prepared: PreparedData, task: Task) -> None:
    """predictions.npz, and the ledger that is among them as a table."""
    plain: dict[str, Any] = dict(predictions)
    with atomic_open(folder / "predictions.npz") as file:
        (np.savez_compressed if task.compress else np.savez)(file, **plain)
    _write_ledger(folder / "ledger.csv", prepared, predictions.get("ledger"))


def _write_samples(path: Path, prepared: PreparedData, columns: dict[str, Any], method: Method) -> None:
    """samples.parquet: one row a training sample, with its index in the data set, the task's columns and the method's own."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    positions = prepared.indices["train"]
    columns = {"index": positions, **columns}
    for name, values in method.sample_columns().items():
        columns[name] = values.detach().cpu().numpy()
    if prepared.arrays.paths is not None:
        named = (prepared.arrays.paths[position] for position in positions)  # a name need not be UTF-8, a text in the table must
        columns["path"] = [path.encode("utf-8", "surrogateescape").decode("utf-8", "replace") for path in named]
    with atomic_open(path) as file:
        pq.write_table(pa.table(columns), file)


def _write_ledger(path: Path, prepared: PreparedData, ledger: np.ndarray | None) -> None:
    """ledger.csv, where labels were paid for: one row an answer, with the sample's index in the data set and the classes by name."""
    if ledger is None:
        return
    import pandas as pd

    table = pd.DataFrame(ledger, columns=list(LEDGER))
    table.insert(1, "index", prepared.indices["train"][table.pop("sample")])
    for name in ("given", "answer", "true"):
        table[name] = np.asarray(prepared.arrays.classes, dtype=object)[table[name]]
    with atomic_open(path) as file:
        file.write(table.to_csv(index=False, lineterminator="\n").encode())


@functools.cache
def _registry(plugins: tuple[str, ...]) -> Registry:
    return Registry(plugins)


@contextmanager
def _log_file(path: Path) -> Iterator[None]:
    """Everything that ``benchmark`` logs goes to the run's log too; of a run in a group, what its own thread logs."""
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    if (run := clock.member()) is not None:
        handler.addFilter(lambda record: clock.member() is run)
    root = logging.getLogger("benchmark")
    level = root.level
    root.addHandler(handler)
    root.setLevel(min(level or logging.INFO, logging.INFO))
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
        handler.close()


def _one_line(error: BaseException) -> str:
    text, kind = " ".join(str(error).split()), type(error).__name__
    if not text:
        return kind
    return text if isinstance(error, BenchmarkError) else f"{kind}: {text}"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
