"""The lines for notebooks: they are executed as the README has them, on small data; importing them is cheap."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import benchmark
from benchmark import notebook
from benchmark.errors import BenchmarkError

ROOT = Path(__file__).resolve().parents[1]
SMALL: dict[str, Any] = {"epochs": 2, "device": "cpu", "jobs": 1, "quiet": True}


def lines() -> str:
    """The block under "From Python"."""
    part = (ROOT / "README.md").read_text(encoding="utf-8").partition("### From Python\n")[2]
    return re.findall(r"```python\n(.*?)```", part, flags=re.S)[0]


def folder(path: Path, n: int = 60) -> Path:
    """Two classes of squares, every tenth in the wrong folder."""
    rng = np.random.default_rng(0)
    for i in range(n):
        place = path / "ab"[(i + (i % 10 == 0)) % 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray((rng.integers(0, 60, (8, 8, 3)) + 120 * (i % 2)).astype(np.uint8)).save(place / f"{i:02d}.png")
    return path


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder to work in, one thread, and decoded images in it."""
    import torch

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BENCHMARK_CACHE", str(tmp_path / "data-root"))
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield tmp_path
    torch.set_num_threads(before)


def test_the_lines_of_the_readme_run_as_they_are_written(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only what makes it small is put in: fewer epochs and methods, a folder of the test."""
    source = lines()
    assert len([line for line in source.splitlines() if line.strip()]) <= 12
    assert source.startswith("from benchmark import clean_labels, report, run\n")
    compile(source, "README.md", "exec")
    real_run, real_clean = notebook.run, notebook.clean_labels
    small = {**SMALL, "methods": "aum", "features": "identity", "image_size": 0}
    monkeypatch.setattr(notebook, "run", lambda *words, **more: real_run(*words, **{**more, **SMALL, "seeds": "0"}))
    monkeypatch.setattr(notebook, "clean_labels", lambda path, out, **more: real_clean(folder(here / "tiles"), out, **{**more, **small}))
    names: dict[str, Any] = {}
    exec(source, names)
    printed = capsys.readouterr().out
    assert {"hsa", "coteaching"} <= set(names["rows"]["method"]) and names["rows"]["selected/accuracy"].between(0, 1).all()
    assert {"hsa", "coteaching"} <= set(names["board"]["method"]) and (here / "leaderboard").is_dir()
    found = names["found"]
    assert len(found.table) == 60 and found.answer.budget == 50 and (here / "answer" / "labels.csv").is_file()
    assert found.check in printed and f"{found.noise_rate:.0%} of the labels are wrong" in printed and "wrong_probability" in printed
    assert found.check.startswith("On your data with ")


def test_names_that_pandas_takes_for_nothing_stay_names(here: Path) -> None:
    tiles = folder(here / "tiles", 40)
    (tiles / "a").rename(tiles / "NA")
    (tiles / "b").rename(tiles / "null")
    found = notebook.clean_labels(tiles, here / "out", model=False, methods="aum", features="identity", image_size=0, **SMALL)
    assert set(found.table["given"]) == {"NA", "null"} and found.answer.model is None


def test_what_is_wrong_is_one_line(here: Path) -> None:
    tiles = folder(here / "tiles", 40)
    with pytest.raises(BenchmarkError, match="the precision is 7; give a share above 0"):
        notebook.clean_labels(tiles, "out", precision=7, **SMALL)
    with pytest.raises(BenchmarkError, match="the budget is 0"):
        notebook.clean_labels(tiles, "out", budget=0, **SMALL)
    with pytest.raises(BenchmarkError, match="images of 2 pixels a side"):
        notebook.clean_labels(tiles, "out", image_size=2, **SMALL)
    with pytest.raises(BenchmarkError, match=r"lies in .*tiles, where folders are classes"):
        notebook.clean_labels(tiles, tiles / "answer", **SMALL)
    with pytest.raises(BenchmarkError, match="did you mean 'aum'"):
        notebook.clean_labels(tiles, "out", methods="amu", **SMALL)
    with pytest.raises(BenchmarkError, match="nowhere"):
        notebook.report("nowhere")
    assert not (here / "out").exists()
    with pytest.raises(BenchmarkError, match="digit"):
        notebook.run("ce", "digitz", "0.2", **SMALL)


def test_importing_is_cheap() -> None:
    code = (
        "import sys, benchmark; from benchmark import clean_labels, report, run; "
        "print(sorted({'torch', 'numpy', 'pandas', 'PIL', 'typer', 'scipy', 'sklearn'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert found.stdout == "[]\n"


def test_only_what_is_there_is_offered() -> None:
    with pytest.raises(AttributeError, match="no attribute 'cleen_labels'"):
        _ = benchmark.cleen_labels
    for name in ("clean_labels", "report", "run"):
        assert getattr(benchmark, name) is getattr(notebook, name)


def test_the_lines_have_types(tmp_path: Path) -> None:
    """A type checker accepts them, and sees what is wrong."""
    api = pytest.importorskip("mypy.api")
    right, wrong = tmp_path / "right.py", tmp_path / "wrong.py"
    right.write_text(lines(), encoding="utf-8")
    wrong.write_text("from benchmark import clean_labels\nclean_labels('a', 'b', budgets=3).noise_rate\n", encoding="utf-8")
    options = ["--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(tmp_path / "cache"), "--follow-imports", "silent"]
    printed, errors, code = api.run([*options, str(right)])
    assert code == 0, printed + errors
    printed, _, code = api.run([*options, str(wrong)])
    assert code == 1 and "budgets" in printed
