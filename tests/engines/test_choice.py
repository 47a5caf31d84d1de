"""What may be asked of which engine; every contradiction is one line that says what to write."""

import importlib.util
import shutil
from collections.abc import Callable
from typing import Any

import pytest

from benchmark.cli import main
from benchmark.engines import EngineChoice, make_engine
from benchmark.engines.choice import parse_slurm
from benchmark.engines.local import LocalEngine
from benchmark.engines.serial import SerialEngine
from benchmark.errors import BenchmarkError


@pytest.fixture
def login_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name, *rest: f"/usr/bin/{name}")


def lines_of(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    """What a command that is refused says."""
    assert main(["run", "--dry-run", "--no-tracking", *words]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    return printed.err.splitlines()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--engine rai", "unknown engine 'rai'; did you mean 'ray'"),
        ("--address 10.0.0.1:6379", "--address is understood by the ray engine only; add --engine ray or leave --address out"),
        ("--engine local --gpus-per-run 0.5", "--gpus-per-run is understood by the ray engine only"),
        ("--engine ray --slurm time=5", "--slurm is understood by the slurm engine only; add --engine slurm"),
        ("--engine ray --gpus 0,1", "write --gpus-per-run 1"),
        ("--engine slurm --gpus 0", "write --slurm gpus_per_node=1"),
        ("--engine ray --gpus-per-run 1.5", "--gpus-per-run 1.5 is neither a share of one GPU (0.25) nor a whole number of them (2)"),
        ("--engine ray --gpus-per-run 0", "--gpus-per-run 0 is neither"),
        ("--engine ray --gpus-per-run nan", "--gpus-per-run nan is neither"),
        ("--engine ray --device cuda:1", "--device cuda:1 names a GPU of this machine"),
        ("--engine ray --device cuda", "Ray gives a run no GPU unless --gpus-per-run says how much of one"),
        ("--engine ray --device cpu --gpus-per-run 1", "--device cpu and --gpus-per-run contradict each other"),
        ("--engine ray --stack-seeds", "--stack-seeds trains several runs in one worker, but --engine ray sends one run to each; use"),
        ("--engine slurm --stack-seeds", "--engine slurm sends one run to each; use --engine local"),
        ("--engine slurm --timeout 60", "write --slurm time=MINUTES"),
        ("--engine serial --jobs 2", "cannot keep --jobs 2; use --engine local"),
        ("--engine serial --gpus 0", "cannot keep --gpus; use --engine local"),
        ("--engine serial --timeout 9", "cannot keep --timeout; use --engine local"),
        ("--per-gpu 4", "--per-gpu 4 needs the GPUs to run on; write --gpus 0 --per-gpu 4"),
        ("--gpus 0 --per-gpu 0", "--per-gpu 0: at least 1 run on each GPU"),
        ("--gpus 0,1 --per-gpu -1", "--per-gpu -1: at least 1 run on each GPU"),
        ("--gpus 0,1 --per-gpu 4 --jobs 4", "--per-gpu 4 on 2 GPUs is 8 runs at a time, --jobs 4 says otherwise"),
        ("--engine ray --per-gpu 4", "is no option of --engine ray; write --gpus-per-run 0.25"),
        ("--engine slurm --per-gpu 2", "is no option of --engine slurm; write --slurm gpus_per_node=1"),
        ("--engine serial --gpus 0 --per-gpu 2", "cannot keep --gpus; use --engine local"),
        ("--engine slurm --slurm partition", "--slurm 'partition': write parameter=value"),
        ("--engine slurm --slurm partitoin=gpu", "unknown SLURM parameter 'partitoin'; did you mean 'partition'"),
        ("--engine slurm --slurm nodes=2", "one run is one task"),
        ("--engine slurm --slurm time=2h", "--slurm time=2h: it must be a whole number of minutes"),
        ("--engine slurm --slurm time=1 --slurm time=2", "--slurm time is given twice"),
    ],
)
def test_what_does_not_go_together_is_one_line(words: str, said: str, capsys: Any, login_node: None) -> None:
    (line,) = lines_of(capsys, *words.split())
    assert line.startswith("error: ") and said in line


@pytest.mark.parametrize(("engine", "package"), [("ray", "ray"), ("slurm", "submitit")])
def test_an_extra_that_is_missing_comes_with_its_install_line(
    engine: str, package: str, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    find: Callable[..., Any] = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == package else find(name, *rest))
    (line,) = lines_of(capsys, "--engine", engine, *(["--slurm", "time=5"] if engine == "slurm" else []))
    assert f'needs {package}, which is not installed: python -m pip install "noisy-label-benchmark[{engine}]"' in line


def test_every_command_that_runs_cells_takes_an_engine(capsys: Any) -> None:
    assert main(["budget", "--dry-run", "--engine", "rai"]) == 2
    assert "unknown engine 'rai'; did you mean 'ray'" in capsys.readouterr().err


def test_gpus_that_were_asked_for_are_not_done_without(login_node: None) -> None:
    assert not EngineChoice("ray").with_gpu and not EngineChoice("slurm", slurm={"time": 5}).with_gpu
    assert EngineChoice("ray", gpus_per_run=0.5).with_gpu and EngineChoice("slurm", slurm={"gpus_per_node": 1}).with_gpu


def test_slurm_away_from_a_login_node(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name, *rest: None)
    (line,) = lines_of(capsys, "--engine", "slurm")
    assert "srun is not in the PATH" in line


def test_slurm_parameters_have_the_types_of_submitit() -> None:
    texts = ["partition=gpu", "time=240", "gpus_per_node=1", "setup=module load cuda", "setup=a=b", "exclusive=true", "mem=8GB"]
    assert parse_slurm(texts) == {
        "partition": "gpu",
        "time": 240,
        "gpus_per_node": 1,
        "exclusive": True,
        "mem": "8GB",
        "setup": ["module load cuda", "a=b"],
    }


def test_the_simplest_engine_that_can_do_it(bench: Any) -> None:
    assert isinstance(make_engine(bench.options()), SerialEngine)
    for engine in (make_engine(bench.options(), jobs=2), make_engine(bench.options(), gpus=["0"]), make_engine(bench.options(timeout=1.0))):
        assert isinstance(engine, LocalEngine)
    assert make_engine(bench.options(), 1, ["0", "1"]).slots == 2  # type: ignore[attr-defined]
    assert isinstance(make_engine(bench.options(), choice=EngineChoice("local")), LocalEngine)
    with pytest.raises(BenchmarkError, match="cannot keep --jobs 2"):
        make_engine(bench.options(), jobs=2, choice=EngineChoice("serial"))
