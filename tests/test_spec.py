"""What one run is, what its key depends on, and how a command expands to cells."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from benchmark.errors import BenchmarkError
from benchmark.grammar import parse_settings
from benchmark.registry import Registry
from benchmark.resolve import resolve_plugin
from benchmark.spec import PluginSpec, RunSpec, TrainingProtocol, canonical_json, expand, protocol
from benchmark.tasks import TASKS

PROTOCOLS = TASKS["classification"].protocols


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry()


@pytest.fixture
def spec() -> RunSpec:
    return RunSpec(
        PluginSpec("hsa", {"gamma": 2.0, "rounds": 1}),
        PluginSpec("digits", {"size": 8}, 1, "v1"),
        PluginSpec("symmetric", {"rate": 0.2, "protect": ""}, 1),
        TrainingProtocol(),
        3,
        {"method": "hsa", "dataset": "digits", "noise": "symmetric:0.2"},
    )


def cells(registry: Registry, methods: str = "ce", datasets: str = "digits", noise: str = "0.2", **options: Any) -> list[RunSpec]:
    return expand(
        registry,
        methods=parse_settings(methods, what="--methods"),
        datasets=parse_settings(datasets, what="--datasets"),
        noise=parse_settings(noise, what="--noise", number_means="symmetric"),
        **{"seeds": [0], "protocol": protocol("quick"), "data_root": Path("unused"), **options},
    )


# ------------------------------------------------------------------------------------------------- identity


def test_a_spec_survives_json(spec: RunSpec) -> None:
    again = RunSpec.from_dict(json.loads(json.dumps(spec.to_dict())))
    assert again == spec
    assert again.labels == spec.labels
    assert again.key() == spec.key()
    assert again.to_dict() == spec.to_dict()


def test_the_key_is_short_and_fixed(spec: RunSpec) -> None:
    assert len(spec.key()) == 16
    assert int(spec.key(), 16) >= 0
    assert spec.key() == "d0ed0ed37e77e3cc", (
        "another key for the same run orphans every result that people have; raise SCHEMA if it must be"
    )


@pytest.mark.parametrize(
    "change",
    [
        {"labels": {"method": "another name"}},
        {"protocol": TrainingProtocol(name="mine")},
        {"method": PluginSpec("hsa", {"rounds": 1, "gamma": 2.0})},
    ],
    ids=["labels", "the protocol's name", "the order of parameters"],
)
def test_the_key_does_not_depend_on(spec: RunSpec, change: dict[str, Any]) -> None:
    assert dataclasses.replace(spec, **change).key() == spec.key()


CHANGES: dict[str, Any] = {
    "seed": {"seed": 4},
    "method": {"method": PluginSpec("ce", {"gamma": 2.0, "rounds": 1})},
    "a parameter of the method": {"method": PluginSpec("hsa", {"gamma": 2.5, "rounds": 1})},
    "one parameter more": {"method": PluginSpec("hsa", {"gamma": 2.0, "rounds": 1, "ema": 0.9})},
    "dataset": {"dataset": PluginSpec("tissue", {"size": 8}, 1, "v1")},
    "a parameter of the data": {"dataset": PluginSpec("digits", {"size": 9}, 1, "v1")},
    "the version of the data": {"dataset": PluginSpec("digits", {"size": 8}, 2, "v1")},
    "the fingerprint of the data": {"dataset": PluginSpec("digits", {"size": 8}, 1, "v2")},
    "the version of the noise": {"noise": PluginSpec("symmetric", {"rate": 0.2, "protect": ""}, 2)},
    "a parameter of the noise": {"noise": PluginSpec("symmetric", {"rate": 0.4, "protect": ""}, 1)},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
def test_the_key_depends_on(spec: RunSpec, change: dict[str, Any]) -> None:
    assert dataclasses.replace(spec, **change).key() != spec.key()


@pytest.mark.parametrize("name", [f.name for f in dataclasses.fields(TrainingProtocol) if f.name != "name"])
def test_the_key_depends_on_every_value_of_the_protocol(spec: RunSpec, name: str) -> None:
    old = getattr(spec.protocol, name)
    new = (not old) if isinstance(old, bool) else old + 1 if isinstance(old, (int, float)) else old + "x"
    new = {"milestones": "0.25"}.get(name, new)
    start = dataclasses.replace(spec.protocol, backbone="timm:resnet18")  # the only kind that can be pretrained
    first, second = (dataclasses.replace(spec, protocol=p) for p in (start, dataclasses.replace(start, **{name: new})))
    assert first.key() != second.key()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"pretrained": True}, "pretrained=true needs a timm backbone, not cnn_small"),
        ({"val_fraction": 0}, "leaves nothing to select the epoch on"),
        ({"test_fraction": 0}, "leaves nothing to test on"),
    ],
)
def test_a_protocol_that_no_run_could_bear_is_refused_at_once(values: dict[str, Any], message: str) -> None:
    with pytest.raises(BenchmarkError, match=message):
        protocol("quick", values)


@pytest.mark.parametrize("data", [{}, {"method": None}, [], {"method": {}, "dataset": {}, "noise": {}}])
def test_what_is_no_spec(data: Any) -> None:
    with pytest.raises((KeyError, TypeError)):
        RunSpec.from_dict(data)


def test_nan_has_no_canonical_text() -> None:
    assert canonical_json({"b": 0.1, "a": [1, None]}) == '{"a":[1,null],"b":0.1}'
    with pytest.raises(ValueError, match="JSON"):
        canonical_json(float("nan"))


def test_comparisons_are_paired(spec: RunSpec) -> None:
    other = dataclasses.replace(spec, method=PluginSpec("ce"), protocol=protocol("standard"))
    assert other.noise_names("c0") == spec.noise_names("c0")
    noisier = dataclasses.replace(spec, noise=PluginSpec("symmetric", {"rate": 0.4}, 1))
    assert noisier.data_names("c0") == spec.data_names("c0")
    assert noisier.noise_names("c0") != spec.noise_names("c0")
    elsewhere = dataclasses.replace(spec, dataset=dataclasses.replace(spec.dataset, fingerprint="another copy"))
    assert elsewhere.key() != spec.key()
    assert elsewhere.noise_names("c0") == spec.noise_names("c0") != spec.noise_names("c1")


# ------------------------------------------------------------------------------------------------- protocol


@pytest.mark.parametrize("name", PROTOCOLS)
def test_named_protocols_hold_what_they_say(name: str) -> None:
    found = protocol(name, {"epochs": "7"})
    assert (found.name, found.epochs) == (name, 7)
    assert {**dataclasses.asdict(found), "epochs": 0} == {
        **dataclasses.asdict(TrainingProtocol()),
        **PROTOCOLS[name],
        "name": name,
        "epochs": 0,
    }


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("quik", {}, "unknown protocol 'quik'; did you mean 'quick'"),
        ("quick", {"epoch": 3}, "unknown parameter of protocol 'epoch'; did you mean 'epochs'"),
        ("quick", {"epochs": 0}, r"protocol.epochs = 0 is outside \[1, 100000\]"),
        ("quick", {"lr": "fast"}, "protocol.lr: 'fast' is not a number"),
        ("quick", {"optimizer": "lion"}, "is not one of adam, adamw, sgd"),
    ],
)
def test_a_wrong_protocol(name: str, values: dict[str, Any], message: str) -> None:
    with pytest.raises(BenchmarkError, match=message):
        protocol(name, values)


# ------------------------------------------------------------------------------------------------- labels


def test_a_label_shows_the_argument_and_what_differs(registry: Registry) -> None:
    (cell,) = cells(registry, "hsa:chaoyang:rounds=2", "tissue:n=400", "0.2")
    assert cell.labels == {"method": "hsa:noise_rate=0.15:rounds=2", "dataset": "tissue:n=400", "noise": "symmetric:0.2"}
    (plain,) = cells(registry, "hsa:rounds=1", "digits", "symmetric:inclusive=yes")
    assert plain.labels == {"method": "hsa", "dataset": "digits", "noise": "symmetric:0.2:inclusive=True"}


def test_a_label_without_the_plugin_shows_every_parameter() -> None:
    assert PluginSpec("mask", {"alpha": 0.5, "beta": "x"}).label() == "mask:alpha=0.5:beta=x"
    assert PluginSpec("ce").label() == "ce"


def test_a_label_of_a_plugin_whose_argument_is_required() -> None:
    @dataclasses.dataclass(frozen=True)
    class Params:
        path: str
        size: int = 0

    plugin = type("Needs", (), {"argument": "path", "Params": Params})
    assert PluginSpec("needs", {"path": "/a", "size": 3}).label(plugin) == "needs:/a:size=3"


# ------------------------------------------------------------------------------------------------- plugins


def test_parameters_are_complete_and_versions_known(registry: Registry) -> None:
    (cell,) = cells(registry, "coteaching", "digits", "pairflip:0.45")
    assert cell.method.params == {"noise_rate": "auto", "num_gradual": 10, "exponent": 1.0, "per_class": False}
    assert (cell.method.version, cell.method.fingerprint) == (None, None)
    assert (cell.dataset.version, cell.dataset.fingerprint) == (1, "v1")
    assert (cell.noise.version, cell.noise.params["rate"]) == (2, 0.45)


def test_a_preset_then_options_then_overrides(registry: Registry) -> None:
    (setting,) = parse_settings("hsa:released:rounds=2:gamma=3", what="--methods")
    found = resolve_plugin(registry, "method", setting, {"hsa": {"gamma": "1.5"}}, Path("unused"))
    assert [found.params[key] for key in ("detector_pool", "rounds", "gamma", "weighting")] == ["all", 2, 1.5, "confidence"]
    assert cells(registry, "hsa:chaoyang")[0].method.params["noise_rate"] == 0.15


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ({"methods": "hsaa"}, "unknown method 'hsaa'; did you mean 'hsa'"),
        (
            {"methods": "hsa:chaoyan"},
            "unknown preset of hsa 'chaoyan'; did you mean 'chaoyang'.*known: chaoyang, confidence, digestpath, released",
        ),
        ({"methods": "ce:fast"}, "ce takes no argument, so 'ce:fast' cannot be read"),
        ({"methods": "ce:lr=1"}, "unknown parameter of ce 'lr'; known: none"),
        ({"methods": "hsa:rounds=0"}, r"hsa.rounds = 0 is outside \[1, 10\]"),
        ({"noise": "1.2"}, r"symmetric.rate = 1.2 is outside \[0, 1\)"),
        ({"noise": "-0.1"}, r"symmetric.rate = -0.1 is outside \[0, 1\)"),
        ({"noise": "symmetric:nan"}, "symmetric.rate: 'nan' is not a number"),
        ({"noise": "symmetric:0.2:rate=0.4"}, "rate is given twice"),
        ({"noise": "none:0.2"}, "none takes no argument"),
        ({"datasets": "folder"}, "folder needs a path"),
        ({"datasets": "0.2"}, "unknown dataset '0.2'"),
        ({"overrides": {"hsa": {"rounds": ["1"]}}}, "unknown plugin in --set 'hsa'.*only plugins of this command can be set"),
        ({"overrides": {"symmetric": {"rates": ["1"]}}}, "unknown parameter of symmetric 'rates'"),
        ({"overrides": {"symmetric": {"rate": []}}}, "symmetric.rate has no value to try"),
    ],
)
def test_a_wrong_command_is_refused_before_anything_runs(registry: Registry, command: dict[str, Any], message: str) -> None:
    with pytest.raises(BenchmarkError, match=message) as caught:
        cells(registry, **command)
    assert "\n" not in str(caught.value)


# ------------------------------------------------------------------------------------------------- cells


def test_the_order_is_data_noise_method_seed(registry: Registry) -> None:
    found = cells(registry, "hsa,ce", "tissue,digits", "0.4,0", seeds=[2, 0, 2])
    rows = [(c.dataset.name, c.noise.params["rate"], c.method.name, c.seed) for c in found]
    assert rows == [(d, r, m, s) for d in ("tissue", "digits") for r in (0.4, 0.0) for m in ("hsa", "ce") for s in (0, 2)]


def test_one_value_overrides_and_several_are_a_grid(registry: Registry) -> None:
    grid = {"hsa": {"rounds": ["1", "2"], "gamma": ["1", "2", "3"]}, "symmetric": {"rate": [0.3]}}
    found = cells(registry, "ce,hsa", noise="0.2", overrides=grid)
    assert [c.method.name for c in found] == ["ce"] + ["hsa"] * 6
    tried = [(c.method.params["rounds"], c.method.params["gamma"]) for c in found[1:]]
    assert tried == [(rounds, gamma) for rounds in (1, 2) for gamma in (1.0, 2.0, 3.0)]
    assert {c.noise.params["rate"] for c in found} == {0.3}


def test_equal_cells_are_one(registry: Registry) -> None:
    assert len(cells(registry, "ce,ce,hsa:rounds=1,hsa", noise="0.2,symmetric:0.20,symmetric:rate=2e-1")) == 2
    assert len(cells(registry, "hsa", overrides={"hsa": {"gamma": ["2", "2.0", 2]}})) == 1


def test_no_seed_is_no_cell(registry: Registry) -> None:
    assert cells(registry, seeds=[]) == []


def test_joined_noise_is_one_spec_with_parts(registry: Registry) -> None:
    (setting,) = parse_settings("symmetric:0.2+human", what="--noise", joined=("human", "symmetric"))
    found = resolve_plugin(registry, "noise", setting, {"symmetric": {"rate": "0.3"}}, Path("unused"))
    assert found.name == "symmetric+human" and [part.name for part in found.parts] == ["symmetric", "human"]
    assert found.parts[0].params["rate"] == 0.3 and PluginSpec.from_dict(found.to_dict()) == found
    assert found.label() == "symmetric:rate=0.3:inclusive=False:protect=+human"
    cell = cells(registry, "ce")[0]
    joined = dataclasses.replace(cell, noise=found)
    assert RunSpec.from_dict(joined.to_dict()) == joined
    other = dataclasses.replace(found, parts=(found.parts[1], found.parts[0]))
    assert len({spec.key() for spec in (cell, joined, dataclasses.replace(cell, noise=other))}) == 3
    assert joined.noise_names("x") != cell.noise_names("x")


def test_common_options_are_in_the_key_when_they_say_something(registry: Registry) -> None:
    def data(text: str) -> PluginSpec:
        return resolve_plugin(registry, "dataset", parse_settings(text, what="--datasets")[0], {}, Path("unused"))

    assert data("digits").params == {} == data("digits:imbalance=1:image_size=0").params
    assert data("digits:imbalance=10").params == {"imbalance": 10.0}
    assert data("digits:features=identity").fingerprint == "v1-identity"
    options = resolve_plugin(registry, "dataset", parse_settings("digits", what="x")[0], {"digits": {"subset": "0.5"}}, Path("unused"))
    assert options.params == {"subset": 0.5}


# ------------------------------------------------------------------------------------------------- kinds of labels

MASK_PLUGINS = '''
from benchmark.api import Dataset, Noise, dataset, noise


@dataset("some_masks", task="segmentation", version=1)
class SomeMasks(Dataset):
    """Masks."""


@noise("some_errors", task="segmentation", version=1)
class SomeErrors(Noise):
    """Errors in masks."""
'''


@pytest.fixture
def masks(tmp_path: Path) -> Registry:
    (tmp_path / "masks.py").write_text(MASK_PLUGINS)
    return Registry([tmp_path / "masks.py"])


@pytest.mark.parametrize("name", TASKS["segmentation"].protocols)
def test_protocols_for_masks_hold_what_they_say(name: str) -> None:
    found = dataclasses.asdict(protocol(name, {"epochs": 7}, "segmentation"))
    assert found == {**dataclasses.asdict(TrainingProtocol()), **TASKS["segmentation"].protocols[name], "name": name, "epochs": 7}
    assert found["backbone"].startswith("vnet")


def test_a_protocol_of_a_task_that_does_not_exist() -> None:
    with pytest.raises(BenchmarkError, match="unknown task 'segmentaton'; did you mean 'segmentation'"):
        protocol("quick", task="segmentaton")
    with pytest.raises(BenchmarkError, match="unknown protocol 'quik'; did you mean 'quick'"):
        protocol("quik", task="segmentation")


def test_plugins_for_masks_make_cells_together(masks: Registry) -> None:
    for noise in ("some_errors", "none", "human", "some_errors+human"):
        models = parse_settings(noise, what="--noise", joined=["some_errors", "human"])
        settings = {name: parse_settings(text, what=name) for name, text in (("methods", "seg_ce"), ("datasets", "some_masks"))}
        rest: dict[str, Any] = {"seeds": [0], "protocol": protocol("quick", task="segmentation"), "data_root": Path("unused")}
        (spec,) = expand(masks, **settings, noise=models, **rest)
        assert (spec.method.name, spec.dataset.name, spec.labels["noise"]) == ("seg_ce", "some_masks", noise)


@pytest.mark.parametrize(
    ("methods", "datasets", "noise", "message"),
    [
        ("ce", "some_masks", "none", "method ce is for classification and data set some_masks is for segmentation"),
        ("seg_ce", "digits", "none", "method seg_ce is for segmentation and data set digits is for classification"),
        ("seg_ce", "some_masks", "0.2", "noise symmetric is for classification and bags and data set some_masks is for segmentation"),
        ("ce", "digits", "some_errors", "noise some_errors is for segmentation and data set digits is for classification"),
        ("ce,seg_ce", "digits", "none", "method seg_ce is for segmentation and data set digits is for classification"),
        ("seg_ce", "some_masks,digits", "none", "data set digits is for classification and data set some_masks is for segmentation"),
        ("ce", "digits", "0.2+some_errors", "noise some_errors is for segmentation and data set digits is for classification"),
    ],
)
def test_plugins_for_different_labels_make_none(masks: Registry, methods: str, datasets: str, noise: str, message: str) -> None:
    models = parse_settings(noise, what="--noise", number_means="symmetric", joined=["some_errors"])
    settings = {name: parse_settings(text, what=name) for name, text in (("methods", methods), ("datasets", datasets))}
    rest: dict[str, Any] = {"seeds": [0], "protocol": protocol("quick"), "data_root": Path("unused")}
    with pytest.raises(BenchmarkError) as told:
        expand(masks, **settings, noise=models, **rest)
    assert str(told.value) == f"{message}; python -m benchmark list shows what each is for"
