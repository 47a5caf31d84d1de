"""Active label refinement: learn with noisy labels, then pay an annotator for the labels that help most, round by round."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F

from benchmark.api import Method, hp, method
from benchmark.errors import BenchmarkError
from benchmark.training.acquisition import STRATEGIES, acquire
from benchmark.training.annotation import budget_in_labels, check_totals, parse_budget
from benchmark.training.loop import given_label_probability, method_predictor
from benchmark.training.mixture import lower_component
from benchmark.training.networks import Networks
from benchmark.training.noise_rate import noise_rate_hp
from benchmark.training.selection import capped_epochs

from .watching import LastEpochs, make_pool


@method(
    "alr",
    paper="Khanal et al., Active Label Refinement for Robust Training of Imbalanced Medical Image Classification Tasks in the "
    "Presence of High Label Noise, MICCAI 2024, arXiv 2407.05973",
    year=2024,
    family="active",
    needs=["noise_rate"],
    cost=4.0,
)
class ActiveLabelRefinement(Method):
    """Another method's clean samples, and labels that an annotator is paid for where they help most."""

    presets: ClassVar = {
        "paper": {"label_cleaning_rounds": 9, "round_budget": "70", "recalibration_epochs": 25, "acquisition": "entropy"},
        "cross_entropy": {"lnl": "ce", "use_LNL_cleaned_labels": False, "train_on": "all"},
        "scratch": {"lnl": "none", "use_LNL_cleaned_labels": False},
        "released": {"as_released": True, "acquisition": "entropy"},
    }

    @dataclass(frozen=True)
    class Params:
        """Options of the released program under their meaning; see docs/methods/alr.md."""

        lnl: str = hp("coteaching_vog", tune=False, help="phase 1: a method, name[:preset], with net 1 going on; none: no phase 1")
        mix_ratio: float = hp(0.2, 0.0, 1.0, search=(0.0, 0.5), help="of coteaching_vog: share of picks by variance of gradients")
        all_activations: bool = hp(False, help="of coteaching_vog: gradient of the whole last layer instead of the label's row")
        noise_rate: float | str = noise_rate_hp("handed to phase 1")
        lnl_model: str = hp("last", choices=("last", "selected"), help="epoch of phase 1 whose weights go on")
        lr_LNL: float = hp(1.0, 0.0, 100.0, search=(0.1, 3.0), log=True, help="learning rate of phase 1 over the protocol's")  # noqa: N815
        lr_AL: float = hp(1.0, 0.0, 100.0, search=(0.1, 3.0), log=True, help="learning rate of the rounds over the protocol's")  # noqa: N815
        use_LNL_cleaned_labels: bool = hp(True, help="train on what phase 1 took as clean, too; false: on paid labels only")  # noqa: N815
        train_on: str = hp("clean", choices=("clean", "all"), help="all: every round trains on all samples, relabelled ones replaced")
        scratch_after_LNL: bool = hp(False, help="rounds start from fresh weights, first trained on the clean samples")  # noqa: N815
        active_learning_only: bool = hp(False, tune=False, help="the first round asks at random")
        label_cleaning: bool = hp(True, tune=False, help="false: nobody is asked; what is acquired is trained on with its given label")
        label_cleaning_rounds: int = hp(5, 2, 1000, tune=False, help="rounds R; the first pays for nothing, so R - 1 are paid for")
        round_budget: str = hp("2%", tune=False, help="labels of a paid round: a number, or a share of the training samples")
        budget: str = hp("", tune=False, help="labels paid for in all after each round (5%+10%+20%); takes the place of the two above")
        recalibration_epochs: int = hp(20, 1, 1000, search=(5, 30), help="epochs of a round, at most two fifths of the protocol's")
        acquisition: str = hp("entropy", choices=tuple(STRATEGIES), help="how the samples to ask about are chosen")
        balanced: bool = hp(False, help="ask about as many samples of every predicted class")
        observe_epochs: int = hp(5, 2, 100, tune=False, help="acquisition=vog: epochs over which gradients vary")
        annotator: str = hp("", tune=False, help="how annotators err: noise models (symmetric:0.05) joined by |; empty: never")
        as_released: bool = hp(False, tune=False, help="hand out the true labels of all clean samples unpaid, as the released program does")

        def __post_init__(self):
            """Refuse budgets that are none; ValueError."""
            for name in ("round_budget", "budget"):
                if getattr(self, name):
                    parse_budget(getattr(self, name))
            if "+" in self.round_budget or not self.round_budget:
                raise ValueError(f"round_budget '{self.round_budget}' is not one number of labels; budget=5%+10% has the totals")
            if self.lnl == "none" and self.use_LNL_cleaned_labels:
                raise ValueError("lnl=none leaves no cleaned labels to use; add use_LNL_cleaned_labels=false (preset alr:scratch)")

    def uses(self):
        """The method of phase 1 with what it takes of this one's parameters, and the noise models by which annotators err."""
        p = self.params
        found = {f"annotator{i}": ("noise", text) for i, text in enumerate(p.annotator.split("|"), 1) if text}
        if p.lnl == "none":
            return found
        options = [] if p.noise_rate == "auto" else [f"noise_rate={p.noise_rate}"]
        if p.lnl.split(":")[0] == "coteaching_vog":
            options += [f"mix_ratio={p.mix_ratio}", *(["gradient=all_activations"] if p.all_activations else [])]
        return {"lnl": ("method", ":".join([p.lnl, *options])), **found}

    def supports(self, data):
        """Disagreement needs a committee, the quality of labels a phase 1; phase 1 may refuse these data."""
        lnl = self.used.get("lnl")
        if self.params.acquisition == "label_quality" and lnl is None:
            return "acquisition=label_quality goes by what phase 1 says of each label and lnl=none has none; take another acquisition"
        if self.params.acquisition == "disagreement" and (lnl is None or lnl.networks < 2):
            return f"acquisition=disagreement compares two networks and lnl={self.params.lnl} trains one; take lnl=coteaching"
        return None if lnl is None else lnl.supports(data)

    def setup(self, data, run):
        """Per-sample state; the budget is checked before anything is trained."""
        p, n = self.params, data.n
        if p.label_cleaning and not run.oracle.knows_labels:
            raise BenchmarkError("alr cannot ask for labels: these data have no reference; people answer through relabel export and import")
        self.raters = tuple(model for name, model in self.used.items() if name.startswith("annotator")) or (None,)
        if p.label_cleaning:
            self._try_annotators(run)
        each = budget_in_labels(p.round_budget, n)[0]
        totals = budget_in_labels(p.budget, n) if p.budget else [each * paid for paid in range(1, p.label_cleaning_rounds)]
        self.totals = check_totals(totals, n, self.name)
        self.labels = data.labels.clone()
        self.clean = torch.zeros(n, dtype=torch.bool, device=run.device)
        self.asked = torch.zeros(n, dtype=torch.int64, device=run.device)  # the round in which a sample was acquired, 0 never
        self.quality = torch.zeros(n, device=run.device)
        self.watcher = LastEpochs(self, p.observe_epochs if p.acquisition == "vog" else 0, select=p.lnl_model == "selected")
        self.notes = {}

    def fit(self, data, run):
        """Phase 1, then rounds of acquiring labels and training on what is clean by then."""
        p = self.params
        self.committee = self._learn_with_noise(data, run)
        networks = Networks(self.committee[:1], run.protocol)
        if p.as_released:
            self._leak(run)
        if p.scratch_after_LNL:
            networks = self._train(data, run, 0, None, final=False) if self.training_set().any() else run.networks(1)
        run.end_round(networks, self.predictor(networks))
        for number, total in enumerate(self.totals, 1):
            self._acquire(data, run, number, total, networks[0])
            networks = self._train(data, run, number, networks[0], final=number == len(self.totals))
            run.end_round(networks, self.predictor(networks))
        if p.lnl == "none":  # nothing but the last model has an opinion
            self.quality = given_label_probability(run.class_probabilities(networks), data.labels)
        self.notes["unspent"] = float(self.totals[-1] - run.oracle.paid) if p.label_cleaning else 0.0
        return networks

    def predictor(self, networks):
        """What evaluates some networks."""
        return method_predictor(self, networks)

    def training_set(self):
        """(n,) bool: what the rounds train on now."""
        return torch.ones_like(self.clean) if self.params.train_on == "all" else self.trusted()

    def trusted(self):
        """(n,) bool: whose labels count as right now: phase 1's clean samples, where they are used, and what was acquired."""
        return self.clean | (self.asked > 0) if self.params.use_LNL_cleaned_labels else self.asked > 0

    def _try_annotators(self, run):
        """Annotators who cannot err as they should are refused before anything is trained."""
        try:
            run.oracle.try_raters(self.raters)
        except (LookupError, BenchmarkError) as error:
            words = "errors are drawn on the true labels alone; name a noise model that needs no more, e.g. symmetric:0.1"
            raise BenchmarkError(f"alr.annotator={self.params.annotator}: {error}; {words}") from error

    def _learn_with_noise(self, data, run):
        """Phase 1: another method's whole training. Its verdict becomes the clean set; its networks are returned."""
        lnl = self.used.get("lnl")
        if lnl is None:
            return list(run.networks(1))
        lnl.run, lnl.data = run, data
        with run.phase("lnl", lnl, lr_scale=self.params.lr_LNL, evaluate=self.watcher.select, watcher=self.watcher):
            lnl.setup(data, run)
            networks = lnl.fit(data, run)
            networks.train(False)
            self.quality, suspects = lnl.label_quality().float(), lnl.suspects()
            if suspects is None:
                suspects = torch.from_numpy(lower_component(self.quality.cpu().numpy())).to(run.device)
            self.notes |= {f"lnl_{name}": value for name, value in lnl.diagnostics().items()}
        self.clean = ~suspects.bool()
        self.notes["lnl_clean"] = float(self.clean.float().mean())
        members = list(networks)
        if self.watcher.weights:
            members[0].load_state_dict(self.watcher.weights)
        return members

    def _leak(self, run):
        """What the released program does: the true label of every sample that phase 1 took as clean, and nobody pays."""
        free = self.clean.nonzero().squeeze(1)
        self.labels[free] = torch.from_numpy(run.oracle.leak(free.cpu().numpy())).to(run.device)

    def _acquire(self, data, run, number, total, network):
        """One round's samples: chosen among those that are neither clean nor paid for, and labelled by the annotators."""
        p = self.params
        outside = ~self.clean if p.use_LNL_cleaned_labels else torch.ones_like(self.clean)
        candidates = (outside & (self.asked == 0)).nonzero().squeeze(1)
        if not len(candidates):
            return
        before = self.totals[number - 2] if number > 1 else 0
        count = (total - before) // len(self.raters)
        blind = number == 1 and (p.active_learning_only or (p.lnl == "none"))
        name = "random" if blind else p.acquisition
        picks = candidates[acquire(name, make_pool(self, data, run, name, network, candidates), count, balanced=p.balanced and not blind)]
        self.asked[picks] = number
        if p.label_cleaning and len(picks):
            answers = run.oracle.annotate(picks.cpu().numpy(), number, self.raters)
            self.labels[picks] = torch.from_numpy(answers).to(run.device)

    def _train(self, data, run, number, network, *, final):
        """Train on the samples of this round, from the weights of the round before or from fresh ones; the optimiser is new."""
        networks = run.networks(1, name="train" if network is None else "round", lr_scale=self.params.lr_AL)
        if network is not None:
            networks[0].load_state_dict(network.state_dict())
        indices = self.training_set().nonzero().squeeze(1)
        if not len(indices):
            raise BenchmarkError("alr has nothing to train on: phase 1 took no sample as clean and none was asked about; raise the budget")
        loader = run.loader(indices, self.labels[indices])
        epochs = capped_epochs(self.params.recalibration_epochs, run.protocol.epochs, share=0.4)
        predictor = self.predictor(networks) if final else None
        for epoch in run.epochs(f"round{number}", networks, epochs=epochs, state=self, predictor=predictor):
            for batch in loader:
                run.step(networks, F.cross_entropy(networks[0](batch.images), batch.labels), len(batch))
                if final:
                    run.history.record(epoch, batch.indices, data.labels[batch.indices], networks[0].last_logits)
            self.watcher.push(networks, epoch, epochs)
        return networks

    def label_quality(self):
        """Quality by phase 1; above all others where an annotator confirmed the label, below all where he gave another."""
        span = self.quality.max() - self.quality.min() + 1
        answered = self._answered()
        confirmed = torch.where(self.labels == self.data.labels, self.quality.max() + span, self.quality.min() - span)
        return torch.where(answered, confirmed, self.quality)

    def suspects(self):
        """What phase 1 did not take as clean and nobody has confirmed, and what an annotator gave another label."""
        answered = self._answered()
        changed = answered & (self.labels != self.data.labels)
        return changed | ~(self.clean | answered) if self.params.lnl != "none" else changed

    def corrected_labels(self):
        """The labels of the last round's training set; -1 for what it left out."""
        return torch.where(self.training_set(), self.labels, -1)

    def sample_columns(self):
        """The round in which a sample was acquired (0: never), and whether phase 1 took it as clean."""
        return {"acquired": self.asked, "lnl_clean": self.clean}

    def diagnostics(self):
        """Those of phase 1, its share of clean samples, and labels of the budget that were not paid for: no candidate was left, or
        annotators who vote could not share them out evenly."""
        return dict(self.notes)

    def _answered(self):
        return (self.asked > 0) & self.params.label_cleaning
