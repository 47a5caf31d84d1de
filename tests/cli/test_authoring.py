"""New plugin, contract kit, doctor."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest


def test_a_new_method_runs_as_it_is(bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench("new", "method", "mine", "--folder", str(tmp_path / "toys")) == 0
    path = Path(capsys.readouterr().out.strip())
    assert path == tmp_path / "toys" / "mine.py"
    assert bench("new", "method", "mine", "--folder", str(tmp_path / "toys")) == 2
    assert bench("run", "--methods", "mine", "--baseline", "none", "--plugin", str(path), "--quiet") == 0
    assert "mine" in capsys.readouterr().out


def test_a_new_method_for_masks_learns(bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from benchmark.conformance import run_check, takes_several_tasks_and_classes
    from benchmark.registry import Registry

    assert bench("new", "method", "mine", "--task", "segmentation", "--folder", str(tmp_path / "toys")) == 0
    cls = Registry([Path(capsys.readouterr().out.strip())]).load("method", "mine")
    assert cls.task == "segmentation" and run_check(takes_several_tasks_and_classes, cls).ok


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("dataset", "mine", "--task", "segmentation"), "error: there is no template of a dataset for segmentation, only of a method; "),
        (("method", "mine", "--task", "segmentaton"), "error: unknown task 'segmentaton'; did you mean 'segmentation'?"),
        (("metod", "mine", "--task", "segmentation"), "error: unknown kind of plugin 'metod'; did you mean 'method'?"),
    ],
)
def test_no_template_no_file(bench, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], message: str) -> None:
    assert bench("new", *words, "--folder", str(tmp_path / "plugins")) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith(message) and printed.err.count("\n") == 1 and printed.out == ""
    assert not (tmp_path / "plugins").exists()


@dataclasses.dataclass
class Found:
    name: str
    ok: bool | None
    detail: str


@pytest.mark.parametrize(("last", "code"), [(True, 0), (None, 0), (False, 1)])
def test_check_prints_a_list_and_tells_by_its_exit_code(bench, toys: Path, capsys, monkeypatch, last: bool | None, code: int) -> None:
    from benchmark import conformance

    asked = []

    def kit(target: str, registry: object) -> list[Found]:
        asked.append(target)
        return [Found("imports", True, ""), Found("learns", last, "loss\nrises")]

    monkeypatch.setattr(conformance, "check", kit)
    assert bench("check", str(toys), "works") == code
    assert capsys.readouterr().out.splitlines() == ["✓ imports", f"{ {True: '✓', None: '–', False: '✗'}[last] } learns: loss rises"]
    assert bench("check", str(toys), "--json") == code
    assert json.loads(capsys.readouterr().out)[1]["ok"] is last
    assert asked == ["works", str(toys)]
    assert bench("check", str(toys), "worcs") == 2
    assert "did you mean 'works'" in capsys.readouterr().err


@pytest.mark.parametrize(("ok", "code"), [(True, 0), (None, 0), (False, 1)])
def test_doctor(bench, capsys, monkeypatch, ok: bool | None, code: int) -> None:
    from benchmark import doctor

    monkeypatch.setattr(doctor, "diagnose", lambda runs: [doctor.Check("disk", ok, f"{runs} is full", "buy one")])
    assert bench("doctor") == code
    assert capsys.readouterr().out.endswith(" disk: runs is full → buy one\n")
