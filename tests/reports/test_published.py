from __future__ import annotations

import copy
import json

import pytest

from benchmark.registry import Registry
from reports.published import FILE, figures, published_for
from reports.rows import Row, flatten
from reports.tables import Summary

PARAMS = {"noise_rate": "auto", "num_gradual": 10, "exponent": 1.0, "per_class": False}


def row(result, method="elr", params=None, dataset="cifar10n", data=None, noise="human", noise_params=None, **protocol) -> Row:
    made = copy.deepcopy(result(method, protocol={"backbone": "resnet34", **protocol}))
    made["spec"]["method"]["params"] = {"lambda_": 3.0, "beta": 0.7} if params is None else params
    made["spec"]["dataset"] = {"name": dataset, "params": {"labels": "worse"} if data is None else data, "version": 1, "fingerprint": "v1"}
    made["spec"]["noise"] = {"name": noise, "params": noise_params or {}, "version": 1, "fingerprint": None}
    return flatten(made)


def values(**means: float) -> dict[str, Summary]:
    return {f"{group}/accuracy": Summary(mean, None, 1) for group, mean in means.items()}


def test_the_difference_by_hand(result) -> None:
    found = published_for([row(result)], values(best=0.88, last=0.87))
    assert [(one.key, one.value) for one in found] == [("best/accuracy", 0.8789), ("last/accuracy", 0.8783), ("best/accuracy", 0.8358)]
    assert [one.difference for one in found] == pytest.approx([0.0011, -0.0083, 0.0442])
    assert found[0].n == 3
    assert "recomputed from a public log" in found[0].source
    assert found[0].protocol.startswith("120 epochs, lambda 3, beta 0.7")
    assert "published" in found[2].source


def test_the_spread_is_a_share_too(result) -> None:
    best = published_for([row(result, "ce", params={})], {})[0]
    assert (best.value, best.sd, best.difference) == (0.8391, 0.0009, None)


def test_without_our_number_there_is_no_difference(result) -> None:
    assert {one.difference for one in published_for([row(result)], values(selected=0.9))} == {None}
    assert {one.difference for one in published_for([row(result)], {"best/accuracy": Summary(None, None, 0)})} == {None}
    assert published_for([], {}) == ()


@pytest.mark.parametrize(
    "change",
    [
        {"backbone": "resnet18"},
        {"pretrained": True, "backbone": "timm:resnet34"},
        {"params": {"lambda_": 1.0, "beta": 0.7}},
        {"params": {"lambda_": 3.0, "beta": 0.7, "new": 1}},
        {"data": {"labels": "worse", "subset": 0.5}},
        {"data": {"labels": "worse", "imbalance": 100.0}},
        {"data": {"labels": "worse", "image_size": 16}},
        {"data": {"labels": "random2"}},
        {"data": {"labels": "worse", "label_file": "mine.csv"}},
        {"dataset": "cifar10", "data": {}},
        {"noise": "none"},
        {"noise": "symmetric+human"},
    ],
)
def test_other_data_noise_parameters_or_networks_have_no_figure(result, change) -> None:
    assert published_for([row(result, **change)], {}) == ()


def test_inclusive_noise_is_not_exclusive_noise(result) -> None:
    def found(inclusive: bool, rate: float = 0.2) -> list[float]:
        noise = {"rate": rate, "inclusive": inclusive, "protect": ""}
        made = row(result, "ce", {}, "cifar10", {}, "symmetric", noise, backbone="preact_resnet18")
        return [one.value for one in published_for([made], {})]

    assert found(False) == [0.8521, 0.8255]
    assert found(True) == [0.868]
    assert found(False, 0.3) == []


def test_a_setting_that_comes_to_the_same_matches_and_an_ablation_does_not(result) -> None:
    data, noise = {}, {"rate": 0.2, "inclusive": False, "protect": ""}

    def found(**change: object) -> list[float]:
        made = row(result, "coteaching", {**PARAMS, **change}, "cifar10", data, "symmetric", noise, backbone="cnn9")
        return [one.value for one in published_for([made], {})]

    figures_of_it = [0.8218, 0.8226, 0.8239]
    assert found() == found(noise_rate="oracle") == found(noise_rate=0.2) == figures_of_it
    assert found(noise_rate=0.4) == []
    assert found(per_class=True) == []


def test_where_a_setting_was_another_at_each_rate_the_line_names_it(result) -> None:
    from benchmark.params import defaults

    params = defaults(Registry().load("method", "dividemix").Params)

    def found(rate: float, lambda_u: object) -> list[float]:
        noise = {"rate": rate, "inclusive": False, "protect": ""}
        made = row(result, "dividemix", {**params, "lambda_u": lambda_u}, "cifar10", {}, "symmetric", noise, backbone="preact_resnet18")
        return [one.value for one in published_for([made], {})]

    assert found(0.2, "auto") == found(0.2, 0.0) == [0.9621, 0.9604]
    assert found(0.4, "auto") == []  # auto is 25 there, and 0 was published
    assert found(0.4, 0.0) == [0.9508, 0.9474]
    assert found(0.8, 25.0) == [0.8195, 0.8158]


def test_where_the_data_lie_does_not_matter_and_their_size_does(result) -> None:
    from benchmark.params import defaults

    params = {**defaults(Registry().load("method", "hsa").Params), "noise_rate": 0.15}

    def found(**data: object) -> list[tuple[str, float]]:
        known = {"path": "/anywhere", "skip_bad": False, "labels": "released", "reference": "majority", **data}
        made = row(result, "hsa", params, "chaoyang", known, backbone="timm:resnet34")
        return [(one.key, one.value) for one in published_for([made], {})]

    assert ("last/accuracy", 0.834) in found(image_size=256)
    assert found() == []


def test_a_network_that_knew_other_images_before_is_another(result) -> None:
    from benchmark.params import defaults

    params = defaults(Registry().load("method", "disc").Params)
    noise = {"rate": 0.2, "inclusive": False, "protect": ""}

    def found(pretrained: bool) -> list[float]:
        made = row(
            result, "disc", params, "pathmnist", {"image_size": 224}, "symmetric", noise, backbone="timm:resnet50", pretrained=pretrained
        )
        return [one.value for one in published_for([made], {})]

    assert found(True) == [0.8776]
    assert found(False) == []


def test_every_line_is_of_something_that_exists() -> None:
    from benchmark.data import options
    from benchmark.params import resolve

    registry = Registry()
    for figure in figures():
        registry.entry("method", figure.method)
        for kind, setting in (("dataset", figure.dataset), ("noise", figure.noise)):
            cls = registry.load(kind, setting.name)
            given = dict(setting.options) | ({} if setting.argument is None else {cls.argument: setting.argument})
            own, common = options.separate(given) if kind == "dataset" else (given, {})
            resolve(cls.Params, own, setting.name)
            options.read_options(common, setting.name)


def test_every_line_says_what_where_and_how() -> None:
    for figure in figures():
        one = figure.published
        assert 0 < one.value < 1
        assert one.sd is None or 0 < one.sd < 0.05
        assert one.n is None or 0 < one.n <= 5
        assert one.key in ("last/accuracy", "best/accuracy", "last_k/accuracy", "aux/m1/accuracy")
        assert one.source.startswith(("published: ", "recomputed from a public log: ", "issue"))
        assert one.protocol
        assert ("best epoch" in one.protocol) <= (one.key == "best/accuracy")
    lines = [line.partition(",")[0] for line in FILE.read_text(encoding="utf-8").splitlines()[1:]]
    assert len(lines) == len(figures()) > 280
    assert len({json.dumps(line) for line in FILE.read_text(encoding="utf-8").splitlines()}) == len(lines) + 1  # none stands there twice


def test_parameters_of_methods_exist_and_their_values_are_allowed() -> None:
    from benchmark.params import resolve

    registry = Registry()
    for figure in figures():
        cls = registry.load("method", figure.method)
        for key, allowed in figure.method_params.items():
            assert [getattr(resolve(cls.Params, {key: value}, figure.method), key) for value in allowed] == list(allowed)


def test_what_nobody_has_checked_is_not_in_the_table() -> None:
    of_method: dict[tuple[str, str], set[float]] = {}
    for figure in figures():
        of_method.setdefault((figure.dataset.name, figure.method), set()).add(figure.published.value)
    assert ("mnist", "jocor") not in of_method
    assert not {0.912} & of_method["cifar10n", "coteaching"]
    assert not {0.9238} & of_method["cifar10n", "elr"]
    assert not {0.7939, 0.7725} & (of_method["chaoyang", "dividemix"] | of_method.get(("chaoyang", "coteaching"), set()))
    text = FILE.read_text(encoding="utf-8").lower()
    for absent in ("unicon,", "cal,", "t_revision", "volminnet", "cores", "2-layer mlp"):
        assert absent not in text
