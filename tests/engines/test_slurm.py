"""The SLURM engine: what sbatch is given, against a pretence of it; preemption and deaths on submitit's local executor (slow)."""

import contextlib
import errno
import json
import logging
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
from benchmark.engines.slurm import SlurmEngine, _Submitted
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
            ("squeue", ""),
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


def task(number: int = 2) -> Any:
    return SimpleNamespace(job_id=f"4711_{number}", paths=SimpleNamespace(stderr=f"/logs/4711_{number}.err"))


def answers(folder: Path, squeue: str, sacct: str = "") -> None:
    for name, text in (("squeue", squeue), ("sacct", sacct)):
        (folder / name).write_text(f"#!/bin/sh\necho {name} $@ >> {folder}/asked\n{text}\n")


def test_a_task_that_ends_without_a_word(bench: Any, pretended: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """The run's folder says whether it was committed; else the task was killed, once a late file has had its time."""
    monkeypatch.setattr(slurm, "PATIENCE_S", 0.2)
    monkeypatch.setenv("SQUEUE_STATES", "RUNNING")
    home = pretended("")
    answers(home, 'test -z "$SQUEUE_STATES" && printf "4711_1\n4711_3\n"', 'printf "4711_0|COMPLETED\n4711_2|OUT_OF_MEMORY\n"')
    engine, store = SlurmEngine(bench.options()), RunStore(bench.runs)
    first, second, third = bench.jobs(["work"] * 3)
    done, going, ended = _Submitted(first, task(0)), _Submitted(second, task(1)), _Submitted(third, task(2))
    store.folder(first.key).mkdir()
    store.commit(first.key, {"schema": SCHEMA, "run_key": first.key, "code_hash": "c", "status": "skipped", "reason": "too shy"})
    assert engine._end_without_word(ended) is None
    engine._find_ended([done, going, ended])
    assert going.over_since is None and engine._end_without_word(going) is None
    found = engine._end_without_word(done)
    assert (found.status, found.message) == ("skipped", "too shy")
    assert engine._end_without_word(ended) is None
    time.sleep(0.25)
    with store.lease(third.key):  # somebody works on it
        assert engine._end_without_word(ended) is None
    outcome = engine._end_without_word(ended)
    assert outcome.status == "killed"
    assert outcome.message == "its SLURM task 4711_2 ended without a word (OUT_OF_MEMORY); see /logs/4711_2.err"
    engine._find_ended([ended])
    assert (home / "asked").read_text().splitlines() == [
        "squeue --noheader --array --format=%i --jobs=4711",
        "sacct --noheader --allocations --parsable2 --format=JobID,State --jobs=4711",
        "squeue --noheader --array --format=%i --jobs=4711",
    ]
    answers(home, "echo 4711_2")  # it was preempted, and is back in the queue
    engine._find_ended([ended])
    assert ended.over_since is None


def test_without_accounting_tasks_end_too(bench: Any, pretended: Callable[[str], Path], caplog: pytest.LogCaptureFixture) -> None:
    home = pretended("")
    answers(home, 'echo "slurm_load_jobs error: Invalid job id specified" >&2; exit 1', 'echo "accounting is disabled" >&2; exit 1')
    engine = SlurmEngine(bench.options())
    items = [_Submitted(job, task(number)) for number, job in enumerate(bench.jobs(["work"] * 2))]
    engine._find_ended(items[:1])
    engine._find_ended(items)
    assert all(item.over_since for item in items)
    assert [r.getMessage() for r in caplog.records] == ["sacct does not answer (accounting is disabled): how tasks ended is not known"]


@pytest.mark.parametrize("said", ['echo "Unable to contact slurm controller" >&2; exit 1', "exec /no/such/program 2>/dev/null"])
def test_a_controller_that_does_not_answer_ends_nothing(
    bench: Any, pretended: Callable[[str], Path], caplog: pytest.LogCaptureFixture, said: str
) -> None:
    answers(pretended(""), said)
    engine = SlurmEngine(bench.options())
    item = _Submitted(bench.jobs(["work"])[0], task())
    for _ in range(3):
        engine._find_ended([item])
    assert item.over_since is None
    (record,) = caplog.records
    assert record.getMessage().startswith("squeue does not answer (") and record.levelno == logging.WARNING


def test_submitit_keeps_quiet(bench: Any, pretended: Callable[[str], Path], capfd: pytest.CaptureFixture) -> None:
    pretended("echo Submitted batch job 4711")
    SlurmEngine(bench.options())._submit(bench.jobs(["work"]), bench.runs / "logs" / "a")
    logging.getLogger("submitit").warning("Bypassing sacct error")
    assert capfd.readouterr() == ("", "")


def writes(home: Path, bench: Any, jobs: list) -> None:
    """Let sbatch note the array and do at once what its tasks would do: every run ends as diverged."""
    ends = "".join(
        f'echo \'{{"status": "diverged", "seconds": 1, "message": "{job.label}"}}\' > $d/{job.key}.outcome.json; ' for job in jobs
    )
    (home / "sbatch").write_text(
        f"#!/bin/sh\ngrep array= $1 >> {home}/arrays\necho one more >> {home}/arrays\n"
        f"for d in {bench.runs}/logs/slurm-*; do {ends} done\necho Submitted batch job 4713\n"
    )


def test_an_array_waits_for_the_one_before(bench: Any, pretended: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Else each would have --jobs runs at a time."""
    monkeypatch.setattr(slurm, "ARRAY", 2)
    monkeypatch.setattr(slurm, "POLL_S", 0.01)
    jobs = bench.jobs(["a", "b", "c", "d", "e"])
    home = pretended("")
    writes(home, bench, jobs)
    ends = SlurmEngine(bench.options(), 2).run(jobs, ignore)
    submitted = []
    for _ in jobs:
        next(ends)
        submitted.append((home / "arrays").read_text().count("one more"))
    assert submitted == [1, 1, 2, 2, 3] and next(ends, None) is None
    assert "#SBATCH --array=0-1%2" in (home / "arrays").read_text()


def test_a_file_system_that_does_not_answer_for_a_moment(
    bench: Any, pretended: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(slurm, "POLL_S", 0.01)
    jobs = bench.jobs(["a", "b"])
    writes(pretended(""), bench, jobs)
    left = {"scandir": 2, "read_bytes": 3}

    def stale(name: str, real: Callable) -> Callable:
        def call(path: Any, *rest: Any) -> Any:
            if "slurm-" in str(path) and str(path).endswith((".outcome.json",) if name == "read_bytes" else tuple("0123456789abcdef")):
                left[name] -= 1
                if left[name] >= 0:
                    raise OSError(errno.ESTALE, "Stale file handle")
            return real(path, *rest)

        return call

    monkeypatch.setattr(slurm.os, "scandir", stale("scandir", os.scandir))
    monkeypatch.setattr(Path, "read_bytes", stale("read_bytes", Path.read_bytes))
    outcomes = list(SlurmEngine(bench.options()).run(jobs, ignore))
    assert [(outcome.key, outcome.status) for outcome in outcomes] == [(job.key, "diverged") for job in reversed(jobs)]
    assert max(left.values()) < 0  # all errors were met
    assert len(caplog.records) == 1 and "Stale file handle; trying again" in caplog.text


def test_a_file_system_that_stays_away_ends_the_command(
    bench: Any, pretended: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slurm, "POLL_S", 0.01)
    monkeypatch.setattr(slurm, "GIVE_UP_S", 0.1)
    jobs = bench.jobs(["a"])
    writes(pretended(""), bench, jobs)

    def stale(path: Any) -> Any:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(slurm.os, "scandir", stale)
    with pytest.raises(BenchmarkError, match=r"cannot be read: .*Input/output error; the same command goes on when it can"):
        list(SlurmEngine(bench.options()).run(jobs, ignore))


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"status": "done"}'])
def test_an_outcome_that_cannot_be_read(bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    path = tmp_path / "a.outcome.json"
    path.write_text(text)
    engine, item = SlurmEngine(bench.options()), _Submitted(bench.jobs(["work"])[0], task())
    assert engine._read_outcome(path, item) is None  # it may be on its way
    monkeypatch.setattr(slurm, "GIVE_UP_S", 0.0)
    assert engine._read_outcome(path, item).status == "killed"


def test_a_run_that_was_committed_is_not_killed(bench: Any, pretended: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever its task says: the worker may have died after the commit."""
    monkeypatch.setattr(slurm, "POLL_S", 0.01)
    jobs, store = bench.jobs(["a", "b"]), RunStore(bench.runs)
    home = pretended("")
    writes(home, bench, jobs)
    (home / "sbatch").write_text((home / "sbatch").read_text().replace("diverged", "killed"))
    store.folder(jobs[0].key).mkdir()
    store.commit(jobs[0].key, {"schema": SCHEMA, "run_key": jobs[0].key, "code_hash": "c", "status": "done"})
    outcomes = {outcome.key: outcome.status for outcome in SlurmEngine(bench.options()).run(jobs, ignore)}
    assert outcomes == {jobs[0].key: "done", jobs[1].key: "killed"}


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
    found = []
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # over, zombies included
            found += [child] if "submitit.core._submit" in child.cmdline() else []
    return found


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
