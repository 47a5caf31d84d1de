"""``heatmaps``: pictures of finished runs on bags, or one line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from benchmark.cli import main

PLUGIN = '''
"""Tiny slides, as pixels and as features, with and without places."""
from dataclasses import dataclass

import numpy as np

from benchmark.api import Dataset, dataset, hp
from benchmark.bags.arrays import BagArrays


@dataset("tinyslides", task="bags", version=1)
class Tiny(Dataset):
    """Thirty slides of four tiles in a square; on positive ones the first is dark."""

    @dataclass(frozen=True)
    class Params:
        kind: str = hp("pixels", choices=("pixels", "features", "lost"))

    argument = "kind"

    def load(self, root):
        labels = np.arange(30) % 2
        truth = np.zeros((30, 4), dtype=np.int8)
        truth[:, 0] = labels
        rng = np.random.default_rng(0)
        tiles = (rng.normal(190, 20, (120, 16, 16, 3)) - 120 * truth.reshape(-1)[:, None, None, None]).clip(0, 255).astype(np.uint8)
        kind = self.params.kind
        if kind != "pixels":
            tiles = tiles.mean(axis=(1, 2)).astype(np.float32) / 100
        places = np.tile([[0, 0], [1, 0], [0, 1], [1, 1]], (30, 1))
        return BagArrays(
            tiles, np.arange(31) * 4, labels, [f"<b>{i}" for i in range(30)], ("normal", "tumour"), tile_labels=truth.reshape(-1),
            positions=None if kind == "lost" else places,
        )
'''


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BENCHMARK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("BENCHMARK_PLUGINS", str(tmp_path / "plugins"))
    Path("plugins").mkdir()
    Path("plugins/tiny_slides.py").write_text(PLUGIN)


def run(*words: str) -> list[str]:
    """Train; returns the keys of the runs in the folder."""
    small = ("--baseline", "none", "--noise", "none", "--epochs", "1", "--device", "cpu", "--jobs", "1", "--no-tracking", "--quiet")
    assert main(("run", *small, *words)) == 0
    return sorted(path.parent.name for path in Path("runs").glob("*/result.json"))


def told(capsys: pytest.CaptureFixture[str]) -> str:
    printed = capsys.readouterr()
    assert printed.out == "" and len(printed.err.splitlines()) == 1, printed
    return printed.err


def test_runs_on_the_same_slides_side_by_side(capsys) -> None:
    keys = run("--datasets", "tinyslides:features=texture", "--methods", "mil_max,abmil", "--seeds", "0-1")
    capsys.readouterr()
    assert len(keys) == 4 and main(("heatmaps", "--out", "maps", "--slides", "4")) == 0
    printed = capsys.readouterr()
    assert printed.out == "2 runs in maps; open maps/heatmaps.html\n"
    assert printed.err == "note: 2 runs with other seeds not shown; name their keys to see them\n"
    folders = sorted(path.name for path in Path("maps").iterdir() if path.is_dir())
    assert len(folders) == 2 and set(folders) <= set(keys)
    for folder in folders:
        assert {path.name for path in Path("maps", folder).iterdir()} == {
            f"{name}.{kind}" for name in ("heatmaps", "hard_negatives") for kind in ("svg", "png")
        }
    drawn = [set(re.findall(r"&lt;b&gt;(\d+) · ", Path("maps", folder, "heatmaps.svg").read_text())) for folder in folders]
    assert drawn[0] == drawn[1] and len(drawn[0]) == 4  # the same slides of both
    page = Path("maps/heatmaps.html").read_text()
    assert page.count("data:image/webp") == 4 and ">mil_max</h3>" in page and ">abmil</h3>" in page and "<b>" not in page
    assert main(("heatmaps", keys[0], keys[3][:10], "--out", "maps", "--negatives", "0", "--json")) == 0  # again, in its place
    assert json.loads(capsys.readouterr().out)["runs"] in ([keys[0], keys[3]], [keys[3], keys[0]])
    assert sorted(path.name for path in Path("maps").iterdir()) == [*sorted((keys[0], keys[3])), "heatmaps.html"]
    assert not list(Path().glob("*.tmp"))


def test_features_have_maps_and_no_gallery(capsys) -> None:
    run("--datasets", "tinyslides:features", "--methods", "mil_max")
    assert main(("heatmaps", "--out", "maps")) == 0
    assert [path.name for path in sorted(Path("maps").glob("*/*"))] == ["heatmaps.png", "heatmaps.svg"]
    assert "no hard negatives: the tiles are features, which nobody can look at" in Path("maps/heatmaps.html").read_text()


def test_slides_without_places_have_nothing_to_draw(capsys) -> None:
    run("--datasets", "tinyslides:lost", "--methods", "mil_max")
    capsys.readouterr()
    assert main(("heatmaps", "--out", "maps")) == 2
    assert told(capsys) == (
        "error: there is nothing to draw of these runs: no maps: the data set does not know where the tiles lie; "
        "no hard negatives: the tiles are features, which nobody can look at\n"
    )
    assert not Path("maps").exists() and not list(Path().glob("*.tmp"))


def test_what_cannot_be_shown_is_one_line(capsys) -> None:
    (key,) = run("--datasets", "tinyslides", "--methods", "mil_max")
    both = run("--datasets", "digits:subset=60", "--methods", "ce")
    other = next(name for name in both if name != key)
    Path("taken").mkdir()
    Path("taken/thesis.txt").write_text("mine")
    capsys.readouterr()
    for words, message in (
        (("--out", "maps", "--slides", "0", "--negatives", "0"), "--slides and --negatives are both 0, so there is nothing to show"),
        (("--out", "taken"), "--out taken holds thesis.txt, which this command did not write; choose another folder"),
        (("--out", "taken/thesis.txt"), "--out taken/thesis.txt is a file; give a folder"),
        (("--out", "maps", "--runs", "nowhere"), "runs folder nowhere does not exist; check --runs DIR"),
        (("ffff", "--out", "maps"), "unknown run 'ffff'; "),
        ((other, "--out", "maps"), f"run {other} is of classification, not on bags, so it has no tiles to map; look at it with: python -m"),
        (("--out", "maps", "--methods", "abmil"), "unknown method 'abmil'"),
        (("--out", "maps", "--slides", "1000"), "Invalid value for '--slides'"),
    ):
        assert main(("heatmaps", *words)) == 2
        assert told(capsys).startswith(f"error: {message}")
    assert not Path("maps").exists() and Path("taken/thesis.txt").read_text() == "mine"


def test_slides_that_have_changed_are_not_shown(capsys) -> None:
    Path("data").mkdir()
    for i in range(20):
        np.savez(f"data/s{i}.npz", features=np.full((2, 3), i, dtype=np.float32), coords=np.array([[0, 0], [1, 0]]))
    table = "slide_id,label\n" + "".join(f"s{i},{i % 2}\n" for i in range(20))
    Path("data/labels.csv").write_text(table)
    (key,) = run("--datasets", "mil:data", "--methods", "mil_max")
    Path("data/labels.csv").write_text(table.replace("s3,1", "s3,0"))
    capsys.readouterr()
    assert main(("heatmaps", "--out", "maps")) == 2
    assert told(capsys).startswith(
        f"error: mil has changed since run {key}, so its slides cannot be shown; give the command of the run again"
    )
    Path("data/labels.csv").write_text(table)
    with np.load(f"runs/{key}/predictions.npz") as file:
        arrays = dict(file)
    np.savez(f"runs/{key}/predictions.npz", **{**arrays, "test_labels": 1 - arrays["test_labels"]})
    assert main(("heatmaps", "--out", "maps")) == 2
    assert told(capsys).startswith(
        f"error: the slides of run {key} are other ones by now: their labels or tiles differ; run the cell again"
    )
    assert not Path("maps").exists()


def test_no_runs_on_bags(capsys) -> None:
    run("--datasets", "digits:subset=60", "--methods", "ce")
    capsys.readouterr()
    assert main(("heatmaps", "--out", "maps")) == 2
    assert told(capsys) == "error: no finished runs on bags in runs; see: python -m benchmark status --runs runs\n"
