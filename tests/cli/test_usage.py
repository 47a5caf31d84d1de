"""What cannot be done as written: one line on stderr, exit code 2, nothing written."""

from __future__ import annotations

from pathlib import Path

import pytest

RUN = ("run", "--methods", "works")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("run", "--methods", "work"), "error: unknown method 'work'; did you mean 'works'"),
        ((*RUN, "--datasets", "toi"), "error: unknown dataset 'toi'; did you mean 'toy'"),
        ((*RUN, "--noise", "symetric:0.2"), "error: unknown noise 'symetric'; did you mean 'symmetric'"),
        ((*RUN, "--noise", "1.5"), "error: symmetric.rate = 1.5"),
        ((*RUN, "--noise", "symmetric:x"), "error: symmetric.rate: 'x' is not a number"),
        ((*RUN, "--noise", "[red]"), "error: unknown noise '[red]'"),
        ((*RUN, "--seeds", "4-1"), "error: --seeds '4-1'"),
        ((*RUN, "--set", "works.strenth=1"), "error: unknown parameter of works 'strenth'; did you mean 'strength'"),
        ((*RUN, "--set", "works.strength=3"), "error: works.strength = 3.0 is outside [0, 2]"),
        ((*RUN, "--set", "hsa.x=1"), "error: unknown plugin in --set 'hsa'"),
        ((*RUN, "--set", "protocol.lr=x"), "error: protocol.lr: 'x' is not a number"),
        ((*RUN, "--protocol", "quik"), "error: unknown protocol 'quik'; did you mean 'quick'"),
        ((*RUN, "--epochs", "0"), "error: protocol.epochs = 0 is outside"),
        ((*RUN, "--baseline", "cee"), "error: unknown method 'cee'"),
        ((*RUN, "--device", "tpu"), "error: --device tpu is not"),
        ((*RUN, "--gpus", "0,,1"), "error: --gpus '0,,1'"),
        ((*RUN, "--stale", "no"), "error: unknown --stale 'no'"),
        ((*RUN, "--format", "html"), "error: unknown --format 'html'"),
        ((*RUN, "--jobs", "0"), "error: Invalid value for '--jobs'"),
        ((*RUN, "--method", "a"), "error: No such option: --method"),
        ((*RUN, "--skip-bad"), "error: --skip-bad: none of toy"),
        ((*RUN, "--plugin", "nowhere.py"), "error: plugin path"),
        (("status", "--runs", "nowhere"), "error: runs folder nowhere does not exist"),
        (("report", "--runs", "."), "error: no finished runs in ."),
        (("show", "hsaa"), "error: unknown name 'hsaa'; did you mean 'hsa'"),
        (("show", "ce", "--kind", "noise"), "error: unknown noise 'ce'"),
        (("worker", "xyz"), "error: 'xyz' is not a run key"),
        (("worker", "0" * 16), "error: no run 0000000000000000"),
        (("worker",), "error: worker needs the key"),
        (("new", "metod", "x"), "error: unknown kind of plugin 'metod'; did you mean 'method'"),
        (("check", "nowhere.py"), "error: plugin path"),
    ],
)
def test_one_line(bench, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], message: str) -> None:
    assert bench(*words) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith(message)
    assert len(printed.err.splitlines()) == 1
    assert printed.out == ""
    assert [path.name for path in tmp_path.iterdir()] == ["toys"]


def test_a_runs_folder_that_is_a_file(bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "runs").write_text("x")
    assert bench(*RUN, "--quiet") == 2
    assert "runs folder runs is a file" in capsys.readouterr().err


def test_a_runs_folder_that_cannot_be_written(bench, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs").chmod(0o500)
    real = Path.open

    def refuse(self: Path, mode: str = "r", *rest, **more):
        if "x" in mode and self.parent.name == "runs":  # root may write anywhere, so permissions alone do not show it
            raise PermissionError(13, "Permission denied", str(self))
        return real(self, mode, *rest, **more)

    monkeypatch.setattr(Path, "open", refuse)
    assert bench(*RUN, "--quiet") == 2
    assert capsys.readouterr().err == "error: cannot write to runs folder runs: Permission denied; choose another with --runs DIR\n"


def test_dry_run_writes_nothing(bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench(*RUN, "--seeds", "0-1", "--set", "works.strength=[0.5,1]", "--dry-run", "--format", "json") == 0
    printed = capsys.readouterr()
    assert printed.err.startswith("3 methods × 1 data set × 1 noise setting × 2 seeds = 6 cells (ce added as baseline; --baseline none")
    import json

    rows = json.loads(printed.out)["cells"]
    assert [row["method"] for row in rows] == ["works:strength=0.5"] * 2 + ["works"] * 2 + ["ce"] * 2
    assert {(row["status"], row["action"], row["noise"]) for row in rows} == {("missing", "run", "symmetric:0.2")}
    assert [path.name for path in tmp_path.iterdir()] == ["toys"]


def test_listing_and_showing(bench, toys: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = tmp_path / "toys" / "broken.py"
    broken.write_text("from benchmark.api import method, Method\nimport nothing_such\n\n@method('broken')\nclass B(Method):\n    pass\n")
    (tmp_path / "toys" / "syntax.py").write_text("def (")
    folder = str(toys.parent)
    assert bench("list", "methods", "--plugin", folder) == 0
    listed = capsys.readouterr().out
    assert "Raises." in listed
    assert "broken: SyntaxError" in listed
    assert bench("list", "methods", "--plugin", folder, "--check") == 1
    assert "No module named 'nothing_such'" in capsys.readouterr().out
    assert bench("show", "works", "--plugin", str(toys)) == 0
    shown = capsys.readouterr().out
    assert "method works" in shown and f"{toys}:" in shown and "[0, 2]" in shown and "of nothing" in shown
    assert bench("show", "broken", "--plugin", str(broken)) == 2
    assert "is broken" in capsys.readouterr().err
