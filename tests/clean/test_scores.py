"""Scores from the files of runs, which are believed only as far as they fit."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from benchmark.clean.scores import rank_shares, scores_of
from benchmark.errors import BenchmarkError

PARTS = {"train": np.array([0, 2, 4, 5]), "val": np.array([1]), "test": np.array([3, 6])}
N = 7


def run_folder(folder, *, arrays=None, columns=None, hsa=True, truth=True):
    """A run on seven samples of two classes; a value of None leaves that array or column out."""
    folder.mkdir(parents=True)
    values = {
        "train_given": np.array([0, 1, 0, 1]),
        "train_true": np.array([0, 1, 1, 1]),
        "train_quality": np.array([0.9, 0.8, 0.1, 0.8], dtype=np.float32),
        "train_suspect": np.array([False, False, True, False]),
        "val_labels": np.array([1]),
        "val_true": np.array([1]),
        "val_selected": np.array([[0.25, 0.75]], dtype=np.float32),
        "test_labels": np.array([0, 0]),
        "test_selected": np.array([[0.5, 0.5], [0.125, 0.875]], dtype=np.float32),
    }
    if not truth:
        values["truth_known"] = np.array(False)
    table = {"index": PARTS["train"], "suggested": [0, 1, 1, 1], "confidence": [0.9, 0.8, 0.7, 0.6]}
    if hsa:
        table |= {"state": [0, 1, 2, 0], "history_mean": [0.9, 0.4, 0.1, 0.5]}
    values, table = ({k: v for k, v in (of | (new or {})).items() if v is not None} for of, new in ((values, arrays), (table, columns)))
    np.savez(folder / "predictions.npz", **values)
    pd.DataFrame(table).to_parquet(folder / "samples.parquet")
    return folder


def test_every_sample_is_judged_among_those_judged_alike(tmp_path):
    scores = scores_of({"hsa": run_folder(tmp_path / "a")}, N, PARTS)
    assert scores.methods == ("hsa",)
    assert scores.given.tolist() == [0, 1, 1, 0, 0, 1, 0]
    assert scores.true.tolist() == [0, 1, 1, 0, 1, 1, 0]
    assert scores.part.tolist() == [0, 1, 0, 2, 0, 0, 2]
    assert scores.held_out.tolist() == [False, True, False, True, False, False, True]
    assert scores.suspicion[0] == pytest.approx([0, 0, 0.5, 0.5, 1, 0.5, 1])  # of train: 0.9 < two of 0.8 < 0.1; held out: 0.75, 0.5, 0.125
    assert scores.flagged[0].tolist() == [False, False, False, False, True, False, True]
    assert scores.suggested[0].tolist() == [0, 1, 1, 0, 1, 1, 1]
    assert scores.confidence[0] == pytest.approx([0.9, 0.75, 0.8, 0.5, 0.7, 0.6, 0.875])


def test_of_the_test_part_the_given_labels_are_judged_and_the_reference_is_kept(tmp_path):
    given = np.array([0, 1, 1, 0, 0, 1, 1])  # the files hold 0 for the last, which is the reference
    scores = scores_of({"hsa": run_folder(tmp_path / "a")}, N, PARTS, given)
    assert scores.given.tolist() == given.tolist()
    assert scores.true.tolist() == [0, 1, 1, 0, 1, 1, 0]
    assert scores.suspicion[0][[1, 3, 6]] == pytest.approx([0.5, 1, 0])  # 0.75, 0.5, 0.875
    assert scores.flagged[0][[1, 3, 6]].tolist() == [False, False, False]


def test_hardness_is_hsas_and_of_what_it_does_not_hold_for_wrong(tmp_path):
    hardness = scores_of({"hsa": run_folder(tmp_path / "a")}, N, PARTS).hardness
    assert np.isnan(hardness[[1, 3, 4, 6]]).all()
    assert hardness[0] < hardness[5] < 0.5 < hardness[2]
    assert np.isnan(scores_of({"elr": run_folder(tmp_path / "b", hsa=False)}, N, PARTS).hardness).all()


def test_the_truth_is_told_only_where_it_is_known(tmp_path):
    assert scores_of({"elr": run_folder(tmp_path / "a", truth=False)}, N, PARTS).true is None


def test_a_method_that_ranks_nothing_does_not_vote(tmp_path):
    flat = {"train_quality": np.ones(4, dtype=np.float32)}
    folders = {"ce": run_folder(tmp_path / "a", arrays=flat), "elr": run_folder(tmp_path / "b")}
    assert scores_of(folders, N, PARTS).methods == ("elr",)
    with pytest.raises(BenchmarkError, match="none of ce ranks the labels"):
        scores_of({"ce": tmp_path / "a"}, N, PARTS)
    nan = {"train_quality": np.array([0.1, np.nan, 0.2, 0.3], dtype=np.float32)}
    with pytest.raises(BenchmarkError, match="none of aum ranks the labels"):
        scores_of({"aum": run_folder(tmp_path / "c", arrays=nan)}, N, PARTS)


@pytest.mark.parametrize(
    ("arrays", "columns", "message"),
    [
        ({"val_selected": None}, {}, "lacks val_selected"),
        ({"train_given": np.array([0, 1, 0])}, {}, r"train_given is int64 \(3,\), not \(4,\)"),
        ({"test_selected": np.full((2, 3), 0.3)}, {}, "test_selected is float64"),
        ({"val_labels": np.array([7])}, {}, r"val_labels has labels outside \[0, 2\)"),
        ({"val_selected": np.array([[np.nan, 1.0]])}, {}, "no numbers"),
        ({"train_suspect": np.zeros(4)}, {}, "train_suspect is float64"),
        ({}, {"confidence": None}, "lacks the column confidence"),
        ({}, {"index": [0, 1, 2, 3]}, "other samples"),
        ({}, {"suggested": [0, 1, 1, 9]}, "suggests classes outside"),
        ({}, {"confidence": [0.5, 0.5, 0.5, np.inf]}, "a confidence is no probability"),
        ({}, {"confidence": ["a", "b", "c", "d"]}, "confidence is object"),
    ],
)
def test_a_file_that_contradicts_itself_is_one_line(tmp_path, arrays, columns, message):
    folder = run_folder(tmp_path / "a", arrays=arrays, columns=columns)
    with pytest.raises(BenchmarkError, match=message) as error:
        scores_of({"elr": folder}, N, PARTS)
    assert "\n" not in str(error.value)


def test_missing_and_corrupt_files_are_one_line(tmp_path):
    with pytest.raises(BenchmarkError, match="does not exist"):
        scores_of({"elr": tmp_path}, N, PARTS)
    folder = run_folder(tmp_path / "a")
    (folder / "samples.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(BenchmarkError, match="is corrupt"):
        scores_of({"elr": folder}, N, PARTS)
    (folder / "predictions.npz").write_bytes(b"no zip")
    with pytest.raises(BenchmarkError, match="is corrupt"):
        scores_of({"elr": folder}, N, PARTS)


def test_runs_on_other_labels_and_parts_that_do_not_add_up_are_refused(tmp_path):
    folders = {"elr": run_folder(tmp_path / "a"), "aum": run_folder(tmp_path / "b", arrays={"train_given": np.array([1, 1, 0, 1])})}
    with pytest.raises(BenchmarkError, match="has other labels than"):
        scores_of(folders, N, PARTS)
    with pytest.raises(BenchmarkError, match="not each of the 8 samples once"):
        scores_of({"elr": folders["elr"]}, 8, PARTS)
    with pytest.raises(BenchmarkError, match="no method was asked"):
        scores_of({}, N, PARTS)


def test_rank_shares_by_hand():
    assert rank_shares(np.array([3.0, 1.0, 2.0, 2.0])) == pytest.approx([1, 0, 0.5, 0.5])
    assert rank_shares(np.array([5.0])) == [0.5]
    assert len(rank_shares(np.array([]))) == 0
