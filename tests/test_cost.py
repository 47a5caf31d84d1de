"""What finished runs tell of a cell's duration, on histories made by hand."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from benchmark.cost import CostModel, FolderCosts, traits_of, wall_seconds
from benchmark.store import RunStore


def spec(method: str = "ce", dataset: str = "digits", *, seed: int = 0, epochs: int = 10, params: dict | None = None, **data: Any) -> dict:
    """A cell as JSON; ``data`` are parameters of the data set."""
    return {
        "method": {"name": method, "params": params or {}},
        "dataset": {"name": dataset, "params": data},
        "noise": {"name": "none", "params": {}},
        "protocol": {"backbone": "cnn_small", "precision": "fp32", "augmentation": "auto", "batch_size": 32, "epochs": epochs},
        "seed": seed,
    }


def result(
    cell: dict, seconds: float, *, samples: int = 850, device: str = "cpu", finished: str = "1", shape=(8, 8, 1), **more: Any
) -> dict:
    """What a run of the cell leaves; 15 % of the pool validate."""
    sizes = {"task": "classification", "n_train": samples, "n_val": round(samples * 15 / 85), "image_shape": list(shape)}
    return {
        "run_key": f"{len(str(cell))}-{cell['seed']}-{seconds}",
        "status": "done",
        "spec": cell,
        "cost": {"seconds": seconds},
        "data": sizes,
        "host": {"device": device},
        "finished": finished,
        **more,
    }


def model(*results: dict, device: str | None = None) -> CostModel:
    made = CostModel(device)
    for one in results:
        made.learn(one)
    return made


def test_without_a_history_there_is_no_estimate() -> None:
    assert model().predict(spec()) is None


def test_the_median_of_the_same_cell_on_other_seeds_with_its_scatter() -> None:
    history = [result(spec(seed=seed), seconds) for seed, seconds in enumerate((10.0, 12.0, 14.0, 16.0, 90.0))]
    found = model(*history).predict(spec(seed=9))
    assert found is not None
    assert (found.seconds, found.runs, found.basis) == (14.0, 5, "the same cell")
    assert found.low == pytest.approx(10.8)  # 0.4 of the way from the first of five to the second
    assert found.high == pytest.approx(60.4)  # 0.6 of the way from 16 to 90
    two = model(*history[:2]).predict(spec(seed=9))
    assert two is not None and (two.seconds, two.low, two.high) == (11.0, None, None)


def test_other_epochs_scale() -> None:
    found = model(result(spec(epochs=10), 20.0), result(spec(epochs=20, seed=1), 44.0)).predict(spec(epochs=30))
    assert found is not None and found.seconds == 63.0  # the median of 20 × 3 and 44 × 1.5
    assert found.basis == "other epochs or subset"


def test_runs_of_as_many_epochs_come_first() -> None:
    found = model(result(spec(epochs=10), 20.0), result(spec(epochs=30, seed=1), 50.0)).predict(spec(epochs=30, seed=2))
    assert found is not None and (found.seconds, found.runs) == (50.0, 1)


@pytest.mark.parametrize(
    ("known", "wanted", "expected"),
    [
        ({}, {"subset": 0.5}, 50.0),
        ({"subset": 0.5}, {}, 200.0),
        ({"subset": 0.5}, {"subset": 0.1}, 20.0),
        ({}, {"subset": 250.0}, 25.0),  # of the 1000 that train and validate
        ({}, {"subset": 5000.0}, 100.0),  # there are no more than 1000
        ({"subset": 1000.0}, {"subset": 250.0}, 25.0),
        ({"subset": 1000.0}, {"subset": 0.5}, None),  # how many there are in all is not known
    ],
)
def test_other_subsets_scale(known: dict, wanted: dict, expected: float | None) -> None:
    found = model(result(spec(**known), 100.0)).predict(spec(**wanted))
    assert found is None if expected is None else found is not None and found.seconds == pytest.approx(expected)


def test_other_parameters_of_the_method_are_better_than_nothing() -> None:
    found = model(result(spec(params={"rate": 0.1}), 10.0)).predict(spec(params={"rate": 0.2}, epochs=20))
    assert found is not None and (found.seconds, found.basis) == (20.0, "other settings of the method")


def test_another_data_set_of_the_same_shape_tells_once_its_size_is_known() -> None:
    slow = result(spec("hsa", "digits"), 90.0, samples=900)
    assert model(slow).predict(spec("hsa", "tissue")) is None
    size = result(spec("ce", "tissue"), 1.0, samples=300)
    found = model(slow, size).predict(spec("hsa", "tissue"))
    assert found is not None and (found.seconds, found.basis) == (30.0, "other data of this shape")
    larger = result(spec("ce", "tissue"), 1.0, samples=300, shape=(16, 16, 1))
    assert model(slow, larger).predict(spec("hsa", "tissue")) is None


def test_bags_cost_by_their_tiles() -> None:
    tiles = result(spec("abmil", "slides"), 40.0, samples=10)
    tiles["data"]["tiles_train"] = 4000
    others = result(spec("mil_max", "more_slides"), 5.0, samples=100)
    others["data"]["tiles_train"] = 1000
    found = model(tiles, others).predict(spec("abmil", "more_slides"))
    assert found is not None and found.seconds == 10.0


@pytest.mark.parametrize("change", [("backbone", "resnet18"), ("precision", "bf16"), ("augmentation", "crop")])
def test_another_network_says_nothing(change: tuple[str, str]) -> None:
    other = spec()
    other["protocol"][change[0]] = change[1]
    assert model(result(other, 10.0)).predict(spec()) is None


def test_another_device_says_nothing() -> None:
    cpu, gpu = result(spec(), 100.0, finished="2026-01-01"), result(spec(seed=1), 10.0, device="H200", finished="2026-01-02")
    seconds = {device: model(cpu, gpu, device=device).predict(spec(seed=2)) for device in ("cpu", "H200", "T4", None)}
    assert {device: found and found.seconds for device, found in seconds.items()} == {"cpu": 100.0, "H200": 10.0, "T4": None, None: 10.0}


@pytest.mark.parametrize(
    "change",
    [
        {"status": "diverged"},
        {"status": "skipped", "cost": {}},
        {"cost": {"seconds": "long"}},
        {"cost": {"seconds": -1.0}},
        {"cost": {"seconds": float("inf")}},
        {"cost": None},
        {"spec": None},
        {"spec": {"method": "ce"}},
        {"spec": {**spec(), "protocol": {"epochs": "ten"}}},
        {"data": [1]},
        {"host": "here"},
        {"cost": [1]},
        {"cost": {"seconds": 10**400}},
        {"cost": {"seconds": float("nan")}},
        {"cost": {"seconds": True}},
        {"spec": [1]},
        *({"spec": spec(epochs=epochs)} for epochs in (0, -1, 10**400, float("inf"), float("nan"), None)),
        *({"spec": spec(subset=subset)} for subset in (0, 0.0, -1, 10**400, float("inf"), float("nan"), None)),
    ],
)
def test_what_is_no_whole_result_is_left_out(change: dict) -> None:
    broken = {**result(spec(), 10.0), **change}
    assert model(broken).predict(spec()) is None
    found = model(broken, result(spec(seed=1), 7.0)).predict(spec())
    assert found is not None and (found.seconds, found.runs) == (7.0, 1)


@pytest.mark.parametrize("odd", [10**400, -(10**400), float("inf"), float("nan"), -5, 0, "many", [1]])
@pytest.mark.parametrize("name", ["n_train", "n_val", "tiles_train"])
def test_odd_numbers_of_samples_do_no_harm(odd: Any, name: str) -> None:
    broken = result(spec(), 10.0)
    broken["data"][name] = odd
    learned = model(broken)
    same, smaller = learned.predict(spec(seed=5)), learned.predict(spec(subset=0.5))
    assert same is not None and same.seconds == 10.0
    assert smaller is None or 0 <= smaller.seconds <= 10


def test_extremes_that_each_may_be_give_no_number_together() -> None:
    tiny = result(spec(subset=1e-320), 1e9)
    assert model(tiny).predict(spec()) is None
    assert model(result(spec(epochs=1), 1e9)).predict(spec(epochs=10**9)) is None
    free = model(result(spec(), 0.0)).predict(spec(seed=1))
    assert free is not None and free.seconds == 0.0


def test_nothing_is_predicted_of_what_is_no_cell() -> None:
    for broken in (spec(epochs=float("inf")), spec(subset=0.0), [1], {}):
        assert traits_of(broken) is None and model(result(spec(), 10.0)).predict(broken) is None


def test_a_folder_is_read_once_and_again_where_it_has_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, read = RunStore(tmp_path), []
    original = RunStore.result
    monkeypatch.setattr(RunStore, "result", lambda self, key: read.append(key) or original(self, key))

    def write(key: str, seconds: float, seed: int) -> None:
        (tmp_path / key).mkdir(exist_ok=True)
        content = {**result(spec(seed=seed), seconds), "schema": 1, "run_key": key}
        (tmp_path / "new").write_text(json.dumps(content))
        (tmp_path / "new").rename(tmp_path / key / "result.json")

    def told() -> tuple[float, int] | None:
        found = costs.model().predict(spec(seed=9))
        return None if found is None else (found.seconds, found.runs)

    first, second, costs = "a" * 16, "b" * 16, FolderCosts(store)
    (tmp_path / ("c" * 16)).mkdir()  # has no result
    assert told() is None
    write(first, 10.0, 0)
    assert (told(), told(), read) == ((10.0, 1), (10.0, 1), [first])
    write(second, 30.0, 1)
    assert (told(), read) == ((20.0, 2), [first, second])
    write(first, 20.0, 0)
    assert (told(), read) == ((25.0, 2), [first, second, first])
    (tmp_path / second / "result.json").unlink()
    assert (told(), len(read)) == ((20.0, 1), 3)


def test_a_run_counts_once_and_can_be_forgotten() -> None:
    first = result(spec(), 10.0)
    again = copy.deepcopy(first) | {"cost": {"seconds": 30.0}}
    learned = model(first, again)
    found = learned.predict(spec())
    assert found is not None and (found.seconds, found.runs) == (30.0, 1)
    learned.forget(first["run_key"])
    learned.forget("unknown")
    assert learned.predict(spec()) is None


@pytest.mark.parametrize(
    ("durations", "slots", "expected"),
    [
        ([], 2, 0.0),
        ([5.0], 4, 5.0),
        ([3.0, 3.0, 2.0, 2.0, 2.0], 1, 12.0),
        ([2.0, 3.0, 2.0, 3.0, 2.0], 2, 7.0),  # 3+2+2 and 3+2; six each would be best
        ([1.0, 1.0, 1.0, 1.0, 4.0], 2, 4.0),  # in this order, two slots would take 6
        ([1.0, 2.0], 0, 3.0),
    ],
)
def test_wall_time_is_that_of_longest_first(durations: list[float], slots: int, expected: float) -> None:
    assert wall_seconds(durations, slots) == expected
