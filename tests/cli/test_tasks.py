"""Masks through the real command line: what is chosen where nothing is said, what is refused, what the other commands make of them."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from benchmark.cli import main
from benchmark.tasks import TASKS

MASKS = '''
"""Toys with masks."""
import os
import time

import numpy as np

from benchmark.api import Dataset, Noise, dataset, method, noise
from benchmark.segmentation.arrays import MaskArrays
from benchmark.segmentation.method import MaskMethod


@dataset("toy_masks", task="segmentation", version=1)
class ToyMasks(Dataset):
    """Forty bright discs of ten patients, two organs that overlap."""

    def load(self, root):
        rng = np.random.default_rng(0)
        rows, columns = np.mgrid[:16, :16]
        centre = rng.uniform(5, 11, (40, 2, 2, 1, 1))
        masks = (np.hypot(rows - centre[:, :, 0], columns - centre[:, :, 1]) < 4).astype(np.uint8)
        images = (rng.normal(50, 15, (40, 16, 16)) + 60 * masks[:, 0] + 90 * masks[:, 1]).clip(0, 255).astype(np.uint8)
        return MaskArrays(images[..., None], masks, ("left", "right"), ("background", "organ"), groups=np.arange(40) // 4)


@noise("shifted", task="segmentation", version=1)
class Shifted(Noise):
    """Half of the masks lie three pixels too far to the right."""

    def apply(self, samples, rng):
        noisy = samples.labels.copy()
        chosen = rng.permutation(len(noisy))[: len(noisy) // 2]
        noisy[chosen] = np.roll(noisy[chosen], 3, axis=3)
        return noisy


@method("slow_masks", task="segmentation")
class SlowMasks(MaskMethod):
    """Takes its time."""

    def training_step(self, batch, networks, epoch):
        time.sleep(float(os.environ.get("NAP", "0")))
        return super().training_step(batch, networks, epoch)
'''

SMALL = ("--epochs", "1", "--device", "cpu", "--jobs", "1", "--no-tracking")


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def masks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plugin file."""
    path = tmp_path_factory.mktemp("plugins") / "toy_masks.py"
    path.write_text(MASKS, encoding="utf-8")
    return path


@pytest.fixture
def call(masks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Runs one command in this process, in an empty folder; returns its exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    for name in ("BENCHMARK_PLUGINS", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)

    def call(*words: str) -> tuple[int, str, str]:
        code = main([*words, "--plugin", str(masks)])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call


@pytest.fixture(scope="module")
def both(masks: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A runs folder with runs on masks (two seeds) and one on classes; no test changes it."""
    runs = tmp_path_factory.mktemp("both") / "runs"
    common = (*SMALL, "--quiet", "--plugin", str(masks), "--runs", str(runs), "--baseline", "none")
    assert main(["run", "--methods", "seg_ce", "--datasets", "toy_masks", "--noise", "shifted", "--seeds", "0-1", *common]) == 0
    assert main(["run", "--methods", "ce", "--datasets", "digits", *common]) == 0
    return runs


def key_of_masks(runs: Path) -> str:
    return next(path.parent.name for path in runs.glob("*/spec.json") if json.loads(path.read_text())["dataset"]["name"] == "toy_masks")


def planned(out: str) -> list[list[str]]:
    """Method, data set and noise of each planned cell."""
    return [line.split()[1:4] for line in out.split("\n\n", maxsplit=1)[0].splitlines()[1:]]


# ---------------------------------------------------------------------------------------------------------- choices


@pytest.mark.parametrize(
    ("words", "task"),
    [
        ((), "classification"),
        (("--task", "classification"), "classification"),
        (("--noise", "none"), "classification"),
        (("--task", "segmentation"), "segmentation"),
        (("--task", "segmentation", "--noise", "none"), "segmentation"),
        (("--methods", "seg_ce"), "segmentation"),
        (("--datasets", "toy_masks"), "segmentation"),
        (("--noise", "shifted"), "segmentation"),
        (("--noise", "shifted+human"), "segmentation"),
        (("--methods", "seg_ce", "--noise", "0.3"), "segmentation"),
    ],
)
def test_what_is_not_said_follows_from_what_is(call, words: tuple[str, ...], task: str, tmp_path: Path) -> None:
    code, out, err = call("run", *words, "--dry-run")
    assert code == 0, err
    usual, given, cells = TASKS[task], dict(zip(words[::2], words[1::2], strict=True)), planned(out)
    methods = given.get("--methods", usual.methods).split(",")
    assert {cell[0] for cell in cells} == {usual.baseline, *methods}
    assert {cell[1] for cell in cells} == {given.get("--datasets", usual.datasets)}
    assert not any(tmp_path.iterdir())


def test_a_bare_number_is_the_task_s_noise(call) -> None:
    for words, label in ((("--datasets", "toy_masks"), "mask:0.3"), (("--datasets", "digits"), "symmetric:0.3")):
        code, out, _ = call("run", *words, "--noise", "0.3", "--dry-run")
        assert code == 0 and {cell[2] for cell in planned(out)} == {label}


def test_the_protocol_is_the_task_s(call, tmp_path: Path) -> None:
    from benchmark.spec import TrainingProtocol

    common = ("--methods", "slow_masks", "--datasets", "toy_masks", "--noise", "none", "--baseline", "none", *SMALL, "--quiet")
    assert call("run", *common, "--set", "protocol.batch_size=16")[0] == 0
    (path,) = (tmp_path / "runs").glob("*/spec.json")
    found = json.loads(path.read_text())["protocol"]
    usual = vars(TrainingProtocol()) | TASKS["segmentation"].protocols["quick"]
    assert found == {**usual, "name": "quick", "epochs": 1, "batch_size": 16}


# --------------------------------------------------------------------------------------------------------- refusals

OF_MASKS = ("run", "--methods", "seg_ce", "--datasets", "toy_masks", "--noise", "shifted")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("run", "--methods", "ce", "--datasets", "toy_masks"), "method ce is for classification and data set toy_masks is for seg"),
        (("run", "--methods", "seg_ce", "--datasets", "digits"), "method seg_ce is for segmentation and data set digits is for"),
        (("run", "--methods", "seg_ce,hsa"), "method hsa is for classification and method seg_ce is for segmentation"),
        (("run", "--datasets", "toy_masks,digits"), "data set digits is for classification and data set toy_masks is for segmentation"),
        (("run", "--datasets", "digits", "--noise", "shifted"), "noise shifted is for segmentation and data set digits is for cl"),
        ((*OF_MASKS[:-1], "symmetric:0.2"), "noise symmetric is for classification and bags and data set toy_masks is for"),
        ((*OF_MASKS[:-1], "shifted+symmetric:0.2"), "noise symmetric is for classification and bags and data set toy_masks is for"),
        ((*OF_MASKS, "--task", "classification"), "data set toy_masks is for segmentation and --task is classification"),
        (("run", "--methods", "ce", "--task", "segmentation"), "method ce is for classification and --task is segmentation"),
        ((*OF_MASKS, "--task", "segmentaton"), "unknown task 'segmentaton'; did you mean 'segmentation'?"),
        ((*OF_MASKS, "--baseline", "ce"), "method ce is for classification and data set toy_masks is for segmentation"),
        ((*OF_MASKS, "--features", "identity"), "--features: frozen features have no pixels, so masks cannot be learned from them"),
        ((*OF_MASKS[:4], "toy_masks:features=identity"), "toy_masks is a set for segmentation, where features means nothing; leave it out"),
        ((*OF_MASKS[:4], "toy_masks:imbalance=10"), "toy_masks is a set for segmentation, where imbalance means nothing; leave it out"),
        ((*OF_MASKS[:4], "toy_masks:label_file=x.csv"), "toy_masks is a set for segmentation, where label_file means nothing; leave"),
        ((*OF_MASKS, "--set", "protocol.backbone=resnet18"), "unknown protocol.backbone 'resnet18'; known: unet:timm:<name>, vnet2d"),
        ((*OF_MASKS, "--set", "protocol.backbone=vnet_smal"), "unknown protocol.backbone 'vnet_smal'; did you mean 'vnet_small'"),
        ((*OF_MASKS, "--protocol", "quik"), "unknown protocol 'quik'; did you mean 'quick'?"),
        (("run", "--methods", "ce", "--set", "protocol.backbone=vnet_small"), "unknown protocol.backbone 'vnet_small'; did you mean"),
        (("run", "--datasets", ",,"), "--datasets ',,': a setting is empty"),
        (("run", "--methods", ",,"), "--methods ',,': a setting is empty"),
    ],
)  # fmt: skip
def test_labels_are_not_mixed(call, tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    code, out, err = call(*words)
    assert code == 2 and out == "" and err.startswith(f"error: {message}") and err.count("\n") == 1, err
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("budget", "--datasets", "toy_masks"), "method alr is for classification and data set toy_masks is for segmentation"),
        (("budget", "--methods", "seg_ce"), "--methods seg_ce: none of them asks for labels; add one that does: alr"),
        (("budget", "--methods", "seg_ce,alr"), "method seg_ce is for segmentation and data set digits is for classification"),
        (("budget", "--reference", "seg_ce"), "method seg_ce is for segmentation and data set digits is for classification"),
        (("budget", "--noise", "shifted"), "noise shifted is for segmentation and data set digits is for classification"),
        (("noise", "export", "--datasets", "toy_masks", "--noise", "pairflip:0.2"), "noise pairflip is for classification and bags and"),
        (("noise", "export", "--noise", "shifted", "--datasets", "digits"), "noise shifted is for segmentation and data set digits is for"),
        (("noise", "export", "--datasets", "toy_masks", "--out", "x.csv"), "--out x.csv: masks are written as .npz only"),
        (("noise", "export", "--datasets", "toy_masks", "--noise", "shifted", "--out", "a/b.npz"), "masks cannot be written to a/b.npz: "),
    ],
)  # fmt: skip
def test_commands_that_have_no_use_for_masks_say_so(call, tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    code, out, err = call(*words)
    assert code == 2 and out == "" and err.startswith(f"error: {message}") and err.count("\n") == 1, err
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("noise", ["mask:0.5:beta=3+4+5", "mask:0.5:beta=3+4+5,none", "shifted+mask:0.5:beta=rel0.1+4+5"])
def test_another_number_of_radii_than_organs_is_refused_before_the_first_run(call, tmp_path: Path, noise: str) -> None:
    code, out, err = call(*OF_MASKS[:-1], noise, *SMALL, "--quiet")
    beta = noise.split("beta=")[1].split(",", maxsplit=1)[0]
    line = f"error: toy_masks: mask.beta = {beta} gives 3 radii, and the tasks are 2 (left, right); give one for all, or one each\n"
    assert (code, out, err) == (2, "", line)
    assert not list(tmp_path.rglob("*.json"))
    assert call(*OF_MASKS[:-1], "mask:0.5:beta=3+4", *SMALL, "--quiet")[0] == 0


def test_commands_on_finished_runs_of_masks_say_so(call, both: Path, tmp_path: Path) -> None:
    key = key_of_masks(both)
    code, out, err = call("relabel", "export", key, "--out", "out", "--runs", str(both))
    assert (code, out) == (2, "") and not (tmp_path / "out").exists()
    assert err == f"error: run {key} is of segmentation; labels go to annotators and back only where each image has one class\n"
    code, out, err = call("retention", "--runs", str(both), "--datasets", "toy_masks")
    assert (code, out) == (2, "")
    assert err == "error: these runs are of segmentation; retention is of images with one class each, see --datasets\n"
    code, _, err = call("retention", "--runs", str(both))  # the run on classes is alone, and nobody knows what is hard
    assert code == 2 and err.startswith("error: which samples of digits are hard is not known") and err.count("\n") == 1


# ------------------------------------------------------------------------------------------------------------- runs


def test_run_then_run_again_does_nothing(call, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("run", "--methods", "slow_masks", "--datasets", "toy_masks", "--noise", "shifted", *SMALL)
    code, out, err = call(*words)
    assert code == 0 and "[2/2] done     seg_ce toy_masks shifted seed 0" in err
    assert re.search(r"^ slow_masks +1 ", out, re.MULTILINE) and "Dice sel" in out and "ranked by selected/dice" in out
    assert "slow_masks against seg_ce: " in call("report", "--format", "md")[1].replace("\\", "")
    code, out, err = call(*words, "--format", "json")
    assert code == 0 and "2 done; nothing to run" in err
    assert {row["method"] for row in json.loads(out)["tasks"]["segmentation"]["runs"]} == {"slow_masks", "seg_ce"}
    assert main(["rescore"]) == 0 and capsys.readouterr().out == "0 runs changed\n"


def test_a_report_of_both_tasks(call, both: Path, tmp_path: Path) -> None:
    report = ("report", "--runs", str(both))
    code, out, err = call(*report)
    assert (code, err) == (0, "")
    assert out.index("acc sel") < out.index("ranked by selected/accuracy") < out.index("Dice sel") < out.index("ranked by selected/dice")
    code, out, _ = call(*report, "--format", "json")
    assert code == 0 and list(json.loads(out)["tasks"]) == ["classification", "segmentation"]
    code, out, _ = call(*report, "--format", "csv")
    lines = list(csv.DictReader(io.StringIO(out)))
    assert code == 0 and [line["task"] for line in lines] == ["classification", "segmentation"]
    assert [bool(line["selected/accuracy"]) for line in lines] == [True, False] == [not line["selected/dice"] for line in lines]
    for words in (("--rank-by", "last/dice"), ("--columns", "last/dice"), ("--compare", "seg_ce,seg_cl")):
        code, out, err = call(*report, *words)
        assert (code, out, err.count("\n")) == (2, "", 1) and "classification and segmentation" in err and "choose one with --task" in err
    code, out, _ = call(*report, "--format", "json", "--task", "segmentation")
    assert code == 0 and list(json.loads(out)["tasks"]) == ["segmentation"]
    assert call(*report, "--rank-by", "last/dice", "--task", "segmentation")[0] == 0
    code, _, err = call(*report, "--rank-by", "last/dce", "--task", "segmentation")
    assert code == 2 and "did you mean 'last/dice'" in err
    code, _, err = call(*report, "--task", "segmentaton")
    assert code == 2 and err.startswith("error: unknown --task 'segmentaton'; did you mean 'segmentation'") and err.count("\n") == 1


def test_a_report_of_a_task_that_has_no_runs(call, masks: Path) -> None:
    common = ("--datasets", "toy_masks", "--noise", "none", "--baseline", "none", *SMALL, "--quiet")
    assert call("run", "--methods", "seg_ce", *common)[0] == 0
    code, _, err = call("report", "--task", "classification")
    assert code == 2 and err == "error: no finished runs of classification in runs; see: python -m benchmark status --runs runs\n"
    assert call("report", "--format", "csv")[0] == 0  # of one task, nothing need be chosen


def test_a_run_on_masks_can_be_shown(call, both: Path) -> None:
    code, out, _ = call("show", key_of_masks(both), "--runs", str(both))
    assert code == 0 and "selected/dice" in out and "tasks/left/dice" in out
    code, out, _ = call("status", "--runs", str(both), "--json")
    assert code == 0 and json.loads(out)["counts"] == {"done": 3}


def test_the_lists_say_what_each_plugin_is_for(call) -> None:
    for section, name, task in (
        *(("methods", "seg_ce", "segmentation"), ("methods", "hsa", "classification"), ("noise", "shifted", "segmentation")),
        *(("noise", "human", "any"), ("datasets", "toy_masks", "segmentation"), ("datasets", "digits", "classification")),
    ):
        code, out, _ = call("list", section)
        assert code == 0
        assert next(line.split()[1] for line in out.splitlines() if line.split()[0] == name) == task
    code, out, _ = call("list", "protocols")
    assert code == 0 and "for segmentation: backbone=vnet_small" in out
    code, out, _ = call("show", "quick")
    assert code == 0 and "For segmentation it changes: backbone=vnet_small" in out


def test_a_draw_of_mask_noise_as_a_file(call, both: Path, tmp_path: Path) -> None:
    words = ("noise", "export", "--datasets", "toy_masks", "--noise", "shifted", "--out", "masks.npz")
    code, out, err = call(*words)
    assert code == 0 and "objects gone" in out and [line.split()[0] for line in out.splitlines()[-2:]] == ["left", "right"]
    code, out, _ = call(*words, "--json")
    told = json.loads(out)
    with np.load(both / key_of_seed(both, 0) / "predictions.npz", allow_pickle=False) as run:
        given, true = run["train_given"], run["train_true"]
    with np.load(tmp_path / "masks.npz", allow_pickle=False) as file:
        found = dict(file.items())
    n = len(given)
    np.testing.assert_array_equal(found["masks"][:n], given)  # what the run with this seed trains on
    assert found["masks"].dtype == np.uint8 and len(found["index"]) == len(set(found["index"].tolist())) == len(found["masks"])
    assert found["tasks"].tolist() == ["left", "right"] and found["classes"].tolist() == ["background", "organ"]
    assert json.loads(str(found["record"]))["tasks"] == told["tasks"]
    assert told["tasks"]["left"]["pixel_error_rate"] == pytest.approx(float((given != true)[:, 0].mean()))
    assert f"{len(found['masks'])} images in masks.npz" in err


def key_of_seed(runs: Path, seed: int) -> str:
    for path in runs.glob("*/spec.json"):
        spec = json.loads(path.read_text())
        if (spec["dataset"]["name"], spec["seed"]) == ("toy_masks", seed):
            return path.parent.name
    raise AssertionError("there is no such run")


# ------------------------------------------------------------------------------------------------------------ kills


@pytest.mark.slow
def test_a_killed_command_goes_on_and_ends_with_the_same_numbers(masks: Path, tmp_path: Path) -> None:
    """SIGKILL of the whole command once a checkpoint is there, then the same command again."""
    words = [sys.executable, "-m", "benchmark", "run", "--methods", "slow_masks", "--baseline", "none", "--datasets", "toy_masks"]
    words += ["--noise", "shifted", "--epochs", "30", "--device", "cpu", "--jobs", "1", "--no-tracking", "--plugin", str(masks)]
    usual = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}

    def finished(runs: str) -> dict:
        done = subprocess.run([*words, "--runs", runs], env=usual, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=240)
        assert done.returncode == 0, done.stderr
        (path,) = (tmp_path / runs).glob("*/result.json")
        return {"said": done.stderr, "folder": path.parent, **json.loads(path.read_text())}

    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    command = subprocess.Popen([*words, "--runs", "killed"], env={**usual, "NAP": "0.2"}, cwd=tmp_path, **quiet)
    deadline = time.monotonic() + 120
    while not list((tmp_path / "killed").glob("*/last.pt")):
        assert time.monotonic() < deadline and command.poll() is None
        time.sleep(0.02)
    command.kill()
    command.wait()
    again, whole = finished("killed"), finished("whole")
    assert "1 dead; 1 to run" in again["said"]
    assert (again["metrics"], again["epochs"], again["noise"]) == (whole["metrics"], whole["epochs"], whole["noise"])
    lines = [[json.loads(line) for line in (each["folder"] / "history.jsonl").read_text().splitlines()] for each in (again, whole)]
    kept = [{name: value for name, value in line.items() if name not in ("seconds", "time")} for line in lines[0]]
    assert kept == [{name: value for name, value in line.items() if name not in ("seconds", "time")} for line in lines[1]]
    assert lines[0][1]["seconds"] > 1  # seven batches with a nap each: its first epochs are those of the killed command
    assert all(0 <= line["test_dice"] <= 1 and 0 <= line["val_dice"] <= 1 for line in kept) and len(kept) == 30
