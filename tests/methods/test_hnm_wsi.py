"""HNM-WSI and ItS2CLR: one is the other without what is new; rounds, pools and pairs; bags held out; kills at every epoch of a stage."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmark import conformance
from benchmark.bags.data import BagBatch, BagData
from benchmark.bags.losses import two_stream_loss
from benchmark.bags.networks import BagOutput
from benchmark.bags.segments import bag_of_tile
from benchmark.conformance import tiny_run
from benchmark.conformance_bags import tiny_bags
from benchmark.params import resolve
from benchmark.registry import Registry
from benchmark.spec import protocol

HNM, ItS2CLR, DSMIL = (Registry().load("method", name) for name in ("hnm_wsi", "its2clr", "dsmil"))
NEW = {"neg_ratio": 1.0, "rank_weight": 0.0}
"""Without what is new in HNM-WSI."""


@contextlib.contextmanager
def epochs(number: int) -> Iterator[None]:
    """The tiny runs' protocol with more epochs than two."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conformance, "protocol", lambda name, given: protocol(name, {**given, "epochs": number, "lr": 1e-2}))
        yield


def slides(n: int = 24, tiles: int = 12, witness: int = 2, shift: float = 3.0, patients: int = 0):
    """Bags of which every other one holds some tiles that are shifted along the first of five features; and the truth of all tiles."""
    generator = torch.Generator().manual_seed(0)
    values, labels = torch.randn(n, tiles, 5, generator=generator), torch.arange(n) % 2
    truth = (torch.arange(tiles) < witness) & (labels[:, None] == 1)
    values[..., 0] += shift * truth
    groups = torch.arange(n) // (n // patients) if patients else None
    offsets = torch.arange(0, n * tiles + 1, tiles)
    data = BagData(values.flatten(0, 1), labels, 2, ("negative", "positive"), groups=groups, offsets=offsets)
    return (data, labels.numpy()), truth.flatten()


def weights(run) -> torch.Tensor:
    return torch.cat([value.flatten() for value in run.networks[0].state_dict().values()])


# ------------------------------------------------------------------------------------------------------ identities


def test_without_hard_negatives_and_ranking_it_is_its2clr():
    with epochs(4):
        bags, _ = slides()
        one, other, full = tiny_run(ItS2CLR, bags=bags), tiny_run(HNM, bags=bags, **NEW), tiny_run(HNM, bags=bags)
    assert torch.equal(weights(one), weights(other)) and torch.equal(one.probabilities, other.probabilities)
    assert torch.equal(one.judgements["pseudo_labels"], other.judgements["pseudo_labels"])
    assert not torch.equal(weights(one), weights(full))


@pytest.mark.parametrize("change", [{"neg_ratio": 1.0}, {"rank_weight": 0.0}, {"score_space": "prob"}, {"rank_k": 1}])
def test_each_of_what_is_new_changes_the_weights(change):
    with epochs(4):
        bags, _ = slides()
        assert not torch.equal(weights(tiny_run(HNM, bags=bags)), weights(tiny_run(HNM, bags=bags, **change)))


def test_without_fine_tuning_the_encoder_is_as_it_began():
    bags, _ = slides()
    run = tiny_run(ItS2CLR, bags=bags, finetune_share=0.0)
    model = run.networks[0]
    tiles = run.run.predict(lambda tiles: tiles)
    assert torch.equal(run.run.predict(model.features), tiles)  # features are those that were given
    assert run.method.pseudo_labels() is None and run.method.diagnostics()["rounds"] == 0


def test_the_loss_of_a_pair_by_hand():
    offsets, labels = torch.tensor([0, 2, 3, 6, 7]), torch.tensor([1, 1, 0, 0])
    instances = torch.tensor([2.0, 0.0, 1.0, 0.5, -0.5, 3.0, -1.0])
    output = BagOutput(torch.tensor([0.3, -0.2, 0.1, -0.4]), instances, None)
    batch = BagBatch(torch.zeros(7, 1), labels, torch.arange(4), offsets=offsets, rows=torch.arange(7))
    method = HNM(resolve(HNM.Params, {"rank_k": 2}, "hnm_wsi"))
    # top 2: (2 + 0)/2 = 1 against (3 + 0.5)/2 = 1.75: 1.75; a bag of one tile, 1 against -1: the margin of 1 is met
    torch.testing.assert_close(method.pair_loss(output, batch), torch.tensor(0.1 * 1.75 / 2))
    torch.testing.assert_close(method.bag_loss(output, batch), two_stream_loss(output, offsets, labels))
    assert ItS2CLR().pair_loss(output, batch) == 0.0


# ---------------------------------------------------------------------------------------------------------- rounds


def test_stages_and_rounds_follow_from_the_epochs(tmp_path: Path):
    with epochs(7):
        run = tiny_run(HNM, bags=slides()[0], folder=tmp_path, mil_every_n_epochs=3)
    stages = {path.stem for path in (tmp_path / "stages").iterdir()}
    assert stages == {"mil-0", "finetune-0", "mil-1", "finetune-1", "mil-2", "finetune-2", "train"}
    done = {path.stem: torch.load(path, weights_only=True)["done"] for path in (tmp_path / "stages").iterdir()}
    assert [done[f"finetune-{i}"] for i in range(3)] == [3, 3, 1] and done["mil-1"] == done["train"] == 7
    assert run.judgements["pseudo_labels"].shape == (3, 288)


def recorded(monkeypatch, cls, **changes):
    """What the pools of every epoch were, as (epoch, pools, their method)."""
    seen, pools = [], cls.pools

    def record(self, labels, epoch, warmup):
        seen.append((epoch, pools(self, labels, epoch, warmup), labels.updates))
        return seen[-1][1]

    monkeypatch.setattr(cls, "pools", record)
    run = tiny_run(cls, **changes)
    return run, seen


def test_pools_hold_no_tile_of_a_bag_that_is_held_out(monkeypatch):
    with epochs(6):
        bags, _ = slides(patients=12)
        run, seen = recorded(monkeypatch, HNM, bags=bags, mil_every_n_epochs=2, neg_ratio=1.0, threshold=0.0)
    out = ~run.method.fitting
    assert int(out.sum()) == run.method.diagnostics()["held_out"] == 4  # two patients of two bags
    assert torch.equal(out[0::2], out[1::2])
    bag = bag_of_tile(run.data.offsets, run.data.tiles)
    assert len(seen) == 6
    for _, pools, _ in seen:
        for pool in (pools.pos_full, pools.pos_spl, pools.neg_clean, pools.neg_spl):
            assert not out[bag[pool]].any()
    clean = seen[0][1].neg_clean
    assert len(clean) == 10 * 12 and (run.data.labels[bag[clean]] == 0).all()  # all of the others


def test_the_pace_of_the_pools(monkeypatch):
    with epochs(8):
        changes = {"gate": "none", "mil_every_n_epochs": 2, "threshold": 0.0, "warmup": 1}
        run, seen = recorded(monkeypatch, HNM, bags=slides()[0], **changes)
    assert [epoch for epoch, *_ in seen] == list(range(8)) and [updates for *_, updates in seen] == [0, 0, 1, 1, 2, 2, 3, 3]
    full = 12 * 12  # threshold 0: every tile of the 12 positive bags
    # r(e) holds from the end of epoch e: .2 until epoch 1, whose end brings .2 + 0 · .6/7
    shares = [0.2, 0.2, *(0.2 + (e - 1) * 0.6 / 7 for e in range(1, 7))]
    assert [len(pools.pos_spl) for _, pools, _ in seen] == [1 + int(share * (full - 1) + 1e-9) for share in shares]
    assert all(len(pools.neg_clean) == 1 + int(0.2 * (full - 1)) for _, pools, _ in seen)  # is not paced
    assert run.method.diagnostics() == {"rounds": 4.0, "updates": 3.0, "held_out": 0.0}


def test_low_tiles_of_positive_bags_join_after_the_first_update(monkeypatch):
    with epochs(6):
        changes = {"gate": "none", "mil_every_n_epochs": 1, "threshold": 1.0, "warmup": 3, "ro_neg": 0.5}
        _, seen = recorded(monkeypatch, HNM, bags=slides()[0], **changes)
    added = [len(pools.neg_spl) - len(pools.neg_clean) for _, pools, _ in seen]
    # no update yet; the warm-up is a quarter of 6 epochs, 1; r_neg(1) = .5 + 0, then on the way to .8 in epoch 6
    assert added == [0, 1, *(1 + int((0.5 + e * 0.3 / 5) * 143 + 1e-9) for e in range(4))]
    assert all(not len(pools.pos_full) for _, pools, _ in seen)  # no tile above the threshold, and it trains


def test_pseudo_labels_that_are_worse_on_the_held_out_bags_are_refused(monkeypatch):
    values = iter([-1.0, -2.0, -0.5, -0.7])
    monkeypatch.setattr(HNM, "validation", lambda self, output: next(values))
    with epochs(4):
        run = tiny_run(HNM, bags=slides()[0], mil_every_n_epochs=1)
    rounds = run.judgements["pseudo_labels"]
    assert torch.equal(rounds[0], rounds[1]) and torch.equal(rounds[2], rounds[3]) and not torch.equal(rounds[1], rounds[2])
    assert run.method.diagnostics()["updates"] == 1


@pytest.mark.parametrize("gate", ["loss", "f1", "auroc"])
def test_what_the_held_out_bags_say(gate):
    method = HNM(resolve(HNM.Params, {"gate": gate}, "hnm_wsi"))
    (data, _), _ = slides(n=6, tiles=2)
    method.data, method.offsets = data, data.offsets
    instances = torch.tensor([0.0, -1.0, 2.0, 1.0, 0.5, -1.0, 0.0, 0.0, 9.0, 9.0, 9.0, 9.0])
    output = BagOutput(torch.tensor([-1.0, 2.0, 1.0, 0.5, 9.0, 9.0]), instances, None)
    method.fitting = torch.tensor([False, False, False, False, True, True])
    given, bags, largest = torch.tensor([0.0, 1, 0, 1]), output.bag_logits[:4], torch.tensor([0.0, 2.0, 0.5, 0.0])
    losses = [torch.nn.functional.binary_cross_entropy_with_logits(logits, given) for logits in (bags, largest)]
    # scores -1 (0), .5 (1), 1 (0), 2 (1): three of four pairs are in order; at either best threshold F1 is 2/3 or 4/5
    expected = {"loss": -float(losses[0] + losses[1]) / 2, "auroc": 0.75, "f1": 0.8}
    assert method.validation(output) == pytest.approx(expected[gate])
    method.fitting = torch.ones(6, dtype=torch.bool)
    assert method.validation(output) == 0.0


def test_nothing_is_chosen_where_no_bag_can_be_held_out():
    """One positive bag: it trains, and every round's pseudo labels are taken."""
    lone = np.zeros(24, dtype=np.int64)
    lone[7] = 1
    run = tiny_run(HNM, bags=tiny_bags(lone), mil_every_n_epochs=1)
    assert run.method.diagnostics() == {"rounds": 2.0, "updates": 1.0, "held_out": 0.0}


def test_bags_of_one_label_are_refused_in_one_line():
    data, _ = tiny_bags(np.zeros(24, dtype=np.int64))
    for cls in (HNM, ItS2CLR):
        reason = cls().supports(data)
        assert reason is not None and "one label" in reason and "\n" not in reason
    assert HNM().supports(tiny_bags()[0]) is None


def test_inherited_pseudo_labels():
    run = tiny_run(HNM, bags=slides()[0], initial="bags", threshold=0.4)
    scores = run.judgements["pseudo_labels"][0]
    positive = (run.data.labels == 1)[bag_of_tile(run.data.offsets, run.data.tiles)]
    assert (scores[positive] > 0.4).all() and (scores[~positive] < 0.4).all() and len(scores.unique()) == len(scores)


# ------------------------------------------------------------------------------------------------------ fine-tuning


def steps(monkeypatch, **changes):
    """Which labels were pulled together in each step of fine-tuning, and how many tiles the step had."""
    seen, contrast = [], HNM.contrast

    def record(self, networks, rows, labels, *, pairs_of=None):
        seen.append((pairs_of, len(rows)))
        return contrast(self, networks, rows, labels, pairs_of=pairs_of)

    monkeypatch.setattr(HNM, "contrast", record)
    with epochs(4):
        tiny_run(HNM, bags=slides()[0], gate="none", threshold=0.0, batch=16, **changes)
    return seen


def test_two_steps_an_iteration_after_the_warm_up(monkeypatch):
    seen = steps(monkeypatch, neg_ratio=0.5, posi_query_ratio=0.25, mil_every_n_epochs=4)
    # 72 hard negatives, 8 in a batch: 9 iterations; a warm-up of one epoch
    assert seen[:9] == [(0, 16)] * 9 and seen[9:] == [(0, 16), (1, 16)] * 27


def test_fewer_negatives_are_fewer_steps(monkeypatch):
    # 144 tiles of negative bags are 18 batches, a tenth of them one; in each epoch but the first, two steps a batch
    assert (len(steps(monkeypatch, neg_ratio=1.0)), len(steps(monkeypatch, neg_ratio=0.1))) == (18 * 7, 7)


@pytest.mark.parametrize("change", [{"legacy_scale": True}, {"encoder_optimizer": "sgd"}, {"ema": 0.5}])
def test_each_option_of_fine_tuning_changes_the_encoder(change):
    with epochs(6):
        common = {"gate": "none", "mil_every_n_epochs": 1, "batch": 16}
        one, other = (tiny_run(HNM, bags=slides()[0], **common, **more).networks[0].encoder for more in ({}, change))
    assert not torch.equal(one.change[2].weight, other.change[2].weight)


@pytest.mark.parametrize("start", ["mil", "simclr", "none"])
def test_the_encoder_of_pixels_starts_as_asked(start, tmp_path: Path):
    run = tiny_run(HNM, channels=3, size=(16, 16), folder=tmp_path, start=start)
    assert (tmp_path / "stages" / "start.pt").exists() == (start != "none")
    assert torch.isfinite(run.probabilities).all()


# -------------------------------------------------------------------------------------------------------- behaviour


@pytest.mark.parametrize("cls", [HNM, ItS2CLR])
def test_it_finds_the_tiles(cls):
    with epochs(15):
        bags, truth = slides(n=32)
        run = tiny_run(cls, bags=bags)
    scores = run.judgements["tile_scores"]
    ranked = float((scores[truth][:, None] > scores[~truth][None, :]).float().mean())
    assert ranked > 0.95
    assert ((run.probabilities[:, 1] > 0.5) == (run.data.labels == 1)).float().mean() > 0.9


def test_a_run_killed_anywhere_ends_with_the_same_numbers(tmp_path: Path):
    changes = {"bags": slides(n=16, tiles=4, patients=8)[0], "mil_every_n_epochs": 3, "batch": 8, "gate": "none", "ema": 0.3}
    with epochs(4):
        whole = tiny_run(HNM, **changes)
        total = whole.run._observer.epochs
        assert total == 4 * 3 + 4  # three trainings on bags, fine-tuning of three epochs and of one
        for point in range(total):
            folder = tmp_path / str(point)
            with contextlib.suppress(conformance._KilledError):
                tiny_run(HNM, folder=folder, kill_after=point, **changes)
            resumed = tiny_run(HNM, folder=folder, **changes)
            assert torch.equal(weights(whole), weights(resumed)), point
            assert torch.equal(whole.judgements["pseudo_labels"], resumed.judgements["pseudo_labels"]), point
            assert whole.method.diagnostics() == resumed.method.diagnostics()


def test_presets_are_what_was_published():
    common = {"encoder_optimizer": "sgd", "batch": 512, "finetune_share": 0.5, "gate": "f1", "legacy_scale": True}
    assert ItS2CLR.presets == {"released": {**common, "warmup": 15}}
    published = {**common, "finetune_share": 0.125, "neg_ratio": 0.05, "posi_batch_ratio": 0.2, "score_space": "prob"}
    del published["legacy_scale"]  # the program's doing, not the paper's
    assert HNM.presets == {"released": {**common, "neg_ratio": 0.2, "posi_batch_ratio": 0.2}, "paper": published}
    for cls in (HNM, ItS2CLR):
        plain = resolve(cls.Params, {}, cls.name)
        assert (plain.threshold, plain.ro, plain.ro_neg, plain.rT, plain.temperature) == (0.3, 0.2, 0.2, 0.8, 0.07)
        assert (plain.warmup, plain.posi_query_ratio, plain.bag_share, plain.legacy_scale) == (5, 0.05, 0.5, False)
    plain = resolve(HNM.Params, {}, "hnm_wsi")
    assert (plain.neg_ratio, plain.rank_weight, plain.rank_k, plain.score_space) == (0.2, 0.1, 10, "logit")
