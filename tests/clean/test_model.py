"""Networks that leave the harness: kept without a change of any number, exported to the same bytes, loaded without trust."""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from benchmark import driver, worker
from benchmark.clean import exporting, onnx_file, weights
from benchmark.clean.exporting import export_model
from benchmark.clean.model import load_model
from benchmark.engines.base import Outcome, WorkerOptions
from benchmark.errors import BenchmarkError
from benchmark.grammar import parse_settings
from benchmark.registry import Registry
from benchmark.spec import RunSpec, expand, protocol
from benchmark.store import RunStore

STRAY = '''
"""A method that predicts with other networks than it returns."""
import torch.nn.functional as F

from benchmark.api import Method, method
from benchmark.training.loop import fit_single_stage


@method("stray")
class Stray(Method):
    """Cross-entropy."""

    def training_step(self, batch, networks, epoch):
        return F.cross_entropy(networks[0](batch.images), batch.labels)

    def fit(self, data, run):
        fit_single_stage(self, data, run)
        return run.networks(1, name="fresh")
'''
MODES = ("RGB", "RGB", "RGBA", "P", "L", "I;16", "rotated")
SIZES = ((12, 10), (9, 9), (16, 20))


class Place:
    """Image files of two classes, and a runs folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.store = folder, RunStore(folder / "runs")
        (folder / "stray.py").write_text(STRAY)
        self.plugins = (str(folder / "stray.py"),)
        self.registry = Registry(self.plugins)
        rng = np.random.default_rng(0)
        for number in range(70):
            label = ("dark", "bright")[number % 2]
            path = folder / "images" / label / f"{number}.{'jpg' if MODES[number % 7] == 'rotated' else 'png'}"
            path.parent.mkdir(parents=True, exist_ok=True)
            _draw(path, MODES[number % 7], rng.integers(0, 110, (*SIZES[number % 3], 3)) + 130 * (number % 2))

    def spec(self, method: str = "ce", data: str = "image_size=8", **settings: Any) -> RunSpec:
        settings = {"epochs": 2, "batch_size": 16, "last_k": 2, **settings}
        (spec,) = expand(
            self.registry,
            methods=parse_settings(method, what="method"),
            datasets=parse_settings(f"folder:path={self.folder / 'images'}:{data}", what="dataset"),
            noise=parse_settings("none", what="noise"),
            seeds=[0],
            protocol=protocol("quick", settings),
            data_root=self.folder / "data",
        )
        return spec

    def options(self, runs: str = "runs", **changes: Any) -> WorkerOptions:
        settings = {"device": "cpu", "data_root": self.folder / "data", "checkpoint_seconds": 0.0, "keep_model": True, **changes}
        return WorkerOptions(self.folder / runs, plugins=self.plugins, **settings)

    def run(self, spec: RunSpec, runs: str = "runs", on_event: Callable[[Any], None] = lambda event: None, **changes: Any) -> Outcome:
        key = RunStore(self.folder / runs).register(spec)
        return worker.execute(key, self.options(runs, **changes), on_event)

    def trained(self, spec: RunSpec) -> Path:
        """The folder of a finished run that has kept its networks."""
        outcome = self.run(spec)
        assert (outcome.status, outcome.message) == ("done", "")
        return self.store.folder(spec.key())

    def test_part(self, spec: RunSpec) -> list[Path]:
        """The files of a run's test part: all that are in none of the others."""
        from benchmark.prepare import prepare

        prepared = prepare(spec, self.registry, self.folder / "data")
        return [self.folder / "images" / prepared.arrays.paths[position] for position in prepared.indices["test"]]


def _draw(path: Path, mode: str, pixels: np.ndarray) -> None:
    image = Image.fromarray(pixels.astype(np.uint8))
    if mode == "I;16":
        Image.fromarray(pixels[:, :, 0].astype(np.uint16) * 257).save(path)
    elif mode == "rotated":
        exif = Image.Exif()
        exif[0x0112] = 6
        image.save(path, exif=exif, quality=95)
    else:
        image.convert(mode).save(path)


def last(run: Path) -> np.ndarray:
    with np.load(run / "predictions.npz", allow_pickle=False) as file:
        return file["test_last_k"][-1]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def run(place: Place) -> Path:
    return place.trained(place.spec())


@pytest.fixture
def exported(run: Path, tmp_path: Path) -> Path:
    return export_model(run, tmp_path, {})


# ------------------------------------------------------------------------------------------------------------------ kept


def test_keeping_changes_no_number_and_no_name(place: Place, run: Path) -> None:
    assert place.run(place.spec(), "plain", keep_model=False).status == "done"
    plain = place.folder / "plain" / run.name
    assert not (plain / "model.safetensors").exists()
    with np.load(plain / "predictions.npz") as one, np.load(run / "predictions.npz") as other:
        assert one.files == other.files
        assert all(np.array_equal(one[name], other[name]) for name in one.files)
    hashes = [json.loads((folder / "result.json").read_text())["code_hash"] for folder in (plain, run)]
    assert hashes[0] == hashes[1]
    more = {path.name for path in run.iterdir()} - {path.name for path in plain.iterdir()}
    assert more - {"system.jsonl"} == {"model.safetensors"}  # that comes with a run of some seconds


def test_a_finished_run_without_its_networks_is_run_again(place: Place) -> None:
    spec = place.spec(batch_size=17)
    place.run(spec, keep_model=False)
    folder = place.store.folder(spec.key())
    (left,) = driver.plan(place.registry, [spec], place.store).cells
    (again,) = driver.plan(place.registry, [spec], place.store, keep_model=True).cells
    assert (left.pending, again.pending) == (False, True)
    before = last(folder)
    assert place.run(spec).status == "done"
    assert (folder / "model.safetensors").is_file() and np.array_equal(last(folder), before)
    assert list((folder / "history").glob("*/result.json"))  # what was there is put away
    (kept,) = driver.plan(place.registry, [spec], place.store, keep_model=True).cells
    assert not kept.pending
    stamp = (folder / "model.safetensors").stat().st_mtime_ns
    assert place.run(spec).status == "done" and (folder / "model.safetensors").stat().st_mtime_ns == stamp


def test_a_resumed_run_keeps_the_same_networks(place: Place, run: Path) -> None:
    def stop(event: dict[str, Any]) -> None:
        if event["event"] == "epoch":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        place.run(place.spec(), "resumed", stop, keep_model=False)
    assert place.run(place.spec(), "resumed").status == "done"
    assert (place.folder / "resumed" / run.name / "model.safetensors").read_bytes() == (run / "model.safetensors").read_bytes()


def test_what_has_a_predictor_of_its_own_is_refused_before_anything_runs(place: Place) -> None:
    spec = place.spec("hsa")
    with pytest.raises(BenchmarkError, match="hsa predicts in a way of its own"):
        driver.plan(place.registry, [spec], place.store, keep_model=True)
    outcome = place.run(spec)
    assert outcome.status == "failed" and outcome.message.startswith("hsa predicts in a way of its own")
    assert [path.name for path in place.store.folder(spec.key()).iterdir()] == ["spec.json"]


def test_other_tasks_are_refused(place: Place) -> None:
    (spec,) = expand(
        place.registry,
        methods=parse_settings("seg_ce", what="method"),
        datasets=parse_settings("chest_shapes", what="dataset"),
        noise=parse_settings("none", what="noise"),
        seeds=[0],
        protocol=protocol("quick", {}, "segmentation"),
        data_root=place.folder / "data",
    )
    with pytest.raises(BenchmarkError, match="of classification only, and chest_shapes is segmentation"):
        driver.plan(place.registry, [spec], place.store, keep_model=True)


def test_networks_that_are_not_the_predictor_are_not_kept(place: Place) -> None:
    spec = place.spec("stray")
    outcome = place.run(spec)
    assert outcome.status == "failed" and "predicts with other networks than fit() returned" in outcome.message
    assert not (place.store.folder(spec.key()) / "model.safetensors").exists()


# --------------------------------------------------------------------------------------------------------------- forecasts


@pytest.mark.parametrize(
    ("method", "data", "settings"),
    [
        ("ce", "image_size=8", {}),
        ("coteaching", "image_size=8", {}),
        ("ce", "image_size=8:channels=1", {"normalize": "imagenet"}),
        ("ce", "image_size=8:features=identity", {"backbone": "linear"}),
        ("ce", "image_size=16:features=texture", {"backbone": "mlp"}),
        ("ce", "image_size=8", {"precision": "bf16"}),
        ("ce", "image_size=16", {"backbone": "timm:test_resnet"}),
    ],
    ids=["colour", "two networks", "grey", "identity", "texture", "bfloat16", "timm"],
)
def test_files_get_the_forecasts_of_the_run(place: Place, tmp_path: Path, method: str, data: str, settings: dict[str, Any]) -> None:
    spec = place.spec(method, data, **settings)
    folder = place.trained(spec)
    model = load_model(export_model(folder, tmp_path, {}), device="cpu")
    files = place.test_part(spec)
    found = model.predict(files)
    assert model.classes == ("bright", "dark") and found.dtype == np.float32
    np.testing.assert_allclose(found, last(folder), rtol=0, atol=1e-6)
    pixels = np.stack([model.read(file) for file in files])
    np.testing.assert_array_equal(model.predict(pixels), found)
    np.testing.assert_allclose(model.predict(files, batch_size=3), found, rtol=0, atol=1e-5)
    assert model.predict([]).shape == (0, 2)


def test_images_of_another_size_are_scaled_as_training_does(exported: Path) -> None:
    from benchmark.data.resize import scaled

    model = load_model(exported, device="cpu")
    images = np.random.default_rng(0).integers(0, 256, (5, 11, 14, 3), dtype=np.uint8)
    np.testing.assert_array_equal(model.predict(images), model.predict(scaled(images, 8)))


def test_a_model_of_oblong_images_cuts_to_their_shape(exported: Path, tmp_path: Path) -> None:
    change(exported, lambda card: card["model"].update(shape=[9, 12, 3]))
    model = load_model(exported, device="cpu")
    Image.fromarray(np.arange(20 * 20 * 3, dtype=np.uint32).astype(np.uint8).reshape(20, 20, 3)).save(tmp_path / "a.png")
    assert model.read(tmp_path / "a.png").shape == (9, 12, 3) and model.predict([tmp_path / "a.png"]).shape == (1, 2)


@pytest.mark.parametrize(
    "images",
    [np.zeros((2, 8, 8, 1), np.uint8), np.zeros((2, 8, 8, 3), np.float32), np.zeros((8, 8, 3), np.uint8)],
    ids=["grey", "float", "one"],
)
def test_arrays_of_another_kind_are_refused(exported: Path, images: np.ndarray) -> None:
    with pytest.raises(BenchmarkError, match=r"takes \(n, H, W, 3\) uint8 images, these are"):
        load_model(exported, device="cpu").predict(images)


def test_a_file_that_is_no_image_is_named(exported: Path, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("no image")
    with pytest.raises(BenchmarkError, match=r"a\.png cannot be read as an image"):
        load_model(exported, device="cpu").predict([tmp_path / "a.png"])


def test_a_loaded_model_does_not_depend_on_its_files(exported: Path) -> None:
    model, images = load_model(exported, device="cpu"), np.full((2, 8, 8, 3), 90, np.uint8)
    before = model.predict(images)
    with (exported / "weights.safetensors").open("r+b") as file:
        file.write(bytes((exported / "weights.safetensors").stat().st_size))
    np.testing.assert_array_equal(model.predict(images), before)


def test_loading_draws_no_random_number(exported: Path) -> None:
    torch.manual_seed(3)
    load_model(exported, device="cpu")
    drawn = torch.rand(1)
    torch.manual_seed(3)
    assert torch.equal(torch.rand(1), drawn)


# ------------------------------------------------------------------------------------------------------------------ export


def test_the_card_says_what_the_model_is(run: Path, tmp_path: Path) -> None:
    said = {"licence": "CC-BY-4.0", "trained_on": {"labels": "corrected"}, "limits": ["Small *images* only."], "title": "<b>Tiles</b>"}
    card = json.loads((export_model(run, tmp_path, said) / "card.json").read_text())
    result = json.loads((run / "result.json").read_text())
    assert card["model"]["classes"] == ["bright", "dark"] and card["model"]["shape"] == [8, 8, 3]
    assert card["trained_on"]["method"] == "ce" and card["trained_on"]["labels"] == "corrected"
    assert card["trained_on"]["images"] == result["data"]["n_train"]
    assert card["accuracy"]["value"] == pytest.approx(result["metrics"]["last"]["accuracy"], abs=1e-6)
    assert card["accuracy"]["samples"] == result["data"]["n_test"]
    assert card["accuracy"]["low"] < card["accuracy"]["value"] <= card["accuracy"]["high"] <= 1
    assert card["date"] == result["finished"] and card["licence"] == "CC-BY-4.0" and card["versions"]["torch"]
    mean = card["input"]["normalisation"]["mean"]
    assert len(mean) == 3 and 0.2 < mean[0] < 0.8
    assert str(run.parents[1]) not in json.dumps(card)  # nobody's folders travel
    text = (tmp_path / "model" / "README.md").read_text()
    assert "# &lt;b&gt;Tiles&lt;/b&gt;" in text and "Small \\*images\\* only." in text and "CC-BY-4.0" in text


def test_the_default_card_says_that_it_is_no_medical_device(exported: Path) -> None:
    assert "Not a medical device" in (exported / "card.json").read_text() and "Not a medical device" in (exported / "README.md").read_text()


def test_the_same_run_and_card_give_the_same_bytes(run: Path, tmp_path: Path) -> None:
    def contents(folder: Path) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in export_model(run, folder, {"title": "T"}).iterdir()}

    first = contents(tmp_path / "a")
    assert first == contents(tmp_path / "b") == contents(tmp_path / "a")  # and a model there is replaced
    assert set(first) == {"weights.safetensors", "card.json", "README.md"}
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["model"]


def test_the_caller_may_say_the_accuracy(run: Path, tmp_path: Path) -> None:
    told = {"value": 0.5, "samples": 2, "labels": "labels judged right"}
    folder = export_model(run, tmp_path, {"accuracy": told})
    assert json.loads((folder / "card.json").read_text())["accuracy"] == told
    assert "50.0 % of 2 held-out images, against labels judged right" in (folder / "README.md").read_text()
    with pytest.raises(BenchmarkError, match="needs value, samples and labels"):
        export_model(run, tmp_path, {"accuracy": {"value": 1.0}})


def test_the_interval_of_the_accuracy(tmp_path: Path) -> None:
    labels = np.zeros(100, np.int64)
    forecasts = np.tile([[0.9, 0.1]], (100, 1))
    forecasts[:20] = [0.1, 0.9]
    np.savez(tmp_path / "predictions.npz", test_last_k=np.stack([forecasts[::-1] * 0, forecasts]), test_labels=labels)
    found = exporting._accuracy(tmp_path)
    # Wilson's interval of 80 of 100: (0.8 + 1.9208/100 ± 1.96 sqrt(0.16/100 + 0.9604/10⁴)) / (1 + 3.8415/100)
    assert (found["value"], found["samples"]) == (0.8, 100)
    assert (found["low"], found["high"]) == pytest.approx((0.7112, 0.8666), abs=1e-4)


def test_what_cannot_be_exported_is_told(place: Place, run: Path, tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match=r"unknown entry of a model's card 'licens'; did you mean 'licence'"):
        export_model(run, tmp_path, {"licens": "x"})
    shutil.copytree(run, bare := tmp_path / "bare")
    (bare / "model.safetensors").unlink()
    with pytest.raises(BenchmarkError, match="has kept no networks"):
        export_model(bare, tmp_path, {})
    (bare / "result.json").write_text("{}")
    with pytest.raises(BenchmarkError, match="is no result of a run"):
        export_model(bare, tmp_path, {})
    (bare / "result.json").unlink()
    with pytest.raises(BenchmarkError, match="holds no finished run"):
        export_model(bare, tmp_path, {})
    (tmp_path / "model").mkdir()
    with pytest.raises(BenchmarkError, match=r"exists and holds no card\.json"):
        export_model(run, tmp_path, {})
    assert not list((tmp_path / "model").iterdir()) and not list(tmp_path.glob("*.tmp"))


# ----------------------------------------------------------------------------------------------------------------- hostile


def change(folder: Path, how: Callable[[dict[str, Any]], Any]) -> None:
    """Edit the card of an exported model."""
    card = json.loads((folder / "card.json").read_text())
    how(card)
    (folder / "card.json").write_text(json.dumps(card))


def put_weights(folder: Path, data: bytes) -> None:
    """Other weights, with a card that vouches for them."""
    (folder / "weights.safetensors").write_bytes(data)
    change(folder, lambda card: card["weights"].update(sha256=hashlib.sha256(data).hexdigest()))


def refused(folder: Path, match: str) -> None:
    with pytest.raises(BenchmarkError, match=match) as caught:
        load_model(folder, device="cpu")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value", "match"),
    [
        ("backbone", "resnet19", "unknown backbone in .*did you mean 'resnet18'"),
        ("backbone", "timm:hf-hub:somebody/model", "is no model of timm by its plain name"),
        ("backbone", "timm:../../x", "is no model of timm by its plain name"),
        ("backbone", "timm:no_such_net", "unknown timm model"),
        ("backbone", 7, "model.backbone must hold text"),
        ("backbone", "linear", "do not go together"),
        ("backbone", "cnn9", "needs images of at least 28 px"),
        ("backbone", "preact_resnet18", "lacks the tensor|is torch|needs torch"),
        ("networks", 0, "model.networks must be a whole number from 1 to 16"),
        ("networks", 2, "lacks the tensor 1."),
        ("networks", True, "model.networks must be a whole number"),
        ("classes", ["a"], "list of 2 to"),
        ("classes", ["a", "a"], "different names"),
        ("classes", ["a", 1], "model.classes must hold text"),
        ("classes", ["a", "b", "c"], r"needs torch.float32 \(3, 96\)"),
        ("classes", "ab", "list of 2 to"),
        ("shape", [8, 8], "must be .height, width, channels"),
        ("shape", [8, 8, 2], "channels; images have 1 or 3"),
        ("shape", [8, 8, 1], r"needs torch.float32 \(1,\)"),
        ("shape", [10**9, 8, 3], "model.shape must be a whole number from 1 to 4096"),
        ("shape", ["8", 8, 3], "model.shape must be a whole number"),
        ("features", "identity", "model.width must be a whole number from 1"),
        ("width", 3, "model.width must be a whole number from 0 to 0"),
        ("bf16", "tpu", "model.bf16 must be"),
    ],
)
def test_a_card_that_lies_gets_one_line(exported: Path, key: str, value: Any, match: str) -> None:
    change(exported, lambda card: card["model"].update({key: value}))
    refused(exported, match)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "must hold a JSON object"),
        ("{}", "has schema None, this version reads 1"),
        ('{"schema": true}', "has schema True"),
        ('{"schema": 1}', "does not say how the model is built"),
        ("\xff", "is not JSON"),
    ],
    ids=["half", "deep", "list", "empty", "true", "no model", "no utf-8"],
)
def test_a_card_that_is_none_gets_one_line(exported: Path, text: str, match: str) -> None:
    (exported / "card.json").write_bytes(text.encode("latin-1"))
    refused(exported, match)


def test_no_card_names_a_file_to_open(place: Place, tmp_path: Path) -> None:
    spec = place.spec("ce", "image_size=8:features=identity", backbone="linear")
    folder = export_model(place.trained(spec), tmp_path, {})
    secret = tmp_path / "secret.pt"
    secret.write_bytes(b"secret")
    change(folder, lambda card: card["model"].update(features=f"timm:resnet18@{secret}"))
    refused(folder, "takes features of a network that is not part of it; add --features 'timm:resnet18@<your copy of")
    change(folder, lambda card: card["model"].update(features="timm:hf-hub:somebody/model"))
    refused(folder, "takes features of a network that is not part of it; add --features 'timm:hf-hub:somebody/model'")
    with pytest.raises(BenchmarkError, match="takes features timm:hf-hub:somebody/model, not features identity"):
        load_model(folder, device="cpu", features="identity")


def test_weights_that_are_not_the_cards_are_refused(exported: Path) -> None:
    path = exported / "weights.safetensors"
    data = path.read_bytes()
    path.write_bytes(data[:-4])
    refused(exported, "is not the file that .*card.json describes")
    put_weights(exported, data[:-4])
    refused(exported, "is no sound safetensors file")
    path.unlink()
    refused(exported, r"weights.safetensors does not exist")


def test_a_pickle_is_never_opened(exported: Path, tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "owned",))

    put_weights(exported, pickle.dumps(Evil()))
    refused(exported, "is no sound safetensors file")
    torch.save({"0.head.weight": torch.zeros(2)}, tmp_path / "torch.pt")
    put_weights(exported, (tmp_path / "torch.pt").read_bytes())
    refused(exported, "is no sound safetensors file")
    assert not (tmp_path / "owned").exists()


def test_tensors_that_do_not_fit_are_named(exported: Path) -> None:
    tensors, _ = weights.read(exported / "weights.safetensors")
    for name, value, match in (
        ("scale", torch.full((3,), float("nan")), "scale holds numbers that are not finite"),
        ("0.head.bias", torch.zeros(2, dtype=torch.float16), "0.head.bias is torch.float16"),
        ("0.extra", torch.zeros(2), "has a tensor '0.extra', which backbone cnn_small does not know"),
    ):
        put_weights(exported, weights.contents({**tensors, name: value}))
        refused(exported, match)


def test_a_place_without_a_model_is_told(tmp_path: Path, exported: Path) -> None:
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", r"holds no card\.json; give the folder of an exported model")
    refused(tmp_path / "nowhere", "does not exist; give the folder")
    assert load_model(exported.parent, device="cpu").classes == ("bright", "dark")  # the folder above will do


# -------------------------------------------------------------------------------------------------------------------- onnx


def test_onnx_names_the_package_to_install(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxscript", None)
    monkeypatch.setattr(onnx_file, "PACKAGES", ("onnxscript",))
    with pytest.raises(BenchmarkError, match=r'needs onnxscript; install it: python -m pip install "noisy-label-benchmark\[onnx\]"'):
        onnx_file.export_onnx(exported)
    assert not (exported / "model.onnx").exists()


def test_onnx_gives_the_same_probabilities(place: Place, tmp_path: Path) -> None:
    for package in onnx_file.PACKAGES:
        pytest.importorskip(package, reason=f"{package} is not installed (extra onnx)")
    import onnxruntime

    folder = export_model(place.trained(place.spec("coteaching")), tmp_path, {})
    path = onnx_file.export_onnx(folder)
    data = path.read_bytes()
    images = np.random.default_rng(1).integers(0, 256, (7, 8, 8, 3), dtype=np.uint8)
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    found = session.run(["probabilities"], {"images": images})[0]
    np.testing.assert_allclose(found, load_model(folder, device="cpu").predict(images), rtol=0, atol=1e-5)
    assert b"stack_trace" not in data and str(Path.cwd()).encode() not in data
    onnx_file.export_onnx(folder)
    assert path.read_bytes() == data


def test_onnx_that_gives_other_numbers_is_not_written(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_file, "PACKAGES", ())
    monkeypatch.setattr(onnx_file, "_exported", lambda *_: b"")
    monkeypatch.setattr(onnx_file, "_run", lambda *_: np.full((onnx_file.TRIED, 2), 0.125))
    with pytest.raises(BenchmarkError, match="gives other probabilities"):
        onnx_file.export_onnx(exported)
    assert not (exported / "model.onnx").exists()
