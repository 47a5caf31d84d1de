"""Retention tables, hardness from reference runs, text and figure, from run folders made by hand."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmark.errors import BenchmarkError
from benchmark.spec import PluginSpec, RunSpec
from reports.hardness import Reference, find_runs, reference
from reports.retention import compare_retention
from reports.retention_figure import _looks, same_curves, write_figure
from reports.retention_text import long_table, render_retention
from reports.rows import flatten_all, select
from reports.samples import TrainingPart, read_training_part

GIVEN = np.array([1, 0, 1, 0, 0, 1, 0, 1])  # wrong: 0, 2, 5, 7
TRUE = np.zeros(8, dtype=np.int64)
HARDNESS = np.array([0, 1, 0, 1, 0, 0, 1, 0], dtype=np.float32)  # 1, 3 and 6 are the hardest quarter, with their tie
WALK = np.argsort([0, 1, 2, 4, 5, 3, 7, 6]).astype(np.float32)
"""Removes wrong 0, hard 1, wrong 2, easy 4, wrong 5, hard 3, wrong 7, hard 6: keeps 3/3, 2/3, 2/3, 1/3 of the hard ones and 4/4,
3/4, 2/4, 1/4 of the clean ones after 1, 2, 3 and 4 wrong labels, so that its areas are 2/3 and 5/8."""
PERFECT = np.where(GIVEN != TRUE, 0, 1).astype(np.float32)


class Shelf:
    """Run folders below one folder."""

    def __init__(self, root: Path, make) -> None:
        self.root, self.make, self.results = root, make, []

    def add(self, method: str, seed: int = 0, quality: np.ndarray = WALK, *, noise: str = "symmetric:0.4", **more: Any) -> Path:
        arrays = {"given": GIVEN, "true": TRUE, "quality": quality, "hardness": HARDNESS, "index": np.arange(8), "open_set": None}
        arrays |= {name: more.pop(name) for name in list(more) if name in arrays}
        result = self.make(method, seed, noise=noise, **more)
        if noise == "none":
            result["spec"]["noise"] = PluginSpec("none", {}, 1).to_dict()
            arrays["given"] = arrays["true"]
        result["run_key"] = RunSpec.from_dict(result["spec"]).key()
        self.results.append(result)
        folder = self.root / result["run_key"]
        folder.mkdir(exist_ok=True)
        index = arrays.pop("index")
        np.savez(folder / "predictions.npz", **{f"train_{name}": array for name, array in arrays.items() if array is not None})
        pd.DataFrame({"index": index}).to_parquet(folder / "samples.parquet")
        return folder

    def read(self, row) -> TrainingPart:
        return read_training_part(self.root / row["run_key"])

    def compare(self, hard_by: str = "ce", against: str = "hsa", strict: bool = True, **names):
        every = flatten_all(self.results)
        return compare_retention(select(every, **names), every, self.read, hard_by=hard_by, against=against, strict=strict)


@pytest.fixture
def shelf(tmp_path: Path, result) -> Shelf:
    return Shelf(tmp_path, result)


@pytest.fixture
def two(shelf: Shelf) -> Shelf:
    """A method that walks on seed 0 and is perfect on seed 1, and one that is perfect on both."""
    for seed, quality in enumerate((WALK, PERFECT)):
        shelf.add("gce", seed, quality)
        shelf.add("hsa", seed, PERFECT, oracle=["noise_rate"])
    return shelf


# ------------------------------------------------------------------------------------------------------ comparison


def test_means_spreads_and_paired_differences_by_hand(two: Shelf) -> None:
    found = two.compare()
    (group,) = found.comparison.groups
    best, other = group.entries
    assert (best.method, best.rank, best.oracle, other.method, other.rank) == ("hsa", 1, ("noise_rate",), "gce", 2)
    assert best.values["retention/hard_area"].mean == 1
    values = other.values
    assert [values[f"retention/hard_at_{q}"].mean for q in (50, 70, 80, 95)] == pytest.approx([5 / 6, 5 / 6, 2 / 3, 2 / 3])
    assert values["retention/hard_area"].mean == pytest.approx((2 / 3 + 1) / 2)
    assert values["retention/hard_area"].sd == pytest.approx(1 / 3 / math.sqrt(2))
    assert [values[f"retention/clean_at_{q}"].mean for q in (50, 90)] == pytest.approx([7 / 8, 5 / 8])
    assert values["retention/clean_area"].mean == pytest.approx((5 / 8 + 1) / 2)
    assert group.references["retention/random_area"].mean == pytest.approx(0.475)
    (difference,) = group.differences
    assert (difference.method, difference.baseline, difference.n) == ("gce", "hsa", 2)
    assert (difference.mean, difference.se) == pytest.approx((-1 / 6, 1 / 6))


def test_set_against_the_first_where_the_other_is_absent(two: Shelf) -> None:
    two.add("elr", 0, dataset="other")
    two.add("ce", 0, dataset="other")
    cells, other = two.compare(against="gce").comparison.groups
    assert (cells.dataset, [d.baseline for d in cells.differences]) == ("cells", ["gce"])
    assert (other.dataset, [d.baseline for d in other.differences]) == ("other", ["ce"])


def test_only_seeds_that_all_methods_have(two: Shelf) -> None:
    two.add("elr", 1)
    two.add("vog", 0, status="diverged", reason="loss is NaN")  # it has no seed, and costs the others none
    found = two.compare()
    (group,) = found.comparison.groups
    assert (group.seeds, group.left_out) == ((1,), (0,))
    assert {entry.method: (entry.seeds, entry.diverged) for entry in group.entries} == {
        "gce": ((1,), 0),
        "hsa": ((1,), 0),
        "elr": ((1,), 0),
        "vog": ((), 1),
    }
    assert {name: len(curves) for name, curves in found.panels[0].curves.items()} == {"elr": 1, "gce": 1, "hsa": 1}
    assert found.notes == ("cells · symmetric:0.4 · quick: only seeds 1 are compared; fewer seeds than others: elr",)


def test_no_shared_seed_costs_its_group_only(two: Shelf) -> None:
    two.add("ce", 0, dataset="other")
    two.add("gce", 1, dataset="other")
    found = two.compare()
    assert [panel.dataset for panel in found.panels] == ["cells"]
    assert "other · symmetric:0.4 · quick: no seed is shared by all methods, so none is compared; choose --methods" in found.notes[0]
    with pytest.raises(BenchmarkError, match=r"^nothing to compare: other · .*fewer seeds than others: ce, gce$"):
        two.compare(datasets=["other"])


def test_without_noise_there_is_nothing_to_remove(two: Shelf) -> None:
    two.add("ce", noise="none")
    assert {panel.noise for panel in two.compare().panels} == {"symmetric:0.4"}
    with pytest.raises(BenchmarkError, match=r"no runs with wrong labels among these: .*--noise"):
        two.compare(noise=["none"])
    two.add("ce", noise="symmetric:0", given=TRUE)
    assert two.compare().notes == ("cells · symmetric:0 · quick: no label is wrong, so there is nothing to remove",)


def test_foreign_images_do_not_count(shelf: Shelf) -> None:
    foreign = np.array([0, 1, 0, 0, 0, 0, 0, 1], dtype=bool)  # hard 1 and wrong 7 show none of the classes
    shelf.add("gce", open_set=foreign)
    (curve,) = shelf.compare().panels[0].curves["gce"]
    assert (curve.n_wrong, curve.n_hard) == (3, 2)
    assert curve.hard[[5, 12, 19]] == pytest.approx([1, 1, 1])  # wrong 0, 2 and 5 go before hard 3 and 6
    assert curve.clean[[5, 12, 19]] == pytest.approx([1, 1, 2 / 3])  # easy 4 before wrong 5


def test_a_group_without_a_hard_sample_that_is_clean_has_no_numbers(shelf: Shelf) -> None:
    shelf.add("gce", hardness=np.where(GIVEN != TRUE, 1, 0).astype(np.float32))
    found = shelf.compare()
    entry = found.comparison.groups[0].entries[0]
    assert (entry.values["retention/hard_area"].mean, entry.rank) == (None, None)
    assert entry.values["retention/clean_area"].mean == pytest.approx(5 / 8)
    row = next(csv.DictReader(io.StringIO(long_table(found))))
    assert (row["hard_kept"], row["clean_kept"], row["n_hard"]) == ("", "1.0", "0")


# -------------------------------------------------------------------------------------------------------- hardness


def test_reference_hardness_is_the_mean_over_the_runs_that_had_a_sample() -> None:
    def part(index: list[int], quality: list[float]) -> TrainingPart:
        labels = np.zeros(len(index), dtype=np.int64)
        return TrainingPart(np.array(index), labels, labels, np.array(quality, dtype=np.float32), None)

    parts = {0: part([2, 5, 9], [0.5, 1.0, 0.25]), 1: part([5, 7], [0.5, 0.75])}
    made = reference([{"method": "ce", "seed": 0}, {"method": "ce", "seed": 1}], lambda row: parts[row["seed"]])
    assert (made.method, made.seeds) == ("ce", (0, 1))
    assert made.index.tolist() == [2, 5, 7, 9]
    assert made.hardness.tolist() == [-0.5, -0.75, -0.75, -0.25]
    assert made.of(np.array([9, 3, 5, 100, 0])).tolist() == pytest.approx([-0.25, np.nan, -0.75, np.nan, np.nan], nan_ok=True)


def test_hardness_from_runs_without_noise(shelf: Shelf) -> None:
    shelf.add("gce", hardness=None, index=np.arange(10, 18))
    # 11, 13 and 16 have the lowest quality; the samples come in another order and with strangers
    shelf.add("ce", 0, np.array([1, 3, 1, 9, 9, 9], dtype=np.float32), noise="none", hardness=None, **_samples([13, 11, 16, 10, 12, 99]))
    shelf.add("ce", 1, np.array([0, 9, 9, 9], dtype=np.float32), noise="none", hardness=None, **_samples([11, 14, 15, 17]))
    found = shelf.compare()
    (panel,) = found.panels
    assert panel.hard == "the quarter of the training samples with the lowest mean quality in 2 runs of ce without noise (seeds 0, 1)"
    assert isinstance(panel.reference, Reference)
    (curve,) = panel.curves["gce"]
    assert (curve.n_hard, curve.known) == (2, 1)  # 13 and 16 at 1; 11 has 1.5, and the quartile of the eight is 1.375
    assert curve.hard[[4, 9, 19]] == pytest.approx([1, 1, 1 / 2])  # 13 goes before the last wrong label, 16 after it
    assert [row["method"] for row in found.comparison.runs] == ["gce"]


def test_samples_of_unknown_hardness_are_told(shelf: Shelf) -> None:
    shelf.add("gce", hardness=None)
    shelf.add("ce", quality=np.array([0, 9, 9, 9], dtype=np.float32), noise="none", hardness=None, **_samples([1, 3, 4, 6]))
    (panel,) = shelf.compare().panels
    assert panel.hard.endswith("in 1 run of ce without noise (seeds 0); known for 50.0 % of them")
    assert panel.curves["gce"][0].n_hard == 1


def test_known_hardness_needs_no_reference(two: Shelf) -> None:
    two.add("ce", noise="none", quality=PERFECT)
    (panel,) = two.compare().panels
    assert panel.reference is None
    assert panel.hard == "the quarter of the training samples with the highest hardness that the data set knows"


def test_a_reference_is_of_the_same_data_and_protocol(shelf: Shelf) -> None:
    shelf.add("gce", hardness=None)
    shelf.add("ce", noise="none", protocol={"epochs": 2})
    shelf.add("ce", noise="none", dataset="other")
    shelf.add("ce", noise="none", status="diverged", reason="loss is NaN")
    shelf.add("ce")
    rows = flatten_all(shelf.results)
    assert find_runs(rows, rows[0], "ce") == []
    shelf.add("ce", 3, noise="none", protocol={"name": "standard"})  # a protocol of the same values by another name
    rows = flatten_all(shelf.results)
    assert [row["seed"] for row in find_runs(rows, rows[0], "ce")] == [3]


def test_missing_reference_tells_the_command(shelf: Shelf) -> None:
    for seed in (0, 1, 2, 7):
        shelf.add("gce", seed, hardness=None, protocol={"epochs": 2, "backbone": "timm:resnet18"})
    lack = "which samples of cells are hard is not known, and there are no runs of ce without noise to tell; make them: "
    words = "python -m benchmark run --methods ce --baseline none --datasets cells --noise none --seeds 0-2,7"
    words += " --set protocol.backbone=timm:resnet18 --epochs 2"
    with pytest.raises(BenchmarkError, match=f"^{re.escape(lack + words)}$"):
        shelf.compare()


def test_protocols_and_data_sets_are_joined_in_few_commands(shelf: Shelf) -> None:
    shelf.add("gce", hardness=None)
    shelf.add("gce", hardness=None, dataset="my cells")
    shelf.add("gce", hardness=None, protocol={"name": "standard", "backbone": "resnet18", "epochs": 60, "batch_size": 128})
    with pytest.raises(BenchmarkError) as caught:
        shelf.compare()
    first, second = str(caught.value).partition("make them: ")[2].split(" && ")
    assert first == "python -m benchmark run --methods ce --baseline none --datasets 'cells,my cells' --noise none --seeds 0"
    assert " --datasets cells --noise none --seeds 0 --protocol standard" in second


def test_data_without_a_reference_may_be_left_out_with_a_note(two: Shelf) -> None:
    two.add("gce", hardness=None, dataset="other")
    found = two.compare(strict=False)
    assert [panel.dataset for panel in found.panels] == ["cells"]
    assert found.notes[0].startswith("left out: which samples of other are hard is not known")
    with pytest.raises(BenchmarkError, match="which samples of other"):
        two.compare(strict=True)
    with pytest.raises(BenchmarkError, match="which samples of other"):
        two.compare(strict=False, datasets=["other"])


def test_a_reference_method_with_several_settings_must_be_told(shelf: Shelf) -> None:
    shelf.add("gce", hardness=None)
    shelf.add("ce:a=1", noise="none")
    shelf.add("ce:a=2", noise="none")
    with pytest.raises(BenchmarkError, match=r"^--hard-by ce: 2 settings of it have runs .*; name one: ce:a=1, ce:a=2$"):
        shelf.compare()
    assert shelf.compare(hard_by="ce:a=2").panels[0].reference.method == "ce:a=2"  # type: ignore[union-attr]


def _samples(index: list[int]) -> dict[str, np.ndarray]:
    return {"index": np.array(index), "true": np.zeros(len(index), dtype=np.int64)}


# ----------------------------------------------------------------------------------------------------------- files


def test_files_that_cannot_be_read(shelf: Shelf) -> None:
    folder = shelf.add("gce")
    predictions, samples = folder / "predictions.npz", folder / "samples.parquet"

    def fails(message: str) -> None:
        with pytest.raises(BenchmarkError, match=message + ".*run the cell again$"):
            read_training_part(folder)

    whole = samples.read_bytes()
    for content in (b"", b"PAR1", whole[:-20]):
        samples.write_bytes(content)
        fails(r"samples\.parquet is corrupt")
    pd.DataFrame({"given": GIVEN}).to_parquet(samples)
    fails(r"samples\.parquet lacks the column index")
    pd.DataFrame({"index": np.arange(7)}).to_parquet(samples)
    fails(r"contradict each other \(train_given \(8,\), .*, index \(7,\)\)")
    samples.unlink()
    fails(r"samples\.parquet does not exist")
    np.savez(predictions, train_given=GIVEN, train_true=TRUE)
    fails(r"predictions\.npz lacks train_quality")
    np.savez(predictions, train_given=GIVEN, train_true=TRUE, train_quality=np.array([{}] * 8))
    fails(r"predictions\.npz is corrupt \(ValueError")  # a pickle
    predictions.write_bytes(b"PK")
    fails(r"predictions\.npz is corrupt")
    predictions.unlink()
    fails(r"predictions\.npz does not exist")


# ------------------------------------------------------------------------------------------------------------ text


def test_text_says_what_is_hard(two: Shelf) -> None:
    found = two.compare()
    page = render_retention(found, "md")
    (row,) = [line for line in page.splitlines() if line.startswith("| gce")]
    areas = "83.3 ± 23.6 | 83.3 ± 23.6 | 66.7 ± 47.1 | 66.7 ± 47.1 | 66.7 ± 47.1 | 83.3 ± 23.6 | 81.2 ± 26.5"
    assert row == f"| gce | 2 | {areas} | 2 | not separable from best |"
    assert "gce against hsa: -16.7 ± 16.7 points, n = 2" in page
    assert page.endswith("- hard: the quarter of the training samples with the highest hardness that the data set knows\n")
    assert "the quarter of the training samples with the highest hardness" in render_retention(found, "latex")
    document = json.loads(render_retention(found, "json"))
    assert document["hardness"][0]["reference_runs"] == 0 and document["hardness"][0]["known"] == 1
    assert [row["method"] for row in document["table"]] == ["hsa", "gce"]
    rows = list(csv.DictReader(io.StringIO(render_retention(found, "csv"))))
    assert [float(row["retention/hard_area"]) for row in rows] == pytest.approx([1, 5 / 6])
    assert {row["reference_runs"] for row in rows} == {"0"}


def test_definitions_that_differ_name_their_data(two: Shelf) -> None:
    two.add("gce", hardness=None, dataset="other")
    two.add("ce", noise="none", dataset="other")
    page = render_retention(two.compare(), "md")
    assert "- hard in cells · symmetric:0.4: the quarter" in page
    assert "- hard in other · symmetric:0.4: the quarter of the training samples with the lowest mean quality in 1 run of ce" in page


def test_the_long_table_has_a_row_for_every_point(two: Shelf) -> None:
    rows = list(csv.DictReader(io.StringIO(long_table(two.compare()))))
    assert len(rows) == 2 * 2 * 20
    by = {(row["method"], row["seed"], row["removed"]): row for row in rows}
    assert float(by["gce", "0", "0.5"]["hard_kept"]) == pytest.approx(2 / 3)
    assert float(by["gce", "0", "1.0"]["clean_kept"]) == pytest.approx(1 / 4)
    assert (by["hsa", "1", "1.0"]["n_wrong"], by["hsa", "1", "1.0"]["n_hard"]) == ("4", "3")


def test_foreign_names_run_nothing_in_a_spreadsheet(shelf: Shelf) -> None:
    shelf.add("gce", dataset="=1+1")
    assert "\n'=1+1," in long_table(shelf.compare())
    assert "'=1+1," in render_retention(shelf.compare(), "csv")


# ---------------------------------------------------------------------------------------------------------- figure


def test_the_figure_names_all_it_shows(two: Shelf, tmp_path: Path) -> None:
    two.add("gce", dataset="$x$ <b>", protocol={"epochs": 2})
    paths = write_figure(two.compare(), tmp_path / "figures" / "new")
    assert [path.name for path in paths] == ["retention.svg", "retention.png"]
    svg = paths[0].read_text()
    for text in ("cells · symmetric:0.4 · quick", "$x$ &lt;b&gt; · symmetric:0.4 · quick:epochs=2", "n = 2 seeds", "n = 1 seed<"):
        assert text in svg, text
    for text in ("wrong labels removed (%)", "clean-hard samples kept (%)", ">gce<", ">hsa<", "random ranking", "hard: the quarter"):
        assert text in svg, text
    assert paths[1].read_bytes().startswith(b"\x89PNG")
    before = paths[0].read_bytes()
    write_figure(two.compare(), tmp_path / "figures" / "new")
    assert paths[0].read_bytes() == before


def test_methods_with_the_same_curves_are_one_line(two: Shelf) -> None:
    for seed in (0, 1):
        two.add("hsa:rounds=2", seed, PERFECT)
        two.add("hsa", seed, PERFECT, dataset="other")
        two.add("hsa:rounds=3", seed, PERFECT, dataset="other")
        two.add("elr", seed, WALK, dataset="other")
    # hsa stands for rounds=2, which is missing elsewhere, and rounds=3; elr differs from it, gce on one seed
    assert same_curves(two.compare().panels) == {"elr": [], "gce": [], "hsa": ["hsa:rounds=2", "hsa:rounds=3"]}


def test_no_two_methods_look_alike() -> None:
    looks = _looks([f"method{number}" for number in range(30)])
    assert len({(look["color"], str(look["linestyle"])) for look in looks.values()}) == 30
    assert len({(look["color"], look["marker"]) for look in looks.values()}) == 30
