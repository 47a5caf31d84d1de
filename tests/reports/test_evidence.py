"""Evidence from tiny run folders, against numbers that were worked out by hand."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmark.metrics import compute
from benchmark.metrics.calibration import calibration
from reports.collect import NO_FOLDER, collect, evidence_of
from reports.evidence import Band, Calibration, Evidence
from reports.rows import flatten_all
from reports.run_files import LARGEST_ARRAY, read_arrays
from reports.run_parts import RECALL, precision_at
from reports.tables import Comparison, Group, compare

LABELS = np.array([0, 0, 1, 1, 2])
FORECAST = np.array([[0.9, 0.1, 0.0], [0.2, 0.7, 0.1], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6], [0.0, 0.0, 1.0]], dtype=np.float32)
"""Says 0, 1, 1, 2, 2: right at 0.9, 0.8 and 1.0, wrong at 0.7 and 0.6."""
OTHER = np.array([[0.9, 0.1, 0.0], [0.8, 0.1, 0.1], [0.6, 0.3, 0.1], [0.1, 0.2, 0.7], [0.1, 0.2, 0.7]], dtype=np.float32)
"""Says 0, 0, 0, 2, 2."""
GIVEN, TRUE = np.array([0, 1, 2, 0, 1]), np.array([0, 0, 2, 0, 2])
"""The second and the last label are wrong."""
QUALITY = np.array([0.5, 0.1, 0.9, 0.2, 0.3], dtype=np.float32)
"""From the bottom: wrong, right, wrong, right, right."""


def _lines(scores: list[float | None], stage: str = "train", **more: Any) -> list[dict[str, Any]]:
    return [{"stage": stage, "epoch": e, "epochs": len(scores), "test_accuracy": value, **more} for e, value in enumerate(scores)]


class Shelf:
    """Run folders by seed."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def add(
        self,
        seed: int,
        forecast: np.ndarray | None = None,
        *,
        lines: list[dict[str, Any]] | None = None,
        classes: list[str] | None = None,
        without: tuple[str, ...] = (),
        **arrays: Any,
    ) -> Path:
        folder = self.root / f"{seed}"
        folder.mkdir()
        every = {"test_labels": LABELS, "test_selected": FORECAST if forecast is None else forecast}
        every |= {"train_given": GIVEN, "train_true": TRUE, "train_quality": QUALITY, "train_suspect": QUALITY < 0.25, **arrays}
        np.savez(folder / "predictions.npz", **{name: values for name, values in every.items() if name not in without})
        (folder / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines or _lines([0.25, 0.5])))
        (folder / "result.json").write_text(json.dumps({"data": {"classes": classes or ["a", "b", "c"]}}))
        return folder

    def evidence(self, rows: dict[int, dict[str, Any]] | None = None, task: str = "classification") -> Evidence:
        return evidence_of({int(folder.name): folder for folder in sorted(self.root.iterdir())}, rows or {}, task)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


# ------------------------------------------------------------------------------------------------------- confusions


def test_confusions_and_recall_over_seeds(shelf: Shelf) -> None:
    shelf.add(0)
    shelf.add(1, OTHER)
    found = shelf.evidence()
    assert found.seeds == (0, 1) and found.missing == {} and found.classes == ("a", "b", "c")
    assert found.confusion is not None
    assert found.confusion.counts == ((3, 1, 0), (1, 1, 2), (0, 0, 2))
    assert found.confusion.recall == Band((0.75, 0.25, 1.0), (0.5, 0.0, 1.0), (1.0, 0.5, 1.0))
    assert found.confusion.top == ((1, 2, 0.5), (0, 1, 0.25), (1, 0, 0.25))


def test_a_class_that_the_test_part_lacks_has_no_recall(shelf: Shelf) -> None:
    shelf.add(0, test_labels=np.array([0, 0, 1, 1, 1]))
    found = shelf.evidence().confusion
    assert found is not None and found.recall.mean == (0.5, 1 / 3, None)


def test_many_classes_have_no_matrix(shelf: Shelf) -> None:
    K = 31
    labels = np.arange(K)
    forecast = np.eye(K, dtype=np.float32)[(labels + 1) % K]
    shelf.add(0, forecast, test_labels=labels)
    found = shelf.evidence()
    assert found.confusion is not None and found.confusion.counts is None
    assert found.confusion.top == tuple((k, k + 1, 1.0) for k in range(12))
    assert found.classes == tuple(map(str, range(K)))  # the result names three


def test_forecasts_that_are_no_numbers(shelf: Shelf) -> None:
    shelf.add(0, np.full((5, 3), np.nan, dtype=np.float32))
    found = shelf.evidence()
    assert (found.confusion, found.calibration, found.classes, found.missing) == (None, None, (), {})
    assert found.detection is not None
    shelf.add(1)
    both = shelf.evidence()
    assert both.seeds == (0, 1) and both.confusion is not None and both.confusion.counts == ((1, 1, 0), (0, 1, 1), (0, 0, 1))


# ------------------------------------------------------------------------------------------------------ calibration


def _error(found: Calibration) -> float:
    bins = zip(found.share, found.confidence, found.accuracy, strict=True)
    return sum(share * abs(right - sure) for share, sure, right in bins if sure is not None and right is not None)


def test_calibration_by_hand(shelf: Shelf) -> None:
    shelf.add(0)
    found = shelf.evidence().calibration
    assert found is not None and len(found.edges) == 16 and found.edges[0] == 0 and found.edges[-1] == 1
    # 0.6 (as float32 a little more), 0.7, 0.8 (a little more), 0.9 and 1.0: bins 9, 10, 12, 13 and 14
    assert [place for place, share in enumerate(found.share) if share] == [9, 10, 12, 13, 14]
    assert found.share[9] == pytest.approx(0.2) and found.share[0] == 0 and found.confidence[0] is None and found.accuracy[0] is None
    assert [found.accuracy[place] for place in (9, 10, 12, 13, 14)] == [0, 0, 1, 1, 1]
    assert [found.confidence[place] for place in (9, 10, 12, 13, 14)] == pytest.approx([0.6, 0.7, 0.8, 0.9, 1.0])
    assert _error(found) == pytest.approx(0.2 * (0.6 + 0.7 + 0.2 + 0.1 + 0))


def test_calibration_is_what_the_metric_says(shelf: Shelf) -> None:
    rng = np.random.default_rng(0)
    labels, forecast = rng.integers(0, 4, 300), rng.dirichlet(np.ones(4), 300).astype(np.float32)
    shelf.add(0, forecast, test_labels=labels)
    found = shelf.evidence().calibration
    assert found is not None and _error(found) == pytest.approx(calibration(labels, forecast)["ece"], abs=1e-12)


def test_calibration_pools_the_samples_of_all_seeds(shelf: Shelf) -> None:
    shelf.add(0, np.array([[0.9, 0.1]] * 3, dtype=np.float32), test_labels=np.array([0, 0, 0]))
    shelf.add(1, np.array([[0.9, 0.1]], dtype=np.float32), test_labels=np.array([1]))
    found = shelf.evidence().calibration
    assert found is not None and found.accuracy[13] == 0.75 and found.share[13] == 1


def test_bags_are_called_at_the_threshold_of_the_tables(shelf: Shelf) -> None:
    labels, of_positive = np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.3, 0.8], dtype=np.float32)
    forecast = np.stack([1 - of_positive, of_positive], axis=1)
    lines = [{"stage": "train", "epoch": 0, "test_auroc": 0.75}]
    shelf.add(0, forecast, test_labels=labels, lines=lines, task=np.array("bags"))
    found = shelf.evidence({0: {"selected/threshold": 0.3}}, "bags")
    assert found.classes == ("negative", "positive") and found.curves["test"].mean == (0.75,)
    assert found.confusion is not None and found.confusion.counts == ((1, 1), (0, 2))  # 0.3 as float32 lies above the threshold
    undecided = shelf.evidence(task="bags")
    assert undecided.confusion is not None and undecided.confusion.counts == ((2, 0), (1, 1))
    metric = compute({"task": np.array("bags"), "test_labels": labels, "test_selected": forecast})["selected"]["ece"]
    assert found.calibration is not None and _error(found.calibration) == pytest.approx(metric, abs=1e-12)


# -------------------------------------------------------------------------------------------------------- detection


def test_precision_by_hand() -> None:
    # from the bottom: wrong (1 of 1), right, wrong (2 of 3), right, right
    found = precision_at(GIVEN != TRUE, QUALITY)
    assert found.tolist() == [1.0] * 20 + [2 / 3] * 20 and RECALL[19] == 0.5 and RECALL[-1] == 1


def test_equal_qualities_are_suspected_together() -> None:
    wrong = np.array([True, False, False, True])
    assert precision_at(wrong, np.array([0.1, 0.1, 0.5, 0.5])).tolist() == [0.5] * 40
    assert precision_at(wrong, np.zeros(4)).tolist() == [0.5] * 40
    assert precision_at(wrong, np.array([-np.inf, -np.inf, np.inf, 0.0])).tolist() == [0.5] * 20 + [2 / 3] * 20


def test_recall_is_counted_in_whole_labels() -> None:
    # 3 wrong labels in front, then 37 right ones: any rounding of k · 3 / 40 upwards would ask for a fourth
    assert precision_at(np.arange(40) < 3, np.arange(40.0)).tolist() == [1.0] * 40


def test_area_below_the_curve_is_nearly_the_average_precision() -> None:
    rng = np.random.default_rng(0)
    wrong = rng.random(2000) < 0.4
    quality = rng.normal(size=2000) - wrong
    average = compute({"train_given": wrong.astype(int), "train_true": np.zeros(2000, int), "train_quality": quality})
    assert float(np.mean(precision_at(wrong, quality))) == pytest.approx(average["detection"]["average_precision"], abs=0.01)


def test_detection_over_seeds(shelf: Shelf) -> None:
    shelf.add(0)
    shelf.add(1, train_quality=-QUALITY)  # from the bottom: right, right, wrong, right, wrong
    found = shelf.evidence().detection
    assert found is not None and found.chance == 0.4 and found.recall == RECALL
    assert (found.precision.low[0], found.precision.high[0]) == (1 / 3, 1.0) and found.precision.mean[0] == pytest.approx(2 / 3)
    assert found.precision.mean[-1] == pytest.approx((2 / 3 + 2 / 5) / 2)


def test_foreign_images_count_nowhere(shelf: Shelf) -> None:
    shelf.add(0, train_open_set=np.array([False, False, False, True, False]))
    found = shelf.evidence().detection
    assert found is not None and found.chance == 0.5 and set(found.precision.mean) == {1.0}


@pytest.mark.parametrize(
    "arrays",
    [
        {"truth_known": np.array(False)},
        {"train_true": GIVEN},
        {"train_quality": np.array([0.5, np.nan, 0.1, 0.2, 0.3])},
        {"without": ("train_quality",)},
    ],
)
def test_detection_is_absent_where_it_means_nothing(shelf: Shelf, arrays: dict[str, Any]) -> None:
    shelf.add(0, **arrays)
    found = shelf.evidence()
    assert found.detection is None and found.seeds == (0,)


def test_masks_have_their_pixels(shelf: Shelf) -> None:
    lines = [{"stage": "train", "epoch": 0, "test_dice": 0.5, "val_dice": 0.25}]
    given, true = np.array([[0, 1], [1, 255]], dtype=np.uint8), np.array([[0, 0], [1, 1]], dtype=np.uint8)
    ranked = {"train_ranked": np.array([3, 1, 0]), "train_ranked_quality": np.array([0.0, 0.5, 0.1], dtype=np.float32)}
    shelf.add(0, lines=lines, train_given=given, train_true=true, task=np.array("segmentation"), **ranked)
    found = shelf.evidence(task="segmentation")
    assert found.missing == {} and found.curves["test"].mean == (0.5,) and found.curves["validation"].mean == (0.25,)
    assert (found.confusion, found.calibration, found.classes) == (None, None, ())
    # the void pixel is left out; of the other two the wrong one has the higher quality
    assert found.detection is not None and found.detection.chance == 0.5 and set(found.detection.precision.mean) == {0.5}


# ----------------------------------------------------------------------------------------------------------- curves


def test_curves_of_the_final_stage(shelf: Shelf) -> None:
    first = [{"stage": "warmup", "epoch": e, "loss": 1.0} for e in range(4)]  # never evaluated
    phase = _lines([0.9] * 5, "phase-train")
    shelf.add(0, lines=first + phase + _lines([0.25, 0.75], val_accuracy=0.5, fit_wrong=None, fit_right=0.5))
    shelf.add(1, lines=_lines([0.75, 0.5, None, 1.0], fit_right=0.25))
    found = shelf.evidence()
    assert found.epochs == (0, 1, 2, 3) and set(found.curves) == {"test", "validation", "fit_right"}
    assert found.curves["test"] == Band((0.5, 0.625, None, 1.0), (0.25, 0.5, None, 1.0), (0.75, 0.75, None, 1.0))
    assert found.curves["validation"].mean == (0.5, 0.5, None, None)
    assert found.curves["fit_right"].mean == (0.375, 0.375, 0.25, 0.25)


def test_numbers_that_are_none(shelf: Shelf) -> None:
    folder = shelf.add(0)
    lines = ['{"stage": "t", "epoch": 0, "test_accuracy": NaN}', '{"stage": "t", "epoch": 1, "test_accuracy": true}']
    lines += ['{"stage": "t", "epoch": 2, "test_accuracy": 1e999}', '{"stage": "t", "epoch": 3, "test_accuracy": 1}']
    (folder / "history.jsonl").write_text("\n".join(lines) + f'\n{{"stage": "t", "epoch": 4, "test_accuracy": 1{"0" * 5000}}}\n')
    assert shelf.evidence().curves["test"].mean == (None, None, None, 1.0, None)


def test_selected_and_cost_come_from_the_rows(shelf: Shelf) -> None:
    shelf.add(0)
    shelf.add(1)
    rows = {0: {"epochs/selected": 3, "cost/seconds": 10.0, "cost/parameters": 7}, 1: {"epochs/selected": 6, "cost/seconds": 20.0}}
    found = shelf.evidence(rows)
    assert found.selected == 4.5 and found.cost == {"seconds": 15.0, "parameters": 7.0}


# ---------------------------------------------------------------------------------------------------- broken files


def _cut(folder: Path, name: str) -> None:
    (folder / name).write_bytes((folder / name).read_bytes()[:-7])


def _pickled(folder: Path) -> None:
    np.savez(folder / "predictions.npz", test_labels=LABELS, test_selected=np.array([{}] * 5, dtype=object))


def _plain_array(folder: Path) -> None:
    with (folder / "predictions.npz").open("wb") as file:
        np.save(file, LABELS)


BROKEN: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no predictions": (lambda f: (f / "predictions.npz").unlink(), "predictions.npz does not exist; run the cell again"),
    "no history": (lambda f: (f / "history.jsonl").unlink(), "history.jsonl does not exist"),
    "a pipe": (lambda f: ((f / "history.jsonl").unlink(), os.mkfifo(f / "history.jsonl")), "history.jsonl is no file"),
    "cut predictions": (lambda f: _cut(f, "predictions.npz"), "predictions.npz is corrupt"),
    "cut history": (lambda f: _cut(f, "history.jsonl"), "history.jsonl is corrupt"),
    "no line": (lambda f: (f / "history.jsonl").write_text(""), "history.jsonl has no epoch with test_accuracy"),
    "lists": (lambda f: (f / "history.jsonl").write_text("[[[]]]\n"), "history.jsonl has no epoch"),
    "numbers": (lambda f: (f / "history.jsonl").write_text("17\n"), "history.jsonl is corrupt (TypeError"),
    "deep": (lambda f: (f / "history.jsonl").write_text("[" * 200_000), "history.jsonl is corrupt (RecursionError"),
    "not text": (lambda f: (f / "history.jsonl").write_bytes(b"\xff\xfe"), "history.jsonl is corrupt (UnicodeDecodeError"),
    "far epoch": (
        lambda f: (f / "history.jsonl").write_text('{"stage": "t", "epoch": 1000000000000, "test_accuracy": 1}\n'),
        "history.jsonl is corrupt (ValueError: 1000000000000.0 is no epoch)",
    ),
    "a pickle": (_pickled, "predictions.npz is corrupt (ValueError"),
    "one array": (_plain_array, "predictions.npz is corrupt"),
    "no archive": (lambda f: (f / "predictions.npz").write_text("PK\x03\x04<script>"), "predictions.npz is corrupt"),
}


@pytest.mark.parametrize("damage", BROKEN)
def test_a_broken_file_costs_its_seed_alone(shelf: Shelf, damage: str) -> None:
    shelf.add(0)
    breaks, message = BROKEN[damage]
    breaks(shelf.add(1, OTHER))
    found = shelf.evidence()
    assert found.seeds == (0,) and set(found.missing) == {1} and found.missing[1].startswith(message)
    assert found.confusion is not None and found.confusion.counts == ((1, 1, 0), (0, 1, 1), (0, 0, 1))
    told = found.missing[1]
    assert told.isprintable() and len(told) <= 200 and str(shelf.root) not in told


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"test_labels": np.arange(4)}, "predictions.npz contradicts itself (test_selected is float32 (5, 3))"),
        ({"test_labels": np.array([0, 1, 2, 3, 9])}, "predictions.npz contradicts itself (test_labels lie outside the 3 classes)"),
        ({"test_labels": np.array(["a"] * 5)}, "predictions.npz contradicts itself (test_labels is <U1 (5,))"),
        ({"test_labels": np.array(3)}, "predictions.npz contradicts itself ("),
        ({"forecast": np.zeros((5, 1), dtype=np.float32)}, "predictions.npz contradicts itself (forecasts of 1 classes)"),
        ({"forecast": np.eye(5, 4, dtype=np.float32)}, "predictions.npz has 4 classes where other seeds have 3"),
        ({"train_quality": np.zeros(3)}, "predictions.npz contradicts itself (train_quality is float64 (3,))"),
        ({"train_open_set": np.zeros(5)}, "predictions.npz contradicts itself (train_open_set is float64 (5,))"),
        ({"truth_known": np.array([True, False])}, "predictions.npz contradicts itself ("),
        ({"task": np.array("bags\x1b[31m")}, "predictions.npz contradicts itself (it is of bags [31m, not of classification)"),
        ({"without": ("test_selected",)}, "predictions.npz lacks test_selected"),
    ],
)
def test_arrays_of_another_run(shelf: Shelf, arrays: dict[str, Any], message: str) -> None:
    shelf.add(0)
    shelf.add(1, **arrays)
    found = shelf.evidence()
    assert found.seeds == (0,) and found.missing[1].startswith(message), found.missing
    assert found.missing[1].isprintable()


def test_an_archive_that_unfolds_to_more_than_it_should(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert LARGEST_ARRAY == 2**30
    monkeypatch.setattr("reports.run_files.LARGEST_ARRAY", 4000)
    np.savez_compressed(tmp_path / "predictions.npz", test_labels=np.zeros(1000), other=np.zeros(10))
    assert list(read_arrays(tmp_path / "predictions.npz", ("other",))) == ["other"]
    with pytest.raises(Exception, match=r"test_labels is larger than 4,000 bytes"):
        read_arrays(tmp_path / "predictions.npz", ("test_labels",))


def test_files_that_unfold_or_are_larger_than_they_should(shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from benchmark.errors import BenchmarkError
    from reports import run_files

    folder = shelf.add(0)
    monkeypatch.setattr(run_files, "LARGEST_TEXT", 50)
    assert "history.jsonl is corrupt (ValueError: it has" in shelf.evidence().missing[0]
    monkeypatch.setattr(run_files, "LARGEST_ARRAY", 8 * 99)
    pq.write_table(pa.table({"index": np.zeros(100, dtype=np.int64)}), folder / "samples.parquet")
    with pytest.raises(BenchmarkError, match=r"samples\.parquet is corrupt .*it has 100 rows"):
        run_files.read_columns(folder / "samples.parquet", ("index",))


@pytest.mark.parametrize("value", [-0.5, 1.5, 1e38])
def test_forecasts_that_are_no_probabilities(shelf: Shelf, value: float) -> None:
    shelf.add(0, np.full((5, 3), value, dtype=np.float32))
    assert "test_selected holds what are no probabilities" in shelf.evidence().missing[0]


def test_names_of_classes_come_through_as_they_are(shelf: Shelf) -> None:
    shelf.add(0, classes=['<script>alert("x")</script>', "\\textbf{b}", "ü\u202e"])
    assert shelf.evidence().classes == ('<script>alert("x")</script>', "\\textbf{b}", "ü\u202e")
    (shelf.root / "0" / "result.json").write_text("[" * 100_000)
    assert shelf.evidence().classes == ("0", "1", "2")


# ------------------------------------------------------------------------------------------------------- comparisons


@pytest.fixture
def comparison(result: Callable[..., dict[str, Any]]) -> Comparison:
    """Two methods under two noises, each on seeds 0 and 1."""
    cells = [(method, seed, noise) for method in ("ce", "gce") for seed in (0, 1) for noise in ("none", "symmetric:0.4")]
    compared = compare(flatten_all([result(method, seed, noise=noise) for method, seed, noise in cells]))
    keys = {(row["noise"], row["method"], row["seed"]): row["run_key"] for row in compared.runs}

    def keyed(group: Group) -> Group:
        entries = [replace(e, run_keys=tuple(keys[group.noise, e.method, seed] for seed in e.seeds)) for e in group.entries]
        return replace(group, entries=tuple(entries))

    return replace(compared, groups=tuple(map(keyed, compared.groups)))


def test_all_entries_of_a_comparison(comparison: Comparison, shelf: Shelf) -> None:
    keys = [key for group in comparison.groups for entry in group.entries for key in entry.run_keys]
    assert len(keys) == 8
    folders = {key: shelf.add(number, OTHER if number % 2 else None) for number, key in enumerate(keys)}
    told: list[tuple[int, int]] = []
    found = collect(comparison, folders.get, progress=lambda done, total: told.append((done, total)))
    assert list(found) == [(0, "ce"), (0, "gce"), (1, "ce"), (1, "gce")]
    assert told == [(done, 8) for done in range(1, 9)]
    for evidence in found.values():
        assert evidence.seeds == (0, 1) and evidence.selected == 3 and evidence.cost == {"seconds": 12.0}
        assert evidence.confusion is not None and evidence.confusion.counts == ((3, 1, 0), (1, 1, 2), (0, 0, 2))


def test_results_without_folders_have_their_cost(comparison: Comparison) -> None:
    for evidence in collect(comparison, lambda key: None).values():
        assert evidence.missing == {0: NO_FOLDER, 1: NO_FOLDER} and "\n" not in NO_FOLDER and evidence.cost == {"seconds": 12.0}
        absent = (evidence.seeds, evidence.epochs, evidence.curves, evidence.selected, evidence.classes)
        assert absent == ((), (), {}, None, ()) and evidence.confusion is evidence.calibration is evidence.detection is None
