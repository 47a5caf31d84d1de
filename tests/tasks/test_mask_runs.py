"""A run on masks end to end, on a throw-away benchmark: what it commits, that a kill changes no number, and how it fails."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmark import worker
from benchmark.engines.base import Outcome, WorkerOptions
from benchmark.files import read_lines
from benchmark.grammar import parse_settings
from benchmark.metrics import compute
from benchmark.registry import Registry
from benchmark.rescore import rescore
from benchmark.spec import expand, protocol
from benchmark.store import RunStore, Status

VOID = 255

PLUGIN = '''
"""A tiny benchmark of masks."""
from dataclasses import dataclass

import numpy as np
import torch

from benchmark.api import Dataset, Method, Noise, dataset, hp, method, noise
from benchmark.segmentation.arrays import MaskArrays
from benchmark.segmentation.method import MaskMethod


@dataset("tinymasks", task="segmentation", version=1)
class Tiny(Dataset):
    """Forty bright discs of two organs, and a little void."""

    augmentation = ("flip",)

    def load(self, root):
        rng = np.random.default_rng(0)
        rows, columns = np.mgrid[:16, :16]
        centre = rng.uniform(5, 11, (40, 2, 2, 1, 1))
        masks = (np.hypot(rows - centre[:, :, 0], columns - centre[:, :, 1]) < 4).astype(np.uint8)
        images = (rng.normal(50, 15, (40, 16, 16)) + 60 * masks[:, 0] + 90 * masks[:, 1]).clip(0, 255).astype(np.uint8)
        masks[::5, :, :2] = 255
        return MaskArrays(images[..., None], masks, ("left", "right"), ("background", "organ"), paths=[f"{i}.png" for i in range(40)])


@noise("shifted", task="segmentation", version=1)
class Shifted(Noise):
    """Half of the masks lie three pixels too far to the right."""

    def apply(self, samples, rng):
        noisy = samples.labels.copy()
        chosen = rng.permutation(len(noisy))[: len(noisy) // 2]
        noisy[chosen] = np.roll(noisy[chosen], 3, axis=3)
        return noisy


@method("probe", task="segmentation")
class Probe(MaskMethod):
    """Cross-entropy that can go wrong in many ways."""

    @dataclass(frozen=True)
    class Params:
        how: str = hp("fine", help="what goes wrong")

    argument = "how"

    def training_step(self, batch, networks, epoch):
        if self.params.how == "diverge":
            return super().training_step(batch, networks, epoch) * float("nan")
        return super().training_step(batch, networks, epoch)

    def auxiliary_predictions(self, networks, images):
        return {"half": torch.full((len(images), 2, 2, 16, 16), 0.5)}

    def label_quality(self):
        return torch.zeros(self.data.labels.shape) if self.params.how == "pixels" else super().label_quality()

    def pixel_quality(self):
        wrong = {"flat": torch.zeros(5), "no number": torch.full(self.data.labels.shape, float("nan"))}
        return wrong.get(self.params.how)

    def pixel_suspects(self):
        return torch.zeros(3, 3, dtype=torch.bool) if self.params.how == "few suspects" else None

    def corrected_labels(self):
        labels = self.data.labels.clone()
        labels[0] = 255
        return {"class 2": torch.full_like(labels, 2), "minus": labels.long() - 1, "one task": labels[:, :1]}.get(self.params.how, labels)

    def sample_columns(self):
        return {"mine": torch.arange(self.data.n)}


@method("plain", task="segmentation")
class Plain(Method):
    """No method for masks, although it says so."""

    def training_step(self, batch, networks, epoch):
        return networks[0](batch.images).square().mean()

    def predict(self, networks, images):
        return networks[0](images).softmax(dim=2)
'''


class Bench:
    """A plugin folder, a runs folder and the worker."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.plugins = folder / "plugins"
        self.plugins.mkdir()
        (self.plugins / "tiny_masks.py").write_text(PLUGIN)

    def options(self, runs: str = "runs", **changes: Any) -> WorkerOptions:
        settings = {"device": "cpu", "threads": 1, "data_root": self.folder / "data", "checkpoint_seconds": 0.0, **changes}
        return WorkerOptions(self.folder / runs, plugins=(str(self.plugins),), **settings)

    def register(self, method: str = "probe", runs: str = "runs", **settings: Any) -> str:
        (spec,) = expand(
            Registry((str(self.plugins),)),
            methods=parse_settings(method, what="method"),
            datasets=parse_settings("tinymasks", what="dataset"),
            noise=parse_settings("shifted", what="noise"),
            seeds=[0],
            protocol=protocol("quick", {"epochs": 3, "batch_size": 8, "last_k": 2, **settings}, "segmentation"),
            data_root=self.folder / "data",
        )
        return RunStore(self.folder / runs).register(spec)

    def execute(self, key: str, runs: str = "runs") -> Outcome:
        return worker.execute(key, self.options(runs), lambda event: None)

    def result(self, key: str, runs: str = "runs") -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / runs / key / "result.json").read_text())
        return found


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """The result and the folder of one run, which no test changes."""
    bench = Bench(tmp_path_factory.mktemp("done"))
    key = bench.register()
    outcome = bench.execute(key)
    assert (outcome.status, outcome.message) == ("done", "")
    return bench.result(key), bench.folder / "runs" / key


def arrays(folder: Path) -> dict[str, np.ndarray]:
    with np.load(folder / "predictions.npz", allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def numbers(result: dict[str, Any]) -> dict[str, Any]:
    """What must not depend on when, where and how often a run was begun."""
    return {name: value for name, value in result.items() if name not in ("cost", "host", "started", "finished")}


# -------------------------------------------------------------------------------------------------------- a result


def test_a_result_says_what_the_masks_are(done: tuple[dict[str, Any], Path]) -> None:
    result, _ = done
    data = result["data"]
    assert (data["task"], data["tasks"], data["classes"]) == ("segmentation", ["left", "right"], ["background", "organ"])
    assert data["n_train"] + data["n_val"] + data["n_test"] == 40 and data["image_shape"] == [16, 16, 1]
    assert all(0.1 < share < 0.3 for share in data["foreground"])
    groups = {"last", "last_k", "selected", "best", "aux/half", "validation", "detection", "ranking", "correction"}
    assert set(result["metrics"]) == groups
    assert {"dice", "dice/left", "hd95/right", "missed", "iou", "surface_dice", "ece"} <= set(result["metrics"]["selected"])
    assert set(result["noise"]["tasks"]) == {"left", "right"} and 0 < result["noise"]["dice"] < 1
    assert result["oracle"] == [] and result["cost"]["parameters"] > 10_000


def test_predictions_have_the_arrays_of_masks(done: tuple[dict[str, Any], Path]) -> None:
    result, folder = done
    found = arrays(folder)
    n, v, t = (result["data"][f"n_{part}"] for part in ("train", "val", "test"))
    mask, total = (2, 16, 16), n * 2 * 16 * 16
    expected = {"task": (), "tasks": (2,), "classes": (2,), "epoch_selected": (), "epoch_best": (), "epochs_last_k": (2,)}
    expected |= {"test_labels": (t, *mask), "val_labels": (v, *mask), "val_true": (v, *mask), "test_best": (t, *mask)}
    expected |= {
        "test_last_k": (2, t, *mask),
        "aux_half": (t, *mask),
        "test_selected": (t, 2, 2, 16, 16),
        "val_selected": (v, 2, 2, 16, 16),
    }
    expected |= dict.fromkeys(("train_given", "train_true", "train_flagged", "train_corrected"), (n, *mask))
    expected |= {"train_quality": (n,), "train_suspect": (n,), "train_ranked": (total,), "train_ranked_quality": (total,)}
    assert {name: array.shape for name, array in found.items()} == expected
    halves, floats = ("test_selected", "val_selected"), ("train_quality", "train_ranked_quality")
    bits, places = ("train_suspect", "train_flagged"), ("train_ranked", "epochs_last_k", "epoch_selected", "epoch_best")
    kinds = dict.fromkeys(halves, np.float16) | dict.fromkeys(floats, np.float32) | dict.fromkeys(bits, np.bool_)
    kinds |= dict.fromkeys(places, np.int64)
    for name in expected.keys() - {"task", "tasks", "classes"}:
        assert found[name].dtype == kinds.get(name, np.uint8), name
    assert str(found["task"]) == "segmentation" and found["tasks"].tolist() == ["left", "right"]
    np.testing.assert_allclose(found["test_selected"].sum(axis=2, dtype=np.float32), 1, atol=2e-3)
    assert not found["train_flagged"][found["train_given"] == VOID].any()
    assert (found["train_ranked_quality"][found["train_given"].reshape(-1) == VOID] == 1).all()
    assert (found["train_corrected"][0] == VOID).all()
    quality = found["train_ranked_quality"].reshape(found["train_given"].shape)
    assert ((quality < 0.5) == found["train_flagged"]).all()  # of two classes, the one that is less likely is flagged


def test_samples_have_one_row_an_image(done: tuple[dict[str, Any], Path]) -> None:
    _, folder = done
    table, found = pd.read_parquet(folder / "samples.parquet"), arrays(folder)
    judged = ["quality", "suspect", "flagged_pixels", "wrong_pixels", "dice_of_given"]
    assert list(table.columns) == ["index", *judged, "mine", "path"]
    assert (table["path"] == [f"{i}.png" for i in table["index"]]).all()
    given, true = found["train_given"], found["train_true"]
    row = int(np.argmax((given != true).any(axis=(1, 2, 3))))
    known = (given[row] != VOID) & (true[row] != VOID)
    assert table["wrong_pixels"][row] == ((given[row] != true[row]) & known).sum() / known.sum() > 0
    assert table["flagged_pixels"][row] == (found["train_flagged"][row] & known).sum() / known.sum()
    ours, theirs = (given[row] == 1) & (true[row] != VOID), true[row] == 1
    dice = [2 * (ours[t] & theirs[t]).sum() / (ours[t].sum() + theirs[t].sum()) for t in range(2)]
    assert table["dice_of_given"][row] == pytest.approx(np.mean(dice)) and table["dice_of_given"][row] < 1
    np.testing.assert_array_equal(table["quality"], found["train_quality"])


def test_the_history_has_dice(done: tuple[dict[str, Any], Path]) -> None:
    result, folder = done
    lines = read_lines(folder / "history.jsonl")
    assert [line["epoch"] for line in lines] == [0, 1, 2]
    for line in lines:
        assert 0 <= line["val_dice"] <= 1 and 0 <= line["test_dice"] <= 1 and "test_dice_half" in line and "val_accuracy" not in line
        assert line["fit_wrong"] is not None and line["val_nll"] > 0
    best = max(range(3), key=lambda epoch: (lines[epoch]["test_dice"], -epoch))
    assert result["epochs"]["best"] == best and result["metrics"]["best"]["dice"] == pytest.approx(lines[best]["test_dice"])
    selected = result["epochs"]["selected"]
    assert result["metrics"]["validation"]["dice"] == pytest.approx(lines[selected]["val_dice"])


def test_rescoring_finds_the_same_numbers(done: tuple[dict[str, Any], Path]) -> None:
    result, folder = done
    assert rescore(folder) is False
    metrics = compute(arrays(folder))
    assert {group: dict(sorted(values.items())) for group, values in metrics.items()} == result["metrics"]


def test_the_same_run_again_has_the_same_numbers(bench: Bench, done: tuple[dict[str, Any], Path]) -> None:
    key = bench.register()
    assert bench.execute(key).status == "done"
    assert numbers(bench.result(key)) == numbers(done[0])
    one, two = arrays(done[1]), arrays(bench.folder / "runs" / key)
    assert one.keys() == two.keys() and all(np.array_equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("probe:pixels", "probe.label_quality() must return (26,), not (26, 2, 16, 16)"),
        ("probe:flat", "probe.pixel_quality() must return (26, 2, 16, 16), not (5,)"),
        ("probe:no number", "probe.pixel_quality() must be finite"),
        ("probe:few suspects", "probe.pixel_suspects() must return (26, 2, 16, 16), not (3, 3)"),
        ("probe:one task", "probe.corrected_labels() must return (26, 2, 16, 16), not (26, 1, 16, 16)"),
        ("probe:class 2", "probe.corrected_labels() must lie in [0, 2) or be 255, which is void"),
        ("probe:minus", "probe.corrected_labels() must lie in [0, 2) or be 255, which is void"),
        ("plain", "plain is for masks and must be a benchmark.segmentation.method.MaskMethod"),
    ],
)
def test_a_run_that_fails_says_why(bench: Bench, method: str, message: str) -> None:
    key = bench.register(method, epochs=1)
    outcome = bench.execute(key)
    assert (outcome.status, outcome.message) == ("failed", message)
    assert not (bench.folder / "runs" / key / "result.json").exists()


def test_a_run_that_diverges_is_committed_as_such(bench: Bench) -> None:
    key = bench.register("probe:diverge", epochs=1)
    assert bench.execute(key).status == "diverged"
    assert bench.result(key)["metrics"] == {}


# ----------------------------------------------------------------------------------------------------------- kills


@pytest.mark.slow
def test_no_kill_changes_a_number(bench: Bench, attempt: Callable[..., str], done: tuple[dict[str, Any], Path]) -> None:
    """SIGKILL as soon as the k-th line of the history appears, for each k in turn, then to the end."""
    key = bench.register(runs="killed")
    folder, store = bench.folder / "killed" / key, RunStore(bench.folder / "killed")
    for k in (1, 2, 3):
        attempt(bench.options("killed"), key, lambda k=k: len(read_lines(folder / "history.jsonl")) >= k)  # type: ignore[misc]
        if store.status(key, None) is Status.DONE:  # it was too fast
            break
        assert store.status(key, None) is Status.DEAD
    assert attempt(bench.options("killed"), key, lambda: False) == "done"
    assert numbers(bench.result(key, "killed")) == numbers(done[0])
    one, two = arrays(done[1]), arrays(folder)
    assert one.keys() == two.keys() and all(np.array_equal(one[name], two[name]) for name in one)
    assert len(read_lines(folder / "history.jsonl")) == 3 and not (folder / "last.pt").exists()
