"""Rescoring: what is saved is enough, nothing is touched in vain, and bad files are named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmark.errors import BenchmarkError
from benchmark.metrics import compute
from benchmark.rescore import rescore, rescore_all
from benchmark.spec import SCHEMA
from benchmark.store import RunStore

KEY = "0123456789abcdef"


def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    forecasts = rng.dirichlet(np.ones(3), (2, 20)).astype(np.float32)
    true = rng.integers(0, 3, 30)
    return {
        "test_labels": rng.integers(0, 3, 20),
        "test_last_k": forecasts,
        "test_selected": forecasts[0],
        "test_best": forecasts[1],
        "train_true": true,
        "train_given": (true + (rng.random(30) < 0.3)) % 3,
        "train_quality": rng.random(30).astype(np.float32),
        "train_suspect": rng.random(30) < 0.3,
    }


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / KEY
    folder.mkdir()
    np.savez(folder / "predictions.npz", **arrays())  # type: ignore[arg-type]
    write(folder, {"last": {"accuracy": 0.123}})
    return folder


def write(folder: Path, metrics: dict[str, Any], **more: Any) -> None:
    result = {"schema": SCHEMA, "run_key": KEY, "status": "done", "metrics": metrics, "cost": {"seconds": 1.5}, **more}
    (folder / "result.json").write_text(json.dumps(result))


def test_metrics_are_rewritten_once_and_the_rest_is_kept(run: Path) -> None:
    assert rescore(run) is True
    text = (run / "result.json").read_text()
    result = json.loads(text)
    assert result["metrics"] == compute(arrays())
    assert result["cost"] == {"seconds": 1.5}
    assert list(result["metrics"]) == sorted(result["metrics"])
    assert all(list(values) == sorted(values) for values in result["metrics"].values())
    before = (run / "result.json").stat().st_mtime_ns
    assert rescore(run) is False
    assert (run / "result.json").stat().st_mtime_ns == before
    assert sorted(path.name for path in run.iterdir()) == ["predictions.npz", "result.json"]


def test_all_committed_runs_of_a_store(run: Path) -> None:
    (run.parent / "fedcba9876543210").mkdir()  # planned, not finished
    store = RunStore(run.parent)
    assert rescore_all(store) == [KEY]
    assert rescore_all(store) == []
    assert json.loads((run / "result.json").read_text())["metrics"] == compute(arrays())


def test_one_bad_run_stops_no_other(run: Path) -> None:
    bad = run.parent / "0000000000000000"
    bad.mkdir()
    (bad / "result.json").write_text((run / "result.json").read_text().replace(KEY, bad.name))
    with pytest.raises(BenchmarkError, match=r"0000000000000000.predictions\.npz does not exist.*1 runs were rescored"):
        rescore_all(RunStore(run.parent))
    assert json.loads((run / "result.json").read_text())["metrics"] == compute(arrays())


def test_a_run_that_another_process_works_on_is_left_to_it(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmark.store import BusyError

    def busy(self: RunStore, key: str) -> None:
        raise BusyError(key)

    monkeypatch.setattr(RunStore, "lease", busy)
    assert rescore_all(RunStore(run.parent)) == []


@pytest.mark.parametrize("status", ["skipped", "diverged"])
def test_runs_without_predictions_are_left_alone(run: Path, status: str) -> None:
    (run / "predictions.npz").unlink()
    write(run, {}, status=status)
    assert rescore(run) is False


def corrupt_missing(path: Path) -> None:
    path.unlink()


def corrupt_text(path: Path) -> None:
    path.write_text("not an archive")


def corrupt_empty(path: Path) -> None:
    path.write_bytes(b"")


def corrupt_truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def corrupt_bytes(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[300:400] = bytes(100)
    path.write_bytes(data)


def corrupt_pickle(path: Path) -> None:
    np.savez(path, **arrays() | {"test_best": np.array([{}], dtype=object)})  # type: ignore[arg-type]


def corrupt_single_array(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.zeros(3))


def corrupt_incomplete(path: Path) -> None:
    np.savez(path, **{name: array for name, array in arrays().items() if name != "test_best"})  # type: ignore[arg-type]


def corrupt_shapes(path: Path) -> None:
    np.savez(path, **arrays() | {"test_labels": np.zeros(3, dtype=np.int64)})  # type: ignore[arg-type]


@pytest.mark.parametrize("corrupt", [f for name, f in sorted(globals().items()) if name.startswith("corrupt_")])
def test_bad_predictions_are_named_and_nothing_is_written(run: Path, corrupt: Any) -> None:
    corrupt(run / "predictions.npz")
    before = (run / "result.json").read_bytes()
    with pytest.raises(BenchmarkError, match=r"predictions\.npz"):
        rescore(run)
    assert (run / "result.json").read_bytes() == before


@pytest.mark.parametrize("text", [None, "{", "[]"])
def test_bad_results_are_named(run: Path, text: str | None) -> None:
    (run / "result.json").unlink()
    if text is not None:
        (run / "result.json").write_text(text)
    with pytest.raises(BenchmarkError, match=r"result\.json"):
        rescore(run)


# ------------------------------------------------------------------------------------------------------------- masks


def mask_arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    masks = rng.integers(0, 2, (6, 1, 4, 4)).astype(np.uint8)
    forecast = rng.dirichlet(np.ones(2), (3, 1, 4, 4)).transpose(0, 1, 4, 2, 3).astype(np.float16)
    return {
        "task": np.array("segmentation"),
        "tasks": np.array(["lung"]),
        "classes": np.array(["background", "organ"]),
        "test_labels": masks[:3],
        "test_last_k": masks[None, 3:],
        "test_selected": forecast,
        "test_best": masks[3:],
        "train_true": masks,
        "train_given": masks[::-1].copy(),
        "train_quality": rng.random(6).astype(np.float32),
        "train_suspect": rng.random(6) < 0.3,
        "train_flagged": masks == 1,
    }


def test_a_run_on_masks_is_rescored_as_such(run: Path) -> None:
    np.savez_compressed(run / "predictions.npz", **mask_arrays())  # type: ignore[arg-type]
    assert rescore(run) is True and rescore(run) is False
    metrics = json.loads((run / "result.json").read_text())["metrics"]
    assert metrics == compute(mask_arrays())
    assert set(metrics) == {"last", "last_k", "selected", "best", "detection", "ranking"}
    assert metrics["selected"]["dice"] > 0 and "accuracy" not in metrics["selected"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tasks": None, "classes": None}, "its arrays contradict each other (masks without tasks and classes); run the cell again"),
        ({"test_labels": np.zeros((2, 1, 4, 4), dtype=np.uint8)}, "its arrays contradict each other"),
        ({"tasks": np.array(["lung", "heart"])}, "its arrays contradict each other"),
        ({"train_suspect": None}, "lacks train_suspect; run the cell again"),
    ],
)
def test_bad_predictions_of_masks_are_named(run: Path, change: dict[str, Any], message: str) -> None:
    changed = {name: array for name, array in (mask_arrays() | change).items() if array is not None}
    np.savez_compressed(run / "predictions.npz", **changed)
    before = (run / "result.json").read_bytes()
    with pytest.raises(BenchmarkError) as told:
        rescore(run)
    assert message in str(told.value) and "predictions.npz" in str(told.value) and "\n" not in str(told.value)
    assert (run / "result.json").read_bytes() == before
