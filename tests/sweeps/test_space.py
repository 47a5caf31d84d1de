"""What a search varies: dimensions of real methods and of one with every kind of field, ``--search``, and grids."""

from __future__ import annotations

import dataclasses
import warnings
from dataclasses import dataclass
from typing import Any

import pytest

from benchmark import params as hyper
from benchmark.errors import BenchmarkError
from benchmark.params import hp
from benchmark.registry import Registry
from benchmark.spec import TrainingProtocol
from benchmark.tasks import TASKS, defaults_of
from sweeps.space import WEIGHT_DECAYS, Dimension, grid_points, read_search, rounded, space_of


@dataclass(frozen=True)
class Knobs:
    """One field of every kind."""

    whole: int = hp(3, 1, 9)
    width: int = hp(16, 4, 256, log=True)
    stride: int = hp(4, 0, 12, step=4)
    rate: float = hp(0.5, 0.0, 1.0)
    weight: float = hp(1.0, 0.0, 100.0, search=(0.1, 10.0), log=True)
    share: float = hp(0.25, 0.0, 1.0, step=0.25)
    flag: bool = hp(False)
    kind: str = hp("a", choices=("a", "b", "c"))
    one: str = hp("a", choices=("a",))
    text: str = hp("x")
    auto: float | str = hp("auto", 0.0, 0.9, choices=("auto",))
    number: float | str = hp(0.3, 0.0, 0.9, choices=("auto",))
    maybe: float | None = hp(None, 0.0, 1.0)
    kept: float = hp(1.0, 0.0, 2.0, tune=False)
    endless: float = hp(1.0, 0.0)
    bare: int = 5


PROTOCOL = TrainingProtocol()
LR = Dimension("protocol", "lr", 1e-4, 1e-2, log=True)
DECAY = Dimension("protocol", "weight_decay", choices=WEIGHT_DECAYS)


def space(
    kind: type = Knobs, changes: dict[str, Any] | None = None, fixed: tuple[str, ...] = (), search: tuple[str, ...] = (), **protocol: Any
) -> dict[str, Dimension]:
    """The dimensions of the toy by their keys."""
    values = {**hyper.defaults(kind), **(changes or {})}
    found = space_of("toy", kind, values, dataclasses.replace(PROTOCOL, **protocol), fixed, read_search(search))
    return {dimension.key: dimension for dimension in found}


def suggestions(dimension: Dimension, count: int = 40) -> list[Any]:
    """What Optuna draws from it."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = [study.ask({"it": dimension.distribution()}).params["it"] for _ in range(count)]
    optuna.logging.set_verbosity(before)
    return drawn


# --------------------------------------------------------------------------------------------------------------- fields


def test_every_kind_of_field() -> None:
    found = space()
    assert list(found.values()) == [
        Dimension("toy", "whole", 1, 9, whole=True),
        Dimension("toy", "width", 4, 256, whole=True, log=True),
        Dimension("toy", "stride", 0, 12, whole=True, step=4),
        Dimension("toy", "rate", 0.0, 1.0),
        Dimension("toy", "weight", 0.1, 10.0, log=True),
        Dimension("toy", "share", 0.0, 1.0, step=0.25),
        Dimension("toy", "flag", choices=(False, True)),
        Dimension("toy", "kind", choices=("a", "b", "c")),
        Dimension("toy", "number", 0.0, 0.9),  # auto is a word among numbers by default; one choice, no ends, and kept are no dimension
        LR,
        DECAY,
    ]


def test_suggestions_lie_where_the_fields_say() -> None:
    found = space()
    drawn = {key: suggestions(dimension) for key, dimension in found.items()}
    assert all(dimension.contains(value) for key, dimension in found.items() for value in drawn[key])
    assert all(type(value) is int for key in ("toy.whole", "toy.width", "toy.stride") for value in drawn[key])
    assert set(drawn["toy.stride"]) == {0, 4, 8, 12} and set(drawn["toy.share"]) == {0.0, 0.25, 0.5, 0.75, 1.0}
    assert set(drawn["toy.flag"]) == {False, True} and set(drawn["toy.kind"]) == {"a", "b", "c"}
    assert sum(value < 32 for value in drawn["toy.width"]) >= 12  # half on a logarithmic scale, a ninth on a plain one


def test_real_methods() -> None:
    registry = Registry()
    keys = {}
    for name in ("ce", "elr", "hsa"):
        kind = registry.load("method", name).Params
        keys[name] = [one.key for one in space_of(name, kind, hyper.defaults(kind), PROTOCOL, (), {})]
    assert keys["ce"] == ["protocol.lr", "protocol.weight_decay"]
    assert keys["elr"] == ["elr.lambda_", "elr.beta", "protocol.lr", "protocol.weight_decay"]
    own = ["rounds", "hard_ratio", "detector_pool", "detector_balance", "detection_lr_ratio", "weighting", "gamma", "forget_rate", "warmup"]
    assert keys["hsa"] == [f"hsa.{name}" for name in (*own, "per_class", "ema")] + keys["ce"]
    kind = registry.load("method", "elr").Params
    assert space_of("elr", kind, hyper.defaults(kind), PROTOCOL, (), {})[:2] == (
        Dimension("elr", "lambda_", 0.5, 10.0, log=True),
        Dimension("elr", "beta", 0.5, 0.99),
    )


def test_every_method_of_the_project_can_be_searched_from_its_default() -> None:
    registry = Registry()
    for entry in registry.entries("method"):
        kind, task = registry.load("method", entry.name).Params, registry.load("method", entry.name).task
        values = {f"{entry.name}.{name}": value for name, value in hyper.defaults(kind).items()}
        shared = TrainingProtocol(**{**next(iter(defaults_of(task).protocols.values())), "name": "x"})
        values |= {f"protocol.{name}": value for name, value in vars(shared).items()}
        found = space_of(entry.name, kind, hyper.defaults(kind), shared, (), {})
        assert found
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # Optuna warns of a range that its step does not divide
            allowed = {one.key: one.distribution() for one in found}
        for one in found:
            assert one.contains(values[one.key]), one
            assert allowed[one.key]._contains(allowed[one.key].to_internal_repr(values[one.key])), one
            if one.choices is None:
                for end in (one.low, one.high):
                    hyper.resolve(kind if one.owner != "protocol" else TrainingProtocol, {one.name: end}, one.owner)
    assert set(TASKS) == {registry.load("method", entry.name).task for entry in registry.entries("method")}


# -------------------------------------------------------------------------------------------------------------- default


def test_a_default_outside_leaves_the_space_as_it_is_written() -> None:
    for default in (0.05, 0.0, 50.0, 2.0):
        assert space(changes={"weight": default})["toy.weight"] == Dimension("toy", "weight", 0.1, 10.0, log=True)
    assert space(weight_decay=5e-4)["protocol.weight_decay"].choices == WEIGHT_DECAYS
    assert space(search=("toy.kind=[b,c]",))["toy.kind"].choices == ("b", "c")
    assert space(search=("toy.rate=[0.1,0.2]",))["toy.rate"].choices == (0.1, 0.2)
    assert space(search=("toy.rate=0.6..0.9",))["toy.rate"] == Dimension("toy", "rate", 0.6, 0.9)


def test_a_bool_is_no_number() -> None:
    numbers, flags = Dimension("m", "x", choices=(0, 1)), Dimension("m", "x", choices=(False, True))
    assert [numbers.contains(value) for value in (0, 1, False, True, "0", 2)] == [True, True, False, False, False, False]
    assert [flags.contains(value) for value in (False, True, 0, 1)] == [True, True, False, False]
    assert not Dimension("m", "x", 0, 1, whole=True).contains(True)
    assert Dimension("m", "x", 0.0, 4.0).nearest(True) == 2.0


def test_the_nearest_of_a_range_that_its_step_does_not_divide() -> None:
    dimension = Dimension("m", "x", 0.0, 1.0, step=0.35)
    assert [dimension.nearest(value) for value in (-1.0, 0.2, 1.0, 9.0)] == [0.0, 0.35, 0.7, 0.7]
    assert dimension.values() == (0.0, 0.35, 0.7)


def test_a_range_contains_its_steps_only() -> None:
    coarse = Dimension("m", "x", 0.1, 0.9, step=0.4)
    assert [coarse.contains(value) for value in (0.1, 0.5, 0.9, 0.3, 0.50001, 1.3, -0.3)] == [True, True, True, False, False, False, False]
    whole = Dimension("m", "x", 1, 9, whole=True, step=4)
    assert [value for value in range(12) if whole.contains(value)] == [1, 5, 9]
    assert [value for value in (1, 2.5, 3, 3.0001) if Dimension("m", "x", 1, 9, whole=True).contains(value)] == [1, 3]
    free = Dimension("m", "x", 0.1, 0.9)
    assert [free.contains(value) for value in (0.1, 0.123456789, 0.9, 0.0999, 0.9001, "auto", None, float("nan"), float("inf"))] == [
        True, True, True, False, False, False, False, False, False,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("dimension", "value", "expected"),
    [
        (Dimension("m", "x", 0.25, 0.75), 0.3, 0.3),
        (Dimension("m", "x", 0.25, 0.75), 0.1, 0.25),
        (Dimension("m", "x", 0.25, 0.75), 7.0, 0.75),
        (Dimension("m", "x", 0.25, 0.75), 1, 0.75),
        (Dimension("m", "x", 0.25, 0.75), "auto", 0.5),
        (Dimension("m", "x", 0.25, 0.75), None, 0.5),
        (Dimension("m", "x", 1.0, 100.0, log=True), "auto", 10.0),
        (Dimension("m", "x", 1.0, 100.0, log=True), 0.0, 1.0),
        (Dimension("m", "x", 0.1, 0.9, step=0.4), 0.4, 0.5),
        (Dimension("m", "x", 0.1, 0.9, step=0.4), 0.2, 0.1),
        (Dimension("m", "x", 0.1, 0.9, step=0.4), 5.0, 0.9),
        (Dimension("m", "x", 4, 16, whole=True, step=4), 9, 8),
        (Dimension("m", "x", 4, 16, whole=True, step=4), 99, 16),
        (Dimension("m", "x", 4, 16, whole=True), "auto", 10),
        (Dimension("m", "x", 4, 64, whole=True, log=True), "auto", 16),
        (Dimension("m", "x", 4, 64, whole=True, log=True), 0, 4),
        (Dimension("m", "x", choices=("a", "b")), "b", "b"),
        (Dimension("m", "x", choices=("a", "b")), "c", "a"),
        (Dimension("m", "x", choices=(0, True)), 1, 0),
    ],
)
def test_the_nearest_value_of_a_space(dimension: Dimension, value: Any, expected: Any) -> None:
    found = dimension.nearest(value)
    assert found == expected and type(found) is type(expected)
    assert dimension.contains(found)
    allowed = dimension.distribution()
    assert allowed._contains(allowed.to_internal_repr(found))


@pytest.mark.parametrize("text", ["0..1:step=0.3", "0.1..0.9:step=0.4", "0.25..1:step=0.5", "0.12345..0.12349:step=0.00001", "0..1:step=1"])
def test_steps_are_what_optuna_takes_them_for(text: str) -> None:
    """A value that only one of both allows could not be put back after a kill."""
    dimension = space(search=(f"toy.rate={text}",))["toy.rate"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of a range that its step does not divide
        allowed = dimension.distribution()
    values = dimension.values() or ()
    assert len(set(values)) == len(values) >= 2 and max(values) <= 1.0
    for value in (*values, *(number / 20 for number in range(21))):
        assert dimension.contains(value) == allowed._contains(value), value
    assert all(dimension.contains(value) and dimension.rounded(value) == value for value in values)
    assert all(dimension.rounded(value) in values for value in suggestions(dimension))
    assert (dimension.low, dimension.high) == pytest.approx((min(values), max(values)))  # a default between two steps moves none


# ------------------------------------------------------------------------------------------------------- fixed, protocol


def test_what_is_set_is_not_searched() -> None:
    found = space(fixed=("toy.rate", "protocol.lr"))
    assert "toy.rate" not in found and "protocol.lr" not in found and "protocol.weight_decay" in found
    assert "other.rate" not in space(fixed=("other.rate",)) and "toy.rate" in space(fixed=("other.rate",))


def test_the_learning_rate_follows_the_protocol() -> None:
    assert (space(lr=0.02)["protocol.lr"].low, space(lr=0.02)["protocol.lr"].high) == (0.002, 0.2)
    assert (space(lr=0.0012345678)["protocol.lr"].low, space(lr=0.0012345678)["protocol.lr"].high) == (1.235e-4, 0.01235)
    assert "protocol.lr" not in space(lr=0.0)
    assert space(search=("protocol.lr=0.1..1:log",))["protocol.lr"] == Dimension("protocol", "lr", 0.1, 1.0, log=True)


def test_other_values_of_the_protocol_only_when_asked_for() -> None:
    found = space(search=("protocol.epochs=5..20:step=5", "protocol.optimizer=[adam,sgd]"))
    assert found["protocol.epochs"] == Dimension(
        "protocol", "epochs", 5, 20, whole=True, step=5
    )  # steps stay where they are, and 30 is outside
    assert found["protocol.optimizer"].choices == ("adam", "sgd")


def test_a_value_of_the_protocol_that_needs_another_that_is_set() -> None:
    found = space(backbone="timm:resnet18", search=("protocol.pretrained=[true,false]",))
    assert found["protocol.pretrained"].choices == (True, False)


# ---------------------------------------------------------------------------------------------------------------- words


def test_search_in_all_its_forms() -> None:
    assert read_search(["a.x=1..2", " a . y = [1,2] ", "b.x=1..2:log"]) == {"a": {"x": "1..2", "y": "[1,2]"}, "b": {"x": "1..2:log"}}
    assert read_search(()) == {}
    asked = {
        "toy.rate=0.1..0.9": Dimension("toy", "rate", 0.1, 0.9),
        "toy.rate=1e-3..1:log": Dimension("toy", "rate", 1e-3, 1.0, log=True),
        "toy.rate=0..1:step=0.25": Dimension("toy", "rate", 0.0, 1.0, step=0.25),
        "toy.rate= 0.25 .. 0.75 : step=0.25": Dimension("toy", "rate", 0.25, 0.75, step=0.25),
        "toy.whole=2..6": Dimension("toy", "whole", 2, 6, whole=True),
        "toy.whole=1..7:step=2": Dimension("toy", "whole", 1, 7, whole=True, step=2),
        "toy.whole=[3, 5,5]": Dimension("toy", "whole", choices=(3, 5)),
        "toy.kind=['a', \"c\"]": Dimension("toy", "kind", choices=("a", "c")),
        "toy.flag=[true,no]": Dimension("toy", "flag", choices=(True, False)),
        "toy.auto=[auto,0.2]": Dimension("toy", "auto", choices=("auto", 0.2)),
        "toy.maybe=[none,0.5]": Dimension("toy", "maybe", choices=(None, 0.5)),
        "toy.kept=0.5..1.5": Dimension("toy", "kept", 0.5, 1.5),  # kept out of searches unless asked for
        "toy.bare=4..6": Dimension("toy", "bare", 4, 6, whole=True),
    }
    for text, dimension in asked.items():
        assert space(search=(text,))[dimension.key] == dimension, text


def test_whole_numbers_and_negative_ones() -> None:
    @dataclass(frozen=True)
    class Below:
        shift: float = hp(0.0, -1.0, 1.0)

    assert space(Below, search=("toy.shift=-0.5..0.5",))["toy.shift"] == Dimension("toy", "shift", -0.5, 0.5)
    assert space(Below, search=("toy.shift=[-1,0]",))["toy.shift"].choices == (-1.0, 0.0)


FORM = "write method.parameter=LOW..HIGH (with :log or :step=S) or =[value,value]"


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (("toy",), f"--search 'toy': {FORM}"),
        (("rate=0..1",), f"--search 'rate=0..1': {FORM}"),
        (("toy.rate",), f"--search 'toy.rate': {FORM}"),
        (("toy.rate=",), f"--search 'toy.rate=': {FORM}"),
        ((".rate=0..1",), f"--search '.rate=0..1': {FORM}"),
        (("",), f"--search '': {FORM}"),
        (("toy.rate=0..1", "toy.rate=[0,1]"), "--search 'toy.rate=[0,1]': toy.rate is given twice"),
        (("toy.rat=0..1",), "unknown parameter of toy in --search 'rat'; did you mean 'rate'"),
        (("protocol.lrr=0..1",), "unknown parameter of protocol in --search 'lrr'; did you mean 'lr'"),
        (("protocol.name=[quick,paper]",), "--search protocol.name: a protocol is chosen with --protocol, and its values are searched"),
        (("toy.rate=0.5",), "--search toy.rate=0.5 is neither LOW..HIGH (with :log or :step=S) nor [value,value]"),
        (("toy.rate=0..",), "--search toy.rate=0.. is neither LOW..HIGH"),
        (("toy.rate=[0,1",), "--search toy.rate=[0,1 is neither LOW..HIGH"),
        (("toy.rate=0..1..2",), "toy.rate: '1..2' is not a number"),
        (("toy.rate=a..1",), "toy.rate: 'a' is not a number"),
        (("toy.rate=0..nan",), "toy.rate: 'nan' is not a number"),
        (("toy.rate=0..inf",), "toy.rate: 'inf' is not a number"),
        (("toy.rate=0..7",), "toy.rate = 7.0 is outside [0, 1]"),
        (("toy.rate=[0.1,7]",), "toy.rate = 7.0 is outside [0, 1]"),
        (("toy.whole=1.5..3",), "toy.whole: '1.5' is not a whole number"),
        (("toy.kind=[a,d]",), "toy.kind = 'd' is not one of a, b, c"),
        (("toy.kind=a..b",), "--search toy.kind=a..b: kind is no number; write its values as [value,value]"),
        (("toy.flag=no..yes",), "--search toy.flag=no..yes: flag is no number; write its values as [value,value]"),
        (("toy.maybe=none..1",), "--search toy.maybe=none..1: maybe is no number; write its values as [value,value]"),
        (("toy.rate=[0.5]",), "--search toy.rate=[0.5]: a choice needs two different values; one is set with --set toy.rate=value"),
        (("toy.rate=[0.5,0.50]",), "--search toy.rate=[0.5,0.50]: a choice needs two different values"),
        (("toy.rate=[]",), "toy.rate: '' is not a number"),
        (("toy.rate=0.9..0.1",), "--search toy.rate=0.9..0.1: the range is empty; write the lower end first"),
        (("toy.rate=0.5..0.5",), "--search toy.rate=0.5..0.5: the range is empty"),
        (("toy.rate=0..1:log",), "--search toy.rate=0..1:log: a logarithmic scale starts above 0"),
        (("toy.rate=0.1..1:log:step=0.1",), "--search toy.rate=0.1..1:log:step=0.1: a logarithmic scale has no step"),
        (("toy.rate=0..1:step=2",), "--search toy.rate=0..1:step=2: a step of 2 does not fit into it"),
        (("toy.whole=1..9:step=0.5",), "--search toy.whole=1..9:step=0.5: a step of 0.5 does not fit into it"),
        (("toy.rate=0..1:lin",), "--search toy.rate=0..1:lin: ':lin' is neither :log nor :step=S with a number above 0"),
        (("toy.rate=0..1:step",), "--search toy.rate=0..1:step: ':step' is neither :log nor :step=S"),
        (("toy.rate=0..1:step=",), "--search toy.rate=0..1:step=: ':step=' is neither :log nor :step=S"),
        (("toy.rate=0..1:step=x",), "--search toy.rate=0..1:step=x: ':step=x' is neither"),
        (("toy.rate=0..1:step=0",), "--search toy.rate=0..1:step=0: ':step=0' is neither"),
        (("toy.rate=0..1:step=-0.1",), "--search toy.rate=0..1:step=-0.1: ':step=-0.1' is neither"),
        (("toy.rate=0..1:step=nan",), "--search toy.rate=0..1:step=nan: ':step=nan' is neither"),
        (("toy.rate=0..1:step=inf",), "--search toy.rate=0..1:step=inf: ':step=inf' is neither"),
        (("protocol.val_fraction=0..0.5",), "protocol: val_fraction=0 leaves nothing to select the epoch on"),
    ],
)
def test_a_search_that_cannot_be_read(texts: tuple[str, ...], message: str) -> None:
    with pytest.raises(BenchmarkError) as caught:
        space(search=texts)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_set_and_searched_too() -> None:
    for key in ("toy.rate", "protocol.lr"):
        with pytest.raises(BenchmarkError, match=f"{key} is set to one value and searched too; leave one of them out"):
            space(fixed=(key,), search=(f"{key}=0.1..0.9",))


# --------------------------------------------------------------------------------------------------------------- numbers


def test_four_significant_digits() -> None:
    values = (0.123456, 1234567.0, 1.00005e-7, 0.0, -0.98765)
    assert [rounded(value) for value in values] == [0.1235, 1235000.0, 1e-7, 0.0, -0.9877]


def test_a_suggestion_as_it_is_run() -> None:
    """Four digits of what the range leaves open, inside it; words and whole numbers stay."""
    plain, log = Dimension("m", "x", 0.0, 1.0), Dimension("m", "x", 1e-4, 1e-2, log=True)
    assert [plain.rounded(value) for value in (0.123456, 1.0, 0.99999, 0.0)] == [0.1235, 1.0, 1.0, 0.0]
    assert log.rounded(0.00123456) == 0.001235
    narrow = Dimension("m", "x", 0.99987, 0.99999)
    assert {narrow.rounded(value) for value in (0.99987, 0.999871, 0.99999)} == {0.99987, 0.999871, 0.99999}
    third = Dimension("m", "x", 1 / 3, 2 / 3)
    assert (third.rounded(1 / 3), third.rounded(2 / 3)) == (1 / 3, 2 / 3)  # 0.3333 and 0.6667 lie outside
    whole = Dimension("m", "x", 10_000, 99_999, whole=True)
    assert whole.rounded(12_345) == 12_345 and type(whole.rounded(12_345)) is int
    assert [Dimension("m", "x", choices=(0.123456, "a", True, None)).rounded(value) for value in (0.123456, "a", True, None)] == [
        0.123456, "a", True, None,
    ]  # fmt: skip


def test_identity_of_a_dimension() -> None:
    """Nothing of it may be lost: it is shown in JSON and makes the study's digest."""
    assert Dimension("m", "x", 0.0, 2.0).to_dict() == {"low": 0.0, "high": 2.0}
    assert Dimension("m", "x", -1, 0, whole=True, step=1).to_dict() == {"low": -1, "high": 0, "whole": True, "step": 1}
    assert Dimension("m", "x", 1e-3, 1.0, log=True).to_dict() == {"low": 1e-3, "high": 1.0, "log": True}
    assert Dimension("m", "x", choices=(None, False, 0.0)).to_dict() == {"choices": [None, False, 0.0]}


def test_grid_points_in_order() -> None:
    dimensions = (
        Dimension("m", "a", choices=("x", "y")),
        Dimension("m", "b", 1, 3, whole=True),
        Dimension("m", "c", 0.1, 0.5, step=0.2),
    )
    points = grid_points(dimensions, 12 + 6)
    assert len(points) == 18
    assert points[:4] == [
        {"m.a": "x", "m.b": 1, "m.c": 0.1},
        {"m.a": "x", "m.b": 1, "m.c": 0.3},
        {"m.a": "x", "m.b": 1, "m.c": 0.5},
        {"m.a": "x", "m.b": 2, "m.c": 0.1},
    ]
    assert points[-1] == {"m.a": "y", "m.b": 3, "m.c": 0.5}
    assert len(grid_points((Dimension("m", "a", 0.0, 1.0, step=0.1),), 11)) == 11
    assert [point["m.a"] for point in grid_points((Dimension("m", "a", 0, 10, whole=True, step=4),), 9)] == [0, 4, 8]
    fine = grid_points((Dimension("m", "a", 1.2345, 1.2347, step=0.0001),), 9)
    assert len({point["m.a"] for point in fine}) == 3


def test_a_grid_that_is_too_large_or_endless() -> None:
    pair = (Dimension("m", "a", choices=("x", "y")), Dimension("m", "b", 1, 3, whole=True))
    with pytest.raises(BenchmarkError, match=r"the grid of m\.a, m\.b has 6 points and --trials is 5; raise it, or search fewer values"):
        grid_points(pair, 5)
    endless = (*pair, Dimension("m", "c", 0.0, 1.0), Dimension("m", "d", 1, 8, whole=True, log=True))
    with pytest.raises(BenchmarkError, match=r"needs steps: write --search m\.c=\[value,value\].*\(also m\.d\)"):
        grid_points(endless, 1000)
    with pytest.raises(BenchmarkError, match="has 1001 points and --trials is 30"):
        grid_points((Dimension("m", "a", 0.0, 1.0, step=0.001),), 30)
