"""Confident learning on tiles: what is judged and what never is, against cleanlab and by hand; folds, kills, and whether it helps."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from cleanlab.filter import find_label_issues

from benchmark import conformance
from benchmark.bags.data import BagData
from benchmark.bags.segments import bag_of_tile
from benchmark.conformance import tiny_run
from benchmark.conformance_bags import tiny_bags
from benchmark.errors import BenchmarkError
from benchmark.metrics.bags import pseudo_label_quality
from benchmark.params import resolve
from benchmark.registry import Registry
from benchmark.spec import protocol

CL = Registry().load("method", "mil_cl")
MODULE = CL.fit.__globals__
"""Where the method looks its functions up."""

FILTERS, tile_issues = MODULE["FILTERS"], MODULE["tile_issues"]
WITNESS = 0.25


@contextlib.contextmanager
def epochs(number: int, **given) -> Iterator[None]:
    """The tiny runs' protocol with more epochs than two."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conformance, "protocol", lambda name, old: protocol(name, {**old, "epochs": number, "lr": 0.1, **given}))
        yield


def slides(n: int = 16, tiles: int = 12, patients: int = 0, seed: int = 0, shift: float = 3.0):
    """Bags of which every other one holds a quarter of tiles that are shifted along the first of five features; and all tiles' truth."""
    generator = torch.Generator().manual_seed(seed)
    values, labels = torch.randn(n, tiles, 5, generator=generator), torch.arange(n) % 2
    truth = (torch.arange(tiles) < WITNESS * tiles) & (labels[:, None] == 1)
    values[..., 0] += shift * truth
    groups = torch.arange(n) * patients // n if patients else None
    data = BagData(values.flatten(0, 1), labels, 2, ("negative", "positive"), groups=groups, offsets=torch.arange(0, n * tiles + 1, tiles))
    return (data, labels.numpy()), truth.flatten()


def weights(run) -> torch.Tensor:
    return torch.cat([value.flatten() for value in run.networks[0].state_dict().values()])


def nothing(labels: np.ndarray, probabilities: np.ndarray, filter_by: str) -> np.ndarray:
    """What cleanlab would say of labels that are all right."""
    return np.zeros(len(labels), dtype=bool)


def everything(labels: np.ndarray, probabilities: np.ndarray, filter_by: str) -> np.ndarray:
    """What it would say if all were wrong."""
    return np.ones(len(labels), dtype=bool)


def judging(labels: list[int], probabilities: list[float], **changes):
    """A method in the middle of a round: the labels that tiles have by now, and what is thought of them; bags of three."""
    method = CL(resolve(CL.Params, changes, "mil_cl"))
    method.labels, method.probabilities = torch.tensor(labels), torch.tensor(probabilities)
    method.offsets = torch.arange(0, len(labels) + 1, 3)
    method.kept = torch.ones(len(labels), dtype=torch.bool)
    return method


# ------------------------------------------------------------------------------------------------------- identities


def test_where_nothing_is_contradicted_it_trains_on_the_labels_that_tiles_inherit(monkeypatch):
    """Bit for bit the run in which nothing is judged, because there is no round, or because all bags are one patient's."""
    (data, truth), _ = slides()
    one = BagData(data.images, data.labels, 2, data.class_names, groups=torch.zeros(data.n, dtype=torch.int64), offsets=data.offsets)
    with epochs(3):
        inherited, doubted = tiny_run(CL, bags=(one, truth)), tiny_run(CL, bags=(data, truth))
        monkeypatch.setitem(MODULE, "tile_issues", nothing)
        trusted = tiny_run(CL, bags=(data, truth))
        never = tiny_run(CL, bags=(data, truth), rounds=0)
    assert torch.equal(weights(trusted), weights(never)) and not never.method.diagnostics()["contradicted"]
    assert torch.equal(weights(trusted), weights(inherited)) and not torch.equal(weights(doubted), weights(inherited))
    assert torch.equal(trusted.method.labels, data.labels.repeat_interleave(12)) and trusted.method.kept.all()
    assert trusted.method.diagnostics() == inherited.method.diagnostics() == {"contradicted": 0.0}
    assert len(trusted.judgements["pseudo_labels"]) == 3 and len(inherited.judgements["pseudo_labels"]) == 1


@pytest.mark.parametrize("filter_by", FILTERS)
def test_issues_are_cleanlabs(filter_by):
    rng = np.random.default_rng(0)
    for share in (0.5, 0.1):
        labels = (rng.random(300) < share).astype(np.int64)
        probabilities = np.clip(0.3 * labels + rng.normal(0.35, 0.2, 300), 0.01, 0.99)
        both = np.stack([1 - probabilities, probabilities], axis=1)
        found = tile_issues(labels, probabilities, filter_by)
        assert found.dtype == bool and found.any()
        assert np.array_equal(found, find_label_issues(labels, both, filter_by=filter_by))


def test_nan_is_told_in_one_line():
    with pytest.raises(BenchmarkError, match=r"^mil_cl: a fold's network predicts NaN; try a lower protocol.lr$"):
        tile_issues(np.array([0, 1]), np.array([0.5, np.nan]), "both")
    with pytest.raises(BenchmarkError, match="predicts NaN"):
        judging([1, 1, 1, 0, 0, 0], [float("nan"), 0.5, 0.5, 0.1, 0.1, 0.1]).contradicted()


# ---------------------------------------------------------------------------------------------------------- by hand


def test_the_likeliest_tile_of_each_positive_bag_stays(monkeypatch):
    monkeypatch.setitem(MODULE, "tile_issues", everything)
    method = judging([1, 1, 1, 0, 0, 0, 1, 1, 1], [0.1, 0.3, 0.2, 0.9, 0.9, 0.9, 0.4, 0.4, 0.1])
    assert method.contradicted().tolist() == [True, False, True, False, False, False, False, True, True]


def test_the_likeliest_is_sought_among_those_that_are_still_positive(monkeypatch):
    """The second tile lost its label in a round before; likely as it is now, the last positive tile of its bag stays."""
    monkeypatch.setitem(MODULE, "tile_issues", everything)
    for then in ("relabel", "drop"):
        method = judging([1, 0, 1, 0, 0, 0], [0.1, 0.9, 0.2, 0.1, 0.1, 0.1], then=then)
        assert method.contradicted().tolist() == [True, False, False, False, False, False]


def test_dropped_tiles_are_not_asked_about_again(monkeypatch):
    seen = []
    monkeypatch.setitem(MODULE, "tile_issues", lambda labels, p, by: seen.append((labels.tolist(), p.round(2).tolist())) or labels == 1)
    method = judging([1, 0, 1, 0, 0, 0], [0.1, 0.9, 0.2, 0.3, 0.4, 0.5])
    method.kept[1] = False
    assert method.contradicted().tolist() == [True, False, False, False, False, False]
    assert seen == [([1, 1, 0, 0, 0], [0.1, 0.2, 0.3, 0.4, 0.5])]


def test_contradicted_tiles_by_hand():
    """t_1 is the mean of .9 .8 .7 .2 .1 .9 = .6, t_0 = .7 (1 − .3): of the positive tiles .2 and .1 count as negative."""
    method = judging([1, 1, 1, 1, 1, 1, 0, 0, 0], [0.9, 0.8, 0.7, 0.2, 0.1, 0.9, 0.2, 0.3, 0.4], filter_by="confident_learning")
    assert method.contradicted().tolist() == [False] * 3 + [True, True] + [False] * 4


def test_bag_scores_and_what_they_say_of_labels():
    method = judging([1, 1, 1, 0, 0, 0, 1, 1, 1, 1, 1, 1], [0.9, 0.1, 0.7, 0.2, 0.4, 0.3, 0.5, 0.5, 0.5, 0.6, 0.0, 0.4], top=2)
    scores = method.bag_scores(method.probabilities, method.offsets)
    torch.testing.assert_close(scores, torch.tensor([0.8, 0.35, 0.5, 0.5]))
    alone = judging([1] * 3, [0.9, 0.1, 0.7], top=10)
    torch.testing.assert_close(alone.bag_scores(alone.probabilities, alone.offsets), torch.tensor([1.7 / 3]))  # fewer than ten
    method.data = BagData(torch.zeros(12, 1), torch.tensor([1, 0, 1, 0]), 2, ("a", "b"), offsets=method.offsets)
    # ranks 4, 1, and 2.5 for the two that are equal, of 5
    torch.testing.assert_close(method.label_quality(), torch.tensor([0.8, 0.8, 0.5, 0.5]))


def test_pseudo_labels_are_those_that_were_trained_on():
    method = judging([1, 0, 1, 0, 0, 1], [0.3, 0.9, 0.0, 0.0, 0.6, 1.0])
    torch.testing.assert_close(method.standing(), torch.tensor([2.3 / 3, 0.3, 2 / 3, 0.0, 0.2, 1.0]))
    bags, _ = slides()
    run = tiny_run(CL, bags=bags, rounds=2)
    rounds, threshold = run.method.pseudo_labels()
    assert rounds.shape == (2, 192) and torch.equal(rounds[-1] > threshold, run.method.labels == 1)
    assert not ((rounds[1] > threshold) & (rounds[0] <= threshold)).any()  # what is negative stays negative


def test_predictions_of_bags_are_the_mean_of_their_highest_tiles():
    run = tiny_run(CL, bags=slides()[0], top=2)
    top = run.judgements["tile_scores"].reshape(16, 12).sort(dim=1).values[:, -2:].mean(dim=1)
    torch.testing.assert_close(run.probabilities[:, 1], top)


# ------------------------------------------------------------------------------------------------------------- runs


@pytest.mark.parametrize("then", ["relabel", "drop"])
def test_negative_tiles_are_never_doubted_and_every_positive_bag_has_one(monkeypatch, then):
    monkeypatch.setitem(MODULE, "tile_issues", everything)
    (data, truth), _ = slides()
    method = tiny_run(CL, bags=(data, truth), then=then).method
    bag = bag_of_tile(data.offsets, data.tiles)
    negative = data.labels[bag] == 0
    assert not method.labels[negative].any() and method.kept[negative].all()
    left = torch.zeros(data.n, dtype=torch.int64).index_add(0, bag, method.labels * method.kept)
    assert torch.equal(left, data.labels)  # one tile of each positive bag
    assert method.diagnostics()["contradicted"] == pytest.approx(11 / 12)
    assert int((~method.kept).sum()) == (8 * 11 if then == "drop" else 0)


def trained(monkeypatch, **changes):
    """The run, and (stage, tiles, their labels) of each training."""
    seen, train = [], CL.train_on_tiles

    def record(self, stage, networks, rows, number, *, final=False):
        seen.append((stage, rows.clone(), self.labels[rows].clone(), number))
        return train(self, stage, networks, rows, number, final=final)

    monkeypatch.setattr(CL, "train_on_tiles", record)
    return tiny_run(CL, **changes), seen


def test_no_tile_of_a_patient_is_on_both_sides(monkeypatch):
    asked, predict = [], conformance.RunContext.predict
    monkeypatch.setattr(
        conformance.RunContext, "predict", lambda run, network, rows=None: asked.append(rows) or predict(run, network, rows)
    )
    run, seen = trained(monkeypatch, bags=slides(patients=5)[0], rounds=2)
    patient = run.data.groups[bag_of_tile(run.data.offsets, run.data.tiles)]
    predicted = [rows for rows in asked if rows is not None]
    assert [stage for stage, *_ in seen] == [f"round{r}-fold{k}" for r in range(2) for k in range(3)] + ["train"]
    assert len(predicted) == 6
    for (_, inside, labels, number), outside in zip(seen, predicted, strict=False):
        assert not set(patient[inside].tolist()) & set(patient[outside].tolist())
        assert len(inside) + len(outside) == 192 and set(labels.tolist()) == {0, 1} and number == 1  # half of two epochs
    assert sorted(torch.cat(predicted[:3]).tolist()) == list(range(192))


def test_dropped_tiles_are_left_out_of_what_follows(monkeypatch):
    monkeypatch.setitem(MODULE, "tile_issues", everything)
    run, seen = trained(monkeypatch, bags=slides()[0], rounds=2, then="drop")
    out = torch.where(~run.method.kept)[0]
    assert len(out) == 8 * 11
    for stage, rows, labels, _ in seen:
        assert bool(torch.isin(out, rows).any()) == stage.startswith("round0")
        assert stage.startswith("round0") or int(labels.sum()) <= 8
    assert len(seen[-1][1]) == 192 - len(out)


def test_relabelled_tiles_stay_in_as_negatives(monkeypatch):
    monkeypatch.setitem(MODULE, "tile_issues", everything)
    _, seen = trained(monkeypatch, bags=slides()[0], rounds=1)
    stage, rows, labels, number = seen[-1]
    assert (stage, len(rows), int(labels.sum()), number) == ("train", 192, 8, 2)


def lone(place: int, n: int = 24) -> np.ndarray:
    labels = np.zeros(n, dtype=np.int64)
    labels[place] = 1
    return labels


@pytest.mark.parametrize("labels", [lone(7), 1 - lone(7), lone(0) * 0])
def test_nothing_is_judged_by_who_has_not_seen_both_labels(labels):
    """One positive bag, one negative bag, no positive bag: the fold that holds it would be judged by a classifier of one label."""
    run = tiny_run(CL, bags=tiny_bags(labels))
    assert torch.equal(run.method.labels, run.method.inherited) and torch.isfinite(run.probabilities).all()
    assert run.judgements["pseudo_labels"].shape == (1, run.data.tiles)
    assert (run.judgements["label_quality"] == 0.5).all()


def test_a_single_bag():
    tiles = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    bag = BagData(tiles, torch.tensor([1]), 2, ("negative", "positive"), offsets=torch.tensor([0, 5]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conformance, "first_bags", lambda data: conformance.task_of("bags").whole(data))
        run = tiny_run(CL, bags=(bag, np.array([1])))
    assert run.probabilities.shape == (1, 2) and run.method.diagnostics() == {"contradicted": 0.0}


@pytest.mark.parametrize(
    "change", [{"filter_by": "predicted_neq_given"}, {"then": "drop"}, {"rounds": 1}, {"folds": 5}, {"classifier": "mlp"}]
)
def test_each_option_changes_the_weights(change):
    with epochs(4):
        bags, _ = slides()
        assert not torch.equal(weights(tiny_run(CL, bags=bags)), weights(tiny_run(CL, bags=bags, **change)))


@pytest.mark.parametrize("then", ["relabel", "drop"])
def test_a_run_killed_anywhere_ends_with_the_same_numbers(tmp_path: Path, then):
    changes = {"bags": slides(n=8, tiles=4)[0], "rounds": 2, "folds": 2, "epoch_share": 1.0, "then": then}
    whole = tiny_run(CL, **changes)
    total = whole.run._observer.epochs
    assert total == 2 * (2 * 2 + 1) and whole.method.diagnostics()["contradicted"] > 0
    for point in range(total):
        folder = tmp_path / str(point)
        with contextlib.suppress(conformance._KilledError):
            tiny_run(CL, folder=folder, kill_after=point, **changes)
        resumed = tiny_run(CL, folder=folder, **changes)
        assert not conformance._differences(whole, resumed), point
        assert torch.equal(weights(whole), weights(resumed)), point
        assert torch.equal(whole.method.labels, resumed.method.labels) and torch.equal(whole.method.kept, resumed.method.kept)


# -------------------------------------------------------------------------------------------------------- behaviour


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("then", ["relabel", "drop"])
def test_what_is_left_is_positive_more_often(then, seed):
    """A quarter of the tiles of positive bags are; of those that keep the label far more, and few of them are lost."""
    with epochs(10):
        bags, truth = slides(n=40, seed=seed)
        run = tiny_run(CL, bags=bags, then=then)
    left = run.method.labels == 1
    assert float(truth[left].float().mean()) > 1.6 * WITNESS and float(left[truth].float().mean()) > 0.9
    found = [
        pseudo_label_quality(scores.numpy(), truth.numpy().astype(np.int8), run.data.offsets.numpy(), run.data.labels.numpy(), 0.5)
        for scores in run.judgements["pseudo_labels"]
    ]
    precisions = [quality["precision_positive_bags"] for quality in found]
    assert precisions == sorted(precisions) and precisions[0] > WITNESS
    assert precisions[-1] == pytest.approx(float(truth[left].float().mean()))
    scores = run.judgements["tile_scores"]
    assert float((scores[truth][:, None] > scores[~truth][None, :]).float().mean()) > 0.95


def test_wrong_bags_have_labels_of_low_quality():
    (data, truth), _ = slides(n=40)
    given = data.labels.clone()
    wrong = torch.tensor([0, 2, 5, 7])
    given[wrong] = 1 - given[wrong]
    with epochs(10):
        quality = tiny_run(CL, bags=(BagData(data.images, given, 2, data.class_names, offsets=data.offsets), truth)).judgements[
            "label_quality"
        ]
    right = torch.ones(40, dtype=torch.bool)
    right[wrong] = False
    assert float((quality[right][:, None] > quality[wrong][None, :]).float().mean()) > 0.9
