"""``gallery`` as a user meets it: what it writes, and what it refuses in one line."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmark.cli import main

PLUGIN = '''
"""Squares on noise."""
import numpy as np
import torch.nn.functional as F

from benchmark.api import Dataset, Method, dataset, method
from benchmark.segmentation.arrays import MaskArrays
from benchmark.segmentation.method import MaskMethod


@dataset("squares", version=1, task="segmentation")
class Squares(Dataset):
    """Twelve images with a bright square."""

    def fingerprint(self, root):
        found = root / "version.txt"
        return found.read_text() if found.exists() else "first"

    def load(self, root):
        """Each square is elsewhere."""
        labels = np.zeros((12, 1, 16, 16), dtype=np.uint8)
        for place in range(12):
            labels[place, :, 2 + place % 6 : 9, 3:10] = 1
        images = (np.random.default_rng(0).integers(0, 60, (12, 16, 16, 1)) + 150 * labels.transpose(0, 2, 3, 1)).astype(np.uint8)
        return MaskArrays(images, labels, ("a<b>",), ("background", "square"), paths=[f"<i>{n}.png" for n in range(12)])


@dataset("unchecked", version=1, task="segmentation")
class Unchecked(Squares):
    """The same as a user's own: nobody has looked whether they are right."""

    labels_are_truth = False


@method("mends", task="segmentation")
class Mends(MaskMethod):
    """Says that nothing is there."""

    def corrected_labels(self):
        return self.given * 0

    def fit(self, data, run):
        self.given = data.labels
        return super().fit(data, run)
'''
BASE = ("run", "--epochs", "1", "--device", "cpu", "--jobs", "1", "--no-tracking", "--quiet")
MASKS = ("--datasets", "squares", "--noise", "mask:0.5", "--set", "protocol.batch_size=4")


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plugins") / "squares.py"
    path.write_text(PLUGIN, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def finished(plugin: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Two methods on masks, one of them with a second seed."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("finished")
    where = ("--runs", str(root / "runs"), "--plugin", str(plugin), "--data-root", str(root / "data"))
    assert main([*BASE, *MASKS, *where, "--methods", "seg_ce,mends"]) == 0
    assert main([*BASE, *MASKS, *where, "--methods", "mends", "--seeds", "1", "--baseline", "none"]) == 0
    yield root
    torch.set_num_threads(threads)


@pytest.fixture
def gallery(finished: Path, plugin: Path, tmp_path: Path) -> Callable[..., int]:
    """Runs the command on a copy of the runs."""
    shutil.copytree(finished / "runs", tmp_path / "runs")

    def call(*words: str, known: bool = True) -> int:
        options = {"--runs": str(tmp_path / "runs"), "--out": str(tmp_path / "out"), "--data-root": str(tmp_path / "data")}
        options |= {"--plugin": str(plugin)} if known else {}
        return main(["gallery", *words, *(part for pair in options.items() if pair[0] not in words for part in pair)])

    return call


def keys_of(runs: Path) -> dict[tuple[str, int], Path]:
    """Method and seed → a run's folder."""
    specs = {path.parent: json.loads(path.read_text()) for path in runs.glob("*/spec.json")}
    return {(spec["method"]["name"], spec["seed"]): folder for folder, spec in specs.items()}


def told(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on stderr; nothing may be on stdout."""
    printed = capsys.readouterr()
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1, printed.err
    return printed.err.removeprefix("error: ").rstrip("\n")


def test_all_of_the_first_seed_on_one_sheet(gallery, tmp_path: Path, capsys) -> None:
    from PIL import Image

    assert gallery("--worst", "2", "--random", "1", "--test", "2") == 0
    printed = capsys.readouterr()
    out = tmp_path / "out"
    assert printed.out == f"2 runs on 1 sheet in {out}; open {out / 'gallery.html'}\n"
    first, *files = printed.err.splitlines()
    assert first == "note: 1 run with other seeds not shown; name their keys to see them"
    assert [re.sub(r" \(\d+ KiB\)", "", line) for line in files] == [f"written: {out / n}" for n in ("overlays.png", "gallery.html")]
    assert sorted(path.name for path in out.iterdir()) == ["gallery.html", "overlays.png"]
    with Image.open(out / "overlays.png") as sheet:
        assert sheet.width == 2 * 28 + 6 * 266 - 10  # image, given, flagged, flagged, corrected, truth

    page = (out / "gallery.html").read_text(encoding="utf-8")
    assert page.count("<h3") == 2 and "http:" not in page and "https:" not in page and "<script" not in page
    assert "squares · mask:0.5 · seed 0" in page and "a&lt;b&gt;" in page and "<i>" not in page.replace('<i class="key"', "")
    assert re.findall(r"index (\d+) · [a-z0-9 ]+<br>&lt;i&gt;(\d+)\.png", page)
    assert all(index == name for index, name in re.findall(r"index (\d+) · [a-z0-9 ]+<br>&lt;i&gt;(\d+)\.png", page))
    figures = re.findall(r"<figcaption><b>(\w+)</b>", page)
    corrected = ["image", "given", "flagged", "corrected", "truth"]
    tested = ["image", "prediction", "truth"]
    assert figures == [name for name in corrected if name != "corrected"] * 3 + tested * 2 + corrected * 3 + tested * 2
    mended = keys_of(tmp_path / "runs")["mends", 0]
    numbers = json.loads((mended / "result.json").read_text())["metrics"]["correction"]
    assert f"Dice of the given masks {100 * numbers['dice_before']:.1f} → 0.0 % when corrected" in page
    assert page.count("Dice 0.0 %<br>") >= 3  # below each mask that was emptied

    before = (out / "overlays.png").read_bytes()
    assert gallery("--worst", "2", "--random", "1", "--test", "2") == 0  # an earlier gallery is replaced, by the same
    assert (out / "overlays.png").read_bytes() == before
    capsys.readouterr()


def test_named_runs_methods_and_json(gallery, tmp_path: Path, capsys) -> None:
    found = keys_of(tmp_path / "runs")
    first, second = found["mends", 0].name, found["mends", 1].name
    assert gallery(second, first[:12], second, "--json", "--worst", "1", "--random", "0", "--test", "0") == 0
    printed = capsys.readouterr()
    sheets = json.loads(printed.out)["sheets"]
    assert [sheet["runs"] for sheet in sheets] == [[first], [second]]
    assert [sheet["file"] for sheet in sheets] == ["overlays-1-squares-mask-0.5-0.png", "overlays-2-squares-mask-0.5-1.png"]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"gallery.html", *(sheet["file"] for sheet in sheets)}

    assert gallery("--methods", "seg_ce", "--worst", "1", "--random", "0", "--test", "0") == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"gallery.html", "overlays.png"}  # no sheet of before is left
    page = (tmp_path / "out" / "gallery.html").read_text(encoding="utf-8")
    assert ">seg_ce</h3>" in page and ">mends</h3>" not in page and "corrected" not in page


def test_of_masks_that_nobody_has_checked_there_is_no_truth_to_tell(plugin: Path, tmp_path: Path, capsys) -> None:
    where = ("--runs", str(tmp_path / "runs"), "--plugin", str(plugin), "--data-root", str(tmp_path))
    assert main([*BASE, "--datasets", "unchecked", "--noise", "none", "--methods", "seg_ce", *where]) == 0
    assert main(["gallery", *where, "--out", str(tmp_path / "out"), "--worst", "1", "--random", "0", "--test", "0"]) == 0
    page = (tmp_path / "out" / "gallery.html").read_text(encoding="utf-8")
    assert re.findall(r"<figcaption><b>(\w+)</b>", page) == ["image", "given", "flagged"]
    assert "whether it is wrong is not known" in page and "% wrong" not in page
    noisy = (*MASKS[2:], "--methods", "seg_ce", "--datasets", "unchecked")
    assert main([*BASE, *noisy, *where]) == 0  # what was drawn into them is known
    capsys.readouterr()
    assert main(["report", *where[:4], "--columns", "selected/dice,detection/f1,detection/flagged", "--format", "csv"]) == 0
    rows = {row["noise"]: row for row in csv.DictReader(io.StringIO(capsys.readouterr().out))}
    assert rows.keys() == {"none", "mask:0.5"}, rows
    assert rows["none"]["detection/f1"] == "" and rows["none"]["detection/flagged"] and rows["mask:0.5"]["detection/f1"], rows


def test_masks_that_are_right_without_noise_have_nothing_to_find(plugin: Path, tmp_path: Path, capsys) -> None:
    where = ("--runs", str(tmp_path / "runs"), "--plugin", str(plugin), "--data-root", str(tmp_path))
    assert main([*BASE, "--datasets", "squares", "--noise", "none", "--methods", "seg_ce", *where]) == 0
    assert main(["gallery", *where, "--out", str(tmp_path / "out"), "--worst", "1", "--random", "0", "--test", "0"]) == 0
    page = (tmp_path / "out" / "gallery.html").read_text(encoding="utf-8")
    assert re.findall(r"<figcaption><b>(\w+)</b>", page) == ["image", "given", "flagged", "truth"] and "0.0 % wrong" in page


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--worst", "0", "--random", "0", "--test", "0"), "--worst, --random and --test are all 0, so there is nothing to show"),
        (("--worst", "-1"), "Invalid value for '--worst': Input should be greater than or equal to 0"),
        (("--methods", "mend"), "unknown method 'mend'; did you mean 'mends'?; known: mends, seg_ce"),
        (("--datasets", "sqares"), "unknown dataset 'sqares'; did you mean 'squares'?"),
        (("--noise", "symmetric"), "unknown noise 'symmetric'"),
        (("--runs", "nowhere"), "runs folder nowhere does not exist; check --runs DIR"),
        (("zzz",), "unknown run 'zzz'; known: "),
        (("--out", "FILE"), "--out FILE is a file; give a folder"),
        (("--out", "FOLDER"), "--out FOLDER holds mine.txt, which this command did not write; choose another folder"),
        (("--out", "FILE/below"), "--out FILE/below: nothing can be written to FILE; give another folder"),
    ],
)
def test_bad_input(gallery, words, message, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    Path("FILE").write_text("x")
    Path("FOLDER").mkdir()
    Path("FOLDER/mine.txt").write_text("mine")
    before = sorted(str(path) for path in tmp_path.iterdir())
    assert gallery(*words) == 2
    assert told(capsys).startswith(message)
    assert sorted(str(path) for path in tmp_path.iterdir()) == before
    assert Path("FOLDER/mine.txt").read_text() == "mine" and len(list(Path("FOLDER").iterdir())) == 1


def test_a_key_with_a_slip(gallery, tmp_path: Path, capsys) -> None:
    key = keys_of(tmp_path / "runs")["mends", 0].name
    slip = f"{key[:-1]}{'0' if key[-1] != '0' else '1'}"
    assert gallery(slip) == 2
    assert told(capsys).startswith(f"unknown run '{slip}'; did you mean '{key}'")

    for name in ("aaaa000000000000", "aaaa000000000001"):
        (tmp_path / "runs" / name).mkdir()
    assert gallery("AAAA") == 2
    assert told(capsys) == "'AAAA' begins 2 keys: aaaa000000000000, aaaa000000000001; write more digits"
    assert gallery("aaaa000000000000") == 2
    assert told(capsys) == f"run aaaa000000000000 has no result yet; see: python -m benchmark status --runs {tmp_path / 'runs'}"


def test_runs_that_have_nothing_to_show(gallery, tmp_path: Path, capsys) -> None:
    folder = keys_of(tmp_path / "runs")["mends", 0]
    path, result = folder / "result.json", json.loads((folder / "result.json").read_text())
    path.write_text(json.dumps({**result, "status": "diverged", "reason": "loss is nan", "metrics": {}}))
    assert gallery(folder.name) == 2
    assert told(capsys) == f"run {folder.name} is diverged (loss is nan), so there is nothing to show of it; name another"

    for told_of, task, command in (({}, "classification", "relabel export"), ({"task": "bags"}, "bags", "heatmaps")):
        path.write_text(json.dumps({**result, "data": {"n_train": 3, **told_of}}))
        assert gallery(folder.name) == 2
        instead = f"python -m benchmark {command} {folder.name} --runs {tmp_path / 'runs'} --out DIR"
        why = "so there is nothing to lay over its images; look at it with"
        assert told(capsys) == f"run {folder.name} is of {task}, not on masks, {why}: {instead}"
    for (method, _), other in keys_of(tmp_path / "runs").items():
        if method == "seg_ce" or other != folder:
            shutil.rmtree(other)
    assert gallery() == 2
    assert told(capsys).startswith(f"no finished runs on masks in {tmp_path / 'runs'}; see: python -m benchmark status")
    assert not (tmp_path / "out").exists()


def test_names_that_no_run_has_at_once(gallery, tmp_path: Path, capsys) -> None:
    path = keys_of(tmp_path / "runs")["seg_ce", 0] / "result.json"
    result = json.loads(path.read_text())
    result["spec"]["labels"]["noise"], result["spec"]["noise"]["version"] = "other", 99
    path.write_text(json.dumps(result))
    assert gallery("--methods", "mends", "--noise", "other") == 2
    assert told(capsys) == "no run on masks has all of these names at once; choose other --methods, --datasets or --noise"


def test_data_that_have_changed(gallery, plugin: Path, tmp_path: Path, capsys) -> None:
    folder = keys_of(tmp_path / "runs")["seg_ce", 0]
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "version.txt").write_text("second")
    assert gallery(folder.name) == 2
    assert told(capsys).startswith(f"squares has changed since run {folder.name}, so its images cannot be shown; give the command")
    (tmp_path / "data" / "version.txt").unlink()
    with np.load(folder / "predictions.npz") as file:
        arrays = dict(file)
    arrays["train_given"] = 1 - arrays["train_given"]
    np.savez(folder / "predictions.npz", **arrays)
    assert gallery(folder.name) == 2
    assert told(capsys) == f"the data of run {folder.name} are other ones by now: their masks differ; run the cell again"
    (folder / "predictions.npz").write_bytes(b"PK")
    assert gallery() == 2
    assert told(capsys).startswith(f"{folder / 'predictions.npz'} is corrupt (")
    assert gallery(folder.name, known=False) == 2
    assert told(capsys).startswith("unknown dataset 'squares'")
    assert not (tmp_path / "out").exists()


def test_help_loads_nothing_heavy() -> None:
    code = "import sys; from benchmark.cli import main; main(['gallery', '--help']); "
    code += "print(*{'torch', 'numpy', 'pandas', 'matplotlib', 'PIL', 'pyarrow'} & set(sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert "--worst" in done.stdout
    assert done.stderr.strip() == ""
