"""Active label refinement: what is paid for, what is trained on, and that nothing is corrected for free."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch

from benchmark.conformance import _KilledError, tiny_data, tiny_run, with_used
from benchmark.errors import BenchmarkError
from benchmark.params import resolve
from benchmark.registry import Registry
from methods.alr import ActiveLabelRefinement as ALR
from methods.alr.watching import make_pool
from methods.coteaching import Coteaching

TRUTH = tiny_data()[1]
FEW = {"round_budget": "3"}


def test_the_ledger_has_rounds_minus_one_times_the_budget() -> None:
    result = tiny_run(ALR, label_cleaning_rounds=4, **FEW)
    ledger = result.run.oracle.ledger()
    assert ledger[:, 0].tolist() == [1] * 3 + [2] * 3 + [3] * 3
    assert len(set(ledger[:, 1].tolist())) == 9 and result.run.oracle.used["labels"] == 9
    given = result.method.data.labels.numpy()
    assert (ledger[:, 3] == given[ledger[:, 1]]).all() and (ledger[:, 4] == TRUTH[ledger[:, 1]]).all()


def test_labels_outside_the_query_stay_as_they_were() -> None:
    result = tiny_run(ALR, **FEW)
    asked = result.run.oracle.ledger()[:, 1]
    others = np.setdiff1d(np.arange(len(TRUTH)), asked)
    labels, given = result.method.labels.numpy(), result.method.data.labels.numpy()
    assert (labels[others] == given[others]).all() and (labels[asked] == TRUTH[asked]).all()
    assert (labels[result.method.clean.numpy()] != TRUTH[result.method.clean.numpy()]).any(), "nobody was paid for these"


def test_as_released_hands_out_the_clean_samples_labels_and_is_marked() -> None:
    result = tiny_run(ALR, as_released=True, **FEW)
    clean = result.method.clean.numpy()
    assert (result.method.labels.numpy()[clean] == TRUTH[clean]).all()
    assert result.run.oracle.used["unpaid_labels"] == clean.sum() and result.run.oracle.paid == 12


def test_only_candidates_outside_the_clean_set_are_asked_about() -> None:
    result = tiny_run(ALR, **FEW)
    asked = result.run.oracle.ledger()[:, 1]
    assert not result.method.clean.numpy()[asked].any()
    everywhere = tiny_run(ALR, use_LNL_cleaned_labels=False, budget="50+60", acquisition="random")
    assert len(everywhere.run.oracle.ledger()) == 60


def test_phase_one_is_the_method_itself_bit_for_bit() -> None:
    """mix_ratio=0 is co-teaching: the same verdict from phase 1 as from co-teaching alone."""
    alone, phase = tiny_run(Coteaching), tiny_run(ALR, mix_ratio=0.0, **FEW)
    assert torch.equal(phase.method.quality, alone.method.quality)
    for mine, other in zip(phase.method.committee, alone.networks, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(mine.state_dict().values(), other.state_dict().values(), strict=True))


def test_fresh_weights_are_fresh() -> None:
    """scratch_after_LNL does not go on from phase 1: its rounds start from the weights that every run starts from."""
    result = tiny_run(ALR, scratch_after_LNL=True, lr_AL=0.0, **FEW)
    fresh = result.run.networks(1)
    for trained, start in zip(result.networks[0].parameters(), fresh[0].parameters(), strict=True):
        assert torch.equal(trained, start)
    warm = tiny_run(ALR, lr_AL=0.0, **FEW)
    for trained, start in zip(warm.networks[0].parameters(), warm.method.committee[0].parameters(), strict=True):
        assert torch.equal(trained, start)


def test_fresh_weights_stay_fresh_where_there_is_nothing_to_train_on_yet() -> None:
    """Without phase 1's clean samples the first training is on the first labels that are paid for."""
    result = tiny_run(ALR, scratch_after_LNL=True, use_LNL_cleaned_labels=False, lr_AL=0.0, **FEW)
    assert result.run.oracle.paid == 12
    for trained, start in zip(result.networks[0].parameters(), result.run.networks(1)[0].parameters(), strict=True):
        assert torch.equal(trained, start)


def test_what_lies_on_a_trained_but_untrusted_sample_is_not_covered() -> None:
    """train_on=all trains on the candidates too; were they centres, every distance would be 0 and k-centre would pick by position."""
    method = tiny_run(ALR, lnl="ce", use_LNL_cleaned_labels=False, train_on="all", acquisition="coreset", **FEW).method
    assert method.training_set().all() and torch.equal(method.trusted(), method.asked > 0)
    candidates = torch.arange(60)
    pool = make_pool(method, method.data, method.run, "coreset", method.committee[0], candidates)
    assert pool.covered is not None and len(pool.covered) == 12
    method.asked = torch.zeros_like(method.asked)
    assert make_pool(method, method.data, method.run, "coreset", method.committee[0], candidates).covered is None


@pytest.mark.parametrize(("lnl", "gradient"), [("coteaching_vog:original_vog", "pixels"), ("coteaching_vog:gradient=pixels", "pixels")])
def test_a_preset_of_phase_one_keeps_its_gradient(lnl: str, gradient: str) -> None:
    def used(**values: object) -> str:
        return with_used(ALR(resolve(ALR.Params, {"lnl": lnl, **values}, "alr"))).used["lnl"].params.gradient

    assert used() == gradient
    if lnl.endswith("original_vog"):
        assert used(all_activations=True) == "all_activations", "what is said of alr itself counts more"


def test_a_run_of_all_candidates_says_what_it_could_not_spend() -> None:
    result = tiny_run(ALR, budget="10+55", noise_rate=0.3)
    assert result.run.oracle.paid == 18 and result.method.diagnostics()["unspent"] == 37
    assert (result.method.asked[~result.method.clean] > 0).all()


def test_without_label_cleaning_nobody_is_asked() -> None:
    result = tiny_run(ALR, label_cleaning=False, **FEW)
    assert not result.run.oracle.paid and torch.equal(result.method.labels, result.method.data.labels)
    assert (result.method.asked > 0).sum() == 12 and "labels" not in result.run.oracle.used


def test_annotators_err_vote_and_are_paid_each() -> None:
    one = tiny_run(ALR, annotator="symmetric:0.5", acquisition="random", **FEW).run.oracle.ledger()
    assert (one[:, 4] != one[:, 5]).any() and len(one) == 12
    three = tiny_run(ALR, annotator="symmetric:0.5|none|none", budget="9+18", acquisition="random")
    rows = three.run.oracle.ledger()
    assert rows[:, 2].tolist() == ([0] * 3 + [1] * 3 + [2] * 3) * 2
    asked = np.unique(rows[:, 1])
    assert len(asked) == 6 and (three.method.labels.numpy()[asked] == TRUTH[asked]).all(), "two of three are never wrong"


def test_confirmed_labels_rank_above_and_corrected_ones_below_all_others() -> None:
    method = tiny_run(ALR, acquisition="random", **FEW).method
    quality, asked = method.label_quality(), method.asked > 0
    confirmed, corrected = asked & (method.labels == method.data.labels), asked & (method.labels != method.data.labels)
    assert confirmed.any() and corrected.any()
    assert quality[confirmed].min() > quality[~asked].max() and quality[corrected].max() < quality[~asked].min()
    assert torch.equal(method.suspects(), ~method.clean & ~confirmed)


def test_the_variants_train_on_what_they_say() -> None:
    everything = tiny_run(ALR, lnl="ce", use_LNL_cleaned_labels=False, train_on="all", **FEW).method
    assert everything.training_set().all() and (everything.corrected_labels() >= 0).all()
    scratch = tiny_run(ALR, lnl="none", use_LNL_cleaned_labels=False, **FEW)
    assert scratch.method.training_set().sum() == 12 and (scratch.method.corrected_labels() >= 0).sum() == 12
    assert "noise_rate" not in scratch.run.oracle.used


def test_the_first_round_is_random_where_nothing_is_learnt_yet() -> None:
    """Without a phase 1 the first picks do not depend on the strategy; the later ones do."""
    settings = {"lnl": "none", "use_LNL_cleaned_labels": False, **FEW}
    first, second = (tiny_run(ALR, acquisition=name, **settings).run.oracle.ledger() for name in ("entropy", "coreset"))
    assert (first[:3, 1] == second[:3, 1]).all() and (first[3:, 1] != second[3:, 1]).any()


@pytest.mark.parametrize("kill_after", [1, 3, 5])
def test_a_killed_round_goes_on_with_the_ledger_intact(tmp_path, kill_after: int) -> None:
    """No answer is paid for twice and none is lost: the ledger is that of a run that nobody killed."""
    whole = tiny_run(ALR, acquisition="bald", **FEW)
    with pytest.raises(_KilledError):
        tiny_run(ALR, acquisition="bald", folder=tmp_path, kill_after=kill_after, **FEW)
    resumed = tiny_run(ALR, acquisition="bald", folder=tmp_path, **FEW)
    assert (resumed.run.oracle.ledger() == whole.run.oracle.ledger()).all()
    assert resumed.run.oracle.used == whole.run.oracle.used and torch.equal(resumed.probabilities, whole.probabilities)


def test_runs_that_begin_alike_share_phase_one(tmp_path) -> None:
    """A second strategy resumes from the first one's phase, with the result that it would have had alone; another setting does not."""

    def run(folder: str, **values: object):
        return tiny_run(ALR, folder=tmp_path / folder, shared=tmp_path / "phases", **FEW, **values)

    alone = tiny_run(ALR, acquisition="margin", **FEW)
    first = run("a", acquisition="entropy")
    assert len(list((tmp_path / "phases").glob("*/lnl-train.pt"))) == 1
    second = run("b", acquisition="margin")
    trained = first.run.trained_samples
    assert torch.equal(second.probabilities, alone.probabilities) and second.run.trained_samples == trained
    assert (second.run.oracle.ledger() == alone.run.oracle.ledger()).all() and second.run.oracle.used == alone.run.oracle.used
    assert epochs_of(second) == epochs_of(first) - 2, "two epochs of phase 1 were not trained again"
    run("c", mix_ratio=0.5)
    run("d", acquisition="vog")
    assert len(list((tmp_path / "phases").iterdir())) == 3, "another phase 1, or one that is watched in another way, is computed anew"


def test_a_killed_run_needs_no_shared_phase_a_second_time(tmp_path) -> None:
    """What it resumed from is its own from then on: a command that ended meanwhile has removed the phases."""
    whole = tiny_run(ALR, folder=tmp_path / "a", shared=tmp_path / "phases", **FEW)
    with pytest.raises(_KilledError):
        tiny_run(ALR, folder=tmp_path / "b", shared=tmp_path / "phases", kill_after=1, **FEW)
    shutil.rmtree(tmp_path / "phases")
    resumed = tiny_run(ALR, folder=tmp_path / "b", shared=tmp_path / "phases", **FEW)
    assert torch.equal(resumed.probabilities, whole.probabilities)
    assert epochs_of(resumed) == epochs_of(whole) - 2 - 1, "neither the two epochs of phase 1 nor the first round's were trained again"


def test_a_phase_that_read_another_file_is_another_phase(tmp_path) -> None:
    matrix = tmp_path / "T.csv"
    for number, right in enumerate((1.0, 0.9), 1):
        np.savetxt(matrix, np.eye(3) * right + (1 - right) / 2 * (1 - np.eye(3)), delimiter=",")
        tiny_run(ALR, lnl=f"forward:matrix={matrix}", folder=tmp_path / str(number), shared=tmp_path / "phases", **FEW)
        assert len(list((tmp_path / "phases").iterdir())) == number


def test_a_phase_after_a_question_to_the_oracle_is_not_shared(tmp_path, monkeypatch) -> None:
    """The meters are part of what a stage leaves: others would take over answers that they never asked for."""
    setup = ALR.setup

    def asks_first(self, data, run) -> None:
        setup(self, data, run)
        run.oracle.annotate(np.arange(2), 0)

    monkeypatch.setattr(ALR, "setup", asks_first)
    assert tiny_run(ALR, folder=tmp_path / "a", shared=tmp_path / "phases", **FEW).run.oracle.paid == 14
    assert not (tmp_path / "phases").exists()


def epochs_of(result) -> int:
    return result.run._observer.epochs


@pytest.mark.parametrize("name", ["hsa", "confident_learning", "gce", "dividemix"])
def test_any_method_can_be_phase_one(name: str) -> None:
    result = tiny_run(ALR, lnl=name, budget="2+4")
    assert 0 < result.method.clean.sum() < 60 and result.run.oracle.paid == 4


def test_selected_weights_go_on() -> None:
    result = tiny_run(ALR, lnl_model="selected", lr_AL=0.0, **FEW)
    assert result.method.watcher.select and result.run.oracle.paid == 12


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"budget": "10%+x"}, "'x' is no budget"),
        ({"round_budget": "0"}, "a budget of 0 is not possible"),
        ({"round_budget": "5+6"}, "is not one number of labels"),
        ({"lnl": "none"}, "lnl=none leaves no cleaned labels to use"),
        ({"acquisition": "entropie"}, "entropy"),
    ],
)
def test_bad_parameters_are_refused_before_anything_runs(values: dict[str, str], words: str) -> None:
    with pytest.raises(BenchmarkError, match=words):
        resolve(ALR.Params, values, "alr")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"budget": "61"}, "would pay for 61 labels and there are 60 training samples; lower the budget"),
        ({"budget": "50%+20"}, "each must exceed the last"),
        ({"lnl": "coteachin"}, "alr.lnl: .*coteaching"),
        ({"lnl": "coteaching_vog:mix_ratio=0.1"}, "alr.lnl: .*mix_ratio is given twice"),
        ({"lnl": "alr"}, "runs other plugins itself, and cannot be run by one"),
        ({"annotator": "symetric:0.1"}, "alr.annotator1: .*symmetric"),
        ({"annotator": "instance:0.2"}, "alr.annotator=instance:0.2: .*needs images.*name a noise model that needs no more"),
        ({"annotator": "symmetric:0.1|human"}, "alr.annotator=.*needs a data set with reference labels"),
    ],
)
def test_what_cannot_be_done_is_said_before_training(values: dict[str, str], words: str, monkeypatch) -> None:
    monkeypatch.setattr(ALR, "fit", lambda *_: pytest.fail("it trains"))
    with pytest.raises(BenchmarkError, match=words):
        tiny_run(ALR, **values)


def test_a_cell_that_cannot_be_is_skipped_with_the_reason() -> None:
    def reason(**values: str) -> str | None:
        return with_used(ALR(resolve(ALR.Params, values, "alr"))).supports(tiny_data(channels=6, size=(1, 1))[0])

    assert "lnl=ce trains one; take lnl=coteaching" in str(reason(acquisition="disagreement", lnl="ce"))
    assert reason(acquisition="disagreement") is None and reason() is None
    assert "pixels" in str(reason(lnl="vog:of=pixels"))
    assert "lnl=none has none" in str(reason(acquisition="label_quality", lnl="none", use_LNL_cleaned_labels=False))


def test_what_it_runs_is_part_of_its_identity(tmp_path) -> None:
    """The setting of phase 1 and of the annotator, with every parameter, and the code of both."""
    from benchmark.code_hash import _plugins
    from benchmark.grammar import parse_settings
    from benchmark.resolve import resolve_plugin
    from benchmark.spec import PluginSpec, RunSpec, TrainingProtocol

    registry = Registry()
    (setting,) = parse_settings(r"alr:annotator=symmetric\:0.1", what="method")
    plugin = resolve_plugin(registry, "method", setting, {}, tmp_path)
    assert plugin.uses["lnl"].name == "coteaching_vog" and plugin.uses["lnl"].params["mix_ratio"] == 0.2
    assert plugin.uses["annotator1"].params["rate"] == 0.1
    assert PluginSpec.from_dict(json.loads(json.dumps(plugin.to_dict()))) == plugin
    spec = RunSpec(plugin, PluginSpec("digits", version=1), PluginSpec("none", version=1), TrainingProtocol(), 0)
    kinds = [(kind, part.name) for kind, part in _plugins(spec)]
    assert ("method", "coteaching_vog") in kinds and ("noise", "symmetric") in kinds


def test_an_annotator_whose_matrix_changes_after_the_plan_is_refused(tmp_path) -> None:
    from benchmark.grammar import Setting
    from benchmark.resolve import instantiate_method, resolve_plugin

    matrix, registry = tmp_path / "T.csv", Registry()
    np.savetxt(matrix, np.eye(3), delimiter=",")
    setting = Setting("alr", options={"annotator": f"symmetric:0.1|matrix:{matrix}"})
    plugin = resolve_plugin(registry, "method", setting, {}, tmp_path)
    assert len(instantiate_method(registry, plugin, tmp_path).used) == 3
    np.savetxt(matrix, np.eye(3)[[1, 0, 2]], delimiter=",")
    with pytest.raises(BenchmarkError, match="what noise matrix reads has changed since this run was planned; give the command again"):
        instantiate_method(registry, plugin, tmp_path)
