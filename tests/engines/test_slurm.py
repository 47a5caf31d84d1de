"""The SLURM engine: what sbatch is given, against a pretence of it; preemption and deaths on submitit's local executor (slow)."""

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from benchmark.engines import slurm
from benchmark.engines.slurm import SlurmEngine, _read_outcome, _Submitted
from benchmark.engines.slurm_task import SlurmTask
from benchmark.errors import BenchmarkError
from benchmark.spec import SCHEMA
from benchmark.store import RunStore, Status

pytest.importorskip("submitit")


def ignore(event: dict) -> None:
    pass


@pytest.fixture
def pretended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Puts an ``sbatch`` into the PATH that does as told; returns where it and ``scancel`` write down what they were given."""
    folder = tmp_path / "bin"
    folder.mkdir()

    def put(sbatch: str) -> Path:
        for name, text in (
            ("srun", ""),
            ("sacct", ""),
            ("sbatch", f'cp "$1" {folder}/script\n{sbatch}'),
            ("scancel", f"echo $@ > {folder}/cancelled"),
        ):
            (folder / name).write_text(f"#!/bin/sh\n{text}\n")
            (folder / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        return folder

    return put


def test_what_sbatch_is_given(bench: Any, pretended: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    folder = pretended("echo Submitted batch job 4711")
    parameters = {"partition": "gpu", "time": 90, "gpus_per_node": 1, "setup": ["module load cuda"]}
    jobs = bench.jobs(["work"] * 3)
    tasks = SlurmEngine(bench.options(threads=4), 2, parameters)._submit(jobs, bench.runs / "logs" / "array")
    assert [task.job_id for task in tasks] == ["4711_0", "4711_1", "4711_2"]
    script = (folder / "script").read_text().splitlines()
    directives = {line.removeprefix("#SBATCH --") for line in script if line.startswith("#SBATCH")}
    assert {"array=0-2%2", "partition=gpu", "time=90", "gpus-per-node=1", "cpus-per-task=4", "job-name=noisy-labels"} <= directives
    exports = [line for line in script if line.startswith("export PYTHONPATH=")]
    assert exports == [f'export PYTHONPATH="{Path(slurm.__file__).parents[2]}${{PYTHONPATH:+:$PYTHONPATH}}"']
    assert "module load cuda" in script
    SlurmEngine(bench.options())._submit(jobs[:1], bench.runs / "logs" / "one")
    assert "#SBATCH --time=240" in (folder / "script").read_text()


def test_a_refusal_of_sbatch_is_one_line(bench: Any, pretended: Callable[[str], Path]) -> None:
    pretended("echo 'sbatch: error: invalid partition specified: gpuu' >&2; exit 1")
    with pytest.raises(BenchmarkError) as caught:
        list(SlurmEngine(bench.options(), 0, {"partition": "gpuu"}).run(bench.jobs(["work"] * 2), ignore))
    assert str(caught.value).startswith("SLURM took no job array: ") and "invalid partition specified: gpuu" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_interrupt_cancels_the_array_and_outcomes_are_read_from_files(
    bench: Any, pretended: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pretended node writes what a task writes."""
    monkeypatch.setattr(slurm, "POLL_S", 0.01)
    jobs = bench.jobs(["work"] * 3)
    outcome = json.dumps({"key": jobs[1].key, "status": "diverged", "seconds": 2.5, "message": "the loss is nan"})
    event = json.dumps({"event": "start", "run_key": jobs[1].key})
    home = pretended("echo Submitted batch job 4712")
    sbatch = home / "sbatch"
    sbatch.write_text(
        sbatch.read_text().replace(
            "echo Submitted",
            f"for d in {bench.runs}/logs/slurm-*; do echo '{event}' > $d/{jobs[1].key}.events.jsonl; "
            f"echo '{outcome}' > $d/{jobs[1].key}.outcome.json; done\necho Submitted",
        )
    )
    events: list[dict] = []
    ends = SlurmEngine(bench.options()).run(jobs, events.append)
    found = next(ends)
    assert (found.key, found.status, found.seconds, found.message) == (jobs[1].key, "diverged", 2.5, "the loss is nan")
    assert [said["event"] for said in events] == ["start"]
    ends.close()
    assert (home / "cancelled").read_text() == "4712\n"


def task(done: bool = True) -> Any:
    return SimpleNamespace(done=lambda: done, job_id="4711_2", state="OUT_OF_MEMORY", paths=SimpleNamespace(stderr="/logs/4711_2.err"))


def test_a_task_that_ends_without_a_word(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run's folder says whether it was committed; else the task was killed, once a late file has had its time."""
    monkeypatch.setattr(slurm, "PATIENCE_S", 0.2)
    engine, store = SlurmEngine(bench.options()), RunStore(bench.runs)
    first, second = bench.jobs(["work", "work"])
    going, ended = _Submitted(first, task(done=False)), _Submitted(first, task())
    assert engine._end_without_word(going, ask=True) is None and going.over_since is None
    assert engine._end_without_word(ended, ask=False) is None and ended.over_since is None
    assert engine._end_without_word(ended, ask=True) is None
    assert engine._end_without_word(ended, ask=False) is None
    time.sleep(0.25)
    outcome = engine._end_without_word(ended, ask=False)
    assert outcome.status == "killed"
    assert outcome.message == "its SLURM task 4711_2 ended without a word (OUT_OF_MEMORY); see /logs/4711_2.err"
    store.folder(second.key).mkdir()
    store.commit(second.key, {"schema": SCHEMA, "run_key": second.key, "code_hash": "c", "status": "skipped", "reason": "too shy"})
    done = _Submitted(second, task(), over_since=time.monotonic())
    assert (engine._end_without_word(done, ask=False).status, engine._end_without_word(done, ask=False).message) == ("skipped", "too shy")


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"status": "done"}'])
def test_an_outcome_that_cannot_be_read(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.outcome.json"
    path.write_text(text)
    assert _read_outcome(path, "a").status == "killed"


def test_a_task_by_hand(bench: Any) -> None:
    """As submitit's debug executor does it: in this process."""
    import submitit

    (job,) = bench.jobs(["work"])
    executor = submitit.AutoExecutor(bench.runs / "debug", cluster="debug")
    run = SlurmTask(bench.options().to_dict(), bench.runs, bench.command)
    assert executor.submit(run, job.key, job.label).result() is None
    assert json.loads((bench.runs / f"{job.key}.outcome.json").read_text())["status"] == "done"
    assert [json.loads(line)["event"] for line in (bench.runs / f"{job.key}.events.jsonl").read_text().splitlines()] == [
        "start",
        "epoch",
        "epoch",
    ]
    again = run.checkpoint(job.key, job.label)
    assert (again.function, again.args) == (run, (job.key, job.label))


def tasks_below() -> list[psutil.Process]:
    """The processes of submitit's tasks."""
    children = psutil.Process().children(recursive=True)
    return [child for child in children if "submitit.core._submit" in child.cmdline()]


@pytest.mark.slow
def test_a_task_that_is_preempted_is_queued_again_and_resumes(bench: Any) -> None:
    jobs = bench.jobs(["hang once"])
    pids: list[str] = []

    def preempt(event: dict) -> None:
        if event["event"] == "start":
            while not bench.began(jobs[0]):
                time.sleep(0.02)
            pids.append(bench.began(jobs[0])[0])
            if len(pids) == 1:
                (process,) = tasks_below()
                process.send_signal(signal.SIGUSR2)

    engine = SlurmEngine(bench.options(), cluster="local", command=bench.command)
    assert [outcome.status for outcome in engine.run(jobs, preempt)] == ["done"]
    assert len(pids) == 2 and bench.finished() == [jobs[0].key]
    assert not psutil.pid_exists(int(pids[0])) or psutil.Process(int(pids[0])).status() == psutil.STATUS_ZOMBIE


@pytest.mark.slow
def test_a_task_that_is_killed(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slurm, "ENDED_EVERY_S", 0.3)
    monkeypatch.setattr(slurm, "PATIENCE_S", 0.3)
    (job,) = bench.jobs(["hang"])

    def kill(event: dict) -> None:
        if event["event"] == "start":
            for process in tasks_below():
                process.kill()

    (outcome,) = SlurmEngine(bench.options(), cluster="local", command=bench.command).run([job], kill)
    assert outcome.status == "killed" and "ended without a word" in outcome.message
    assert RunStore(bench.runs).status(job.key, None) is not Status.RUNNING
