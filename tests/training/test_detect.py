"""Detect, then train: what becomes of labels under each of the three ways, and at the edges."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import average_precision_score

from benchmark.params import resolve
from benchmark.registry import Registry
from benchmark.training.context import RunContext
from benchmark.training.detect import Detector, DetectorParams, StageTensors, Verdict, VerdictParams, lowest_share, trust


class Known(Detector):
    """Is told what to say."""

    name = "known"
    verdict: Verdict

    def detect(self, data, run):  # type: ignore[no-untyped-def]
        return self.verdict


def fitted(context: Callable[..., RunContext], verdict: Callable[[int], Verdict], **params: Any) -> tuple[Known, list[int]]:
    run = context(n=12, epochs=1, augmentation="none")
    method = Known(VerdictParams(**params))
    method.run, method.data, method.verdict = run, run._data, verdict(12)
    method.fit(run._data, run)
    seen = (~run.history.values[0].isnan()).nonzero().squeeze(1).tolist()
    return method, seen


def first_three(n: int, **more: Any) -> Verdict:
    wrong = torch.arange(n) < 3
    return Verdict(torch.arange(n).float(), wrong, **more)


def test_drop_trains_on_the_rest(context: Callable[..., RunContext]) -> None:
    method, seen = fitted(context, first_three)
    assert seen == list(range(3, 12))
    corrected = method.corrected_labels()
    assert corrected is not None and corrected[:3].tolist() == [-1, -1, -1]
    assert torch.equal(corrected[3:], method.data.labels[3:])
    assert method.suspects().tolist() == [True] * 3 + [False] * 9 and method.diagnostics() == {"flagged": 0.25}
    assert method.sample_columns() == {}


def test_relabel_trains_on_all_with_the_suggestions(context: Callable[..., RunContext]) -> None:
    method, seen = fitted(context, lambda n: first_three(n, suggested=torch.full((n,), 2)), then="relabel")
    assert seen == list(range(12))
    corrected = method.corrected_labels()
    assert corrected is not None and corrected[:3].tolist() == [2, 2, 2] and torch.equal(corrected[3:], method.data.labels[3:])


def test_suggestions_are_told_whatever_becomes_of_the_labels(context: Callable[..., RunContext]) -> None:
    method, _ = fitted(context, lambda n: first_three(n, suggested=torch.full((n,), 1)))
    assert method.sample_columns()["suggested"].tolist() == [1] * 12


def test_relabel_without_suggestions_drops(context: Callable[..., RunContext]) -> None:
    _, seen = fitted(context, first_three, then="relabel")
    assert seen == list(range(3, 12))


def test_weights_are_the_detectors_or_the_rank(context: Callable[..., RunContext]) -> None:
    method, seen = fitted(context, first_three, then="weight")
    assert seen == list(range(12)) and method.corrected_labels() is None
    _, seen = fitted(context, lambda n: first_three(n, weights=(torch.arange(n) % 2).float()), then="weight")
    assert seen == [1, 3, 5, 7, 9, 11]


def test_trust_is_the_rank_and_equals_share_theirs() -> None:
    def weights(quality: list[float]) -> list[float]:
        return trust(Verdict(torch.tensor(quality), torch.zeros(len(quality), dtype=torch.bool))).tolist()

    assert weights([3.0, 1.0, 2.0, 9.0]) == [0.75, 0.25, 0.5, 1.0]
    assert weights([5.0, 1.0, 5.0, 5.0]) == [0.75, 0.25, 0.75, 0.75]  # ranks 2, 3 and 4 of 4: their mean is 3
    assert len(set(weights([7.0] * 5))) == 1, "who knows nothing weights nothing"


def test_a_weight_of_two_is_a_sample_seen_twice(context: Callable[..., RunContext]) -> None:
    """The loss of a batch with weights w is Σ w ℓ / Σ w over the kept samples, here one batch."""
    run = context(n=8, epochs=1, augmentation="none")
    method = Known(VerdictParams(then="weight"))
    weights = torch.tensor([2.0, 1, 1, 0, 1, 1, 1, 1])
    method.run, method.data = run, run._data
    method.verdict = Verdict(torch.zeros(8), torch.zeros(8, dtype=torch.bool), weights=weights)
    fresh, losses = run.networks(1), []
    run.observe(type("Log", (), {"after_epoch": lambda self, line, predict, **_: losses.append(line["loss"]), "state_dict": dict})())
    method.fit(run._data, run)
    images = run._augmenter(run._data.images)
    fresh.train()
    with torch.no_grad():
        each = F.cross_entropy(fresh[0](images[weights > 0]), run._data.labels[weights > 0], reduction="none")
    assert losses == [pytest.approx(float((each * weights[weights > 0]).sum() / weights.sum()), rel=1e-4)]


@pytest.mark.parametrize("then", ["drop", "relabel", "weight"])
@pytest.mark.parametrize("wrong", [True, False])
def test_everything_wrong_and_nothing_wrong(context: Callable[..., RunContext], then: str, wrong: bool) -> None:
    verdict = Verdict(torch.zeros(12), torch.full((12,), wrong), weights=torch.full((12,), float(not wrong)))
    _, seen = fitted(context, lambda n: verdict, then=then)
    assert seen == list(range(12)), "there is always something to train on"


def test_one_sample_is_not_enough_for_batch_norm(context: Callable[..., RunContext]) -> None:
    _, seen = fitted(context, lambda n: Verdict(torch.zeros(n), torch.arange(n) > 0))
    assert seen == list(range(12))


def test_the_lowest_are_as_many_as_the_rate_says(context: Callable[..., RunContext]) -> None:
    method = Known(DetectorParams(noise_rate=0.3))
    method.run = context(n=12)
    method.data = method.run._data
    assert method.lowest(torch.tensor([5.0, 1, 4, 1, 9, 9, 9, 9, 9, 9, 9, 0])).nonzero().squeeze(1).tolist() == [1, 3, 11]
    assert method.rate == 0.3


def test_the_lowest_of_each_class(context: Callable[..., RunContext]) -> None:
    method = Known(DetectorParams(noise_rate=0.5, per_class=True))
    method.run = context(n=12)
    method.data = method.run._data  # classes 0, 1, 2, 1, 1, 2, 0, 2, 2, 0, 1, 0: four of each
    assert method.data.labels.bincount().tolist() == [4, 4, 4]
    chosen = method.lowest(torch.arange(12).float())
    assert method.data.labels[chosen].bincount().tolist() == [2, 2, 2]
    assert chosen.nonzero().squeeze(1).tolist() == [0, 1, 2, 3, 5, 6]


def test_share_within_classes_by_hand() -> None:
    labels = torch.tensor([0] * 8 + [1] * 2 + [3])
    quality = torch.tensor([8.0, 7, 6, 5, 4, 3, 2, 1, 0.5, 0.4, 0.1])
    assert lowest_share(quality, 0.3).nonzero().squeeze(1).tolist() == [8, 9, 10], "the rare classes go first"
    assert lowest_share(quality, 0.3, labels).nonzero().squeeze(1).tolist() == [6, 7], "⌊2.4⌋, ⌊0.6⌋ and ⌊0.3⌋"
    assert lowest_share(quality, 0.5, labels).nonzero().squeeze(1).tolist() == [4, 5, 6, 7, 9]


@pytest.mark.parametrize(("rate", "count"), [(0.29, 29), (0.57, 57), (0.0, 0), (0.95, 95)])
def test_rounding_does_not_lose_a_sample(rate: float, count: int) -> None:
    """0.29 · 100 is 28.999999999999996 in floating point."""
    assert int(lowest_share(torch.arange(100.0), rate).sum()) == count
    assert int(lowest_share(torch.arange(100.0), rate, torch.zeros(100, dtype=torch.long)).sum()) == count


def test_no_samples_have_no_lowest() -> None:
    nothing = torch.empty(0)
    assert len(lowest_share(nothing, 0.5)) == len(lowest_share(nothing, 0.5, nothing.long())) == 0


def test_stage_tensors_come_back_with_a_stage(context: Callable[..., RunContext], tmp_path: Path) -> None:
    """What a killed stage had filled is there again, in the very tensors that the method holds."""

    def count_epochs(stop: int) -> float:
        run = context(n=12, epochs=3, folder=tmp_path)
        tensors = StageTensors(seen=torch.zeros(2))
        for epoch in run.epochs("detect", run.networks(1, name="detect"), state=tensors):
            if epoch == stop:
                break
            tensors["seen"].add_(1)
        return float(tensors["seen"].sum())

    assert count_epochs(stop=2) == 4.0  # two epochs, and the kill
    assert count_epochs(stop=99) == 6.0, "the third epoch, on top of the two that were kept"


# ------------------------------------------------------------------------------------------- the built-in detectors

RATE = 0.25
"""Every fourth label of the tiny images is wrong."""

DETECTORS = {
    "confident_learning": {"folds": 3},
    "aum": {},
    "aum:rate": {"threshold": "rate"},
    "simifeat": {},
    "simifeat:rank": {"decide": "rank"},
    "loss_gmm": {},
    "vog": {},
}


def detected(
    context: Callable[..., RunContext], name: str, plan: str = "linear_tail", **params: Any
) -> tuple[Detector, Verdict, torch.Tensor]:
    """A detector's verdict on 120 images of three brightnesses, 25 % of them with a wrong label, without the training after it."""
    run = context(n=120, epochs=10, batch_size=16, augmentation="none", lr_schedule=plan)
    cls = Registry().load("method", name.split(":", maxsplit=1)[0])
    method = cls(resolve(cls.Params, params, name))
    method.run, method.data = run, run._data
    wrong = torch.arange(120) % 4 == 3
    return method, method.detect(run._data, run), wrong


@pytest.mark.parametrize("name", list(DETECTORS))
def test_detectors_rank_wrong_labels_far_above_chance(context: Callable[..., RunContext], name: str) -> None:
    _, verdict, wrong = detected(context, name, **DETECTORS[name])
    assert average_precision_score(wrong, -verdict.quality) > 0.85, "a random ranking has 0.25 on average"
    assert verdict.suggested is not None and verdict.suggested.shape == (120,) and verdict.suggested.dtype == torch.int64
    hits = float((verdict.wrong & wrong).sum())
    assert hits / float(verdict.wrong.sum()) > 0.7 and hits / float(wrong.sum()) > 0.6
    truth = torch.arange(120) % 3
    assert float((verdict.suggested == truth)[wrong].float().mean()) > 0.8, "most suggestions for wrong labels are right"


def test_a_ranking_has_few_ties(context: Callable[..., RunContext]) -> None:
    """A curve over budgets needs an order of all labels, not a score of a few values."""
    for name in ("confident_learning", "aum", "loss_gmm", "vog", "simifeat", "random_detector"):
        _, verdict, _ = detected(context, name)
        assert len(verdict.quality.unique()) > 60, f"{name} tells only {len(verdict.quality.unique())} of 120 labels apart"


def test_the_mixture_averages_the_last_epochs(context: Callable[..., RunContext]) -> None:
    """At a constant learning rate a warm-up of 5 epochs passes through the ends of one of 3 and one of 4."""
    ends = [detected(context, "loss_gmm", "constant", warmup=epochs, average=1)[1].quality for epochs in (3, 4, 5)]
    _, verdict, _ = detected(context, "loss_gmm", "constant", warmup=5, average=3)
    assert torch.allclose(verdict.quality, torch.stack(ends).mean(dim=0), atol=1e-5)
    assert not torch.allclose(verdict.quality, ends[-1], atol=1e-2)
