"""HSA-NRL: easy, hard and noisy samples told apart from the training history, labels corrected, then NSHE training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from benchmark.api import Method, hp, method
from benchmark.errors import BenchmarkError
from benchmark.training.injection import KINDS as INJECTIONS
from benchmark.training.loop import method_predictor
from benchmark.training.networks import MovingAverage
from benchmark.training.noise_rate import confident_joint, noise_rate_hp
from benchmark.training.selection import capped_epochs

from .correction import DROPPED, EASY, Round, run_round
from .nshe import NoiseSuppressor, ema_momentum


@method(
    "hsa",
    paper="Zhu et al., Hard Sample Aware Noise Robust Learning for Histopathology Image Classification, IEEE TMI 41(4), 2022, "
    "arXiv 2112.03694",
    year=2022,
    family="detect and correct",
    needs=["noise_rate"],
    cost=4.0,
)
class HSA(Method):
    """Detects easy, hard and noisy samples (EHN), corrects labels, then trains with noise suppressing and hard enhancing."""

    presets: ClassVar = {
        "chaoyang": {"noise_rate": 0.15},
        "digestpath": {},
        "confidence": {"weighting": "confidence"},
        "released": {"detector_pool": "all", "rounds": 1, "weighting": "confidence"},
    }

    @dataclass(frozen=True)
    class Params:
        """Hyperparameters of the paper; see docs/methods/hsa.md."""

        noise_rate: float | str = noise_rate_hp("share of wrong labels")
        rounds: int = hp(1, 1, 10, search=(1, 3), help="rounds of detection and correction")
        hard_ratio: float = hp(1.5, 0.1, 5.0, search=(1.0, 2.5), help="unsure samples = hard_ratio · noise rate")
        detector_pool: str = hp("hard_and_noisy", choices=("hard_and_noisy", "all"), help="what the detector learns from")
        detector_balance: bool = hp(False, help="weight the detector's two answers equally")
        inject: str = hp("auto", choices=INJECTIONS, tune=False, help="kind of noise that teaches the detector")
        detect: bool = hp(True, tune=False, help="false: ablation without the detector")
        correct: bool = hp(True, tune=False, help="false: ablation that drops instead of correcting")
        detection_lr_ratio: float = hp(0.5, 0.01, 10.0, search=(0.1, 2.0), log=True, help="learning rate of stage 1 over that of stage 2")
        weighting: str = hp("focal", choices=("focal", "confidence", "none"), help="hard enhancing: (1-p)^gamma, p^gamma or 1")
        gamma: float = hp(2.0, 0.0, 10.0, search=(0.5, 4.0))
        forget_rate: float = hp(0.01, 0.0, 0.5, search=(0.0, 0.1), help="share that stage 2 leaves out in each epoch")
        warmup: int = hp(10, 0, 1000, search=(0, 20), help="epochs of stage 2 without weights, at most an eighth of all")
        per_class: bool = hp(
            False, help="unsure samples, and those that stage 2 leaves out, as a share of every class, not the worst of all"
        )
        ema: float = hp(0.999, 0.0, 1.0, search=(0.9, 0.9999), help="momentum of the averaged network, at most 1 - 10/steps; 0: none")

    def setup(self, data, run):
        """Per-sample outputs."""
        self.state = torch.full((data.n,), EASY, device=run.device)
        self.labels = data.labels.clone()
        self.quality = torch.ones(data.n, device=run.device)
        self.wrong_probability = torch.zeros(data.n, device=run.device)
        self.history_mean = torch.zeros(data.n, device=run.device)
        self.notes = {}

    def fit(self, data, run):
        """Stage 1, as often as ``rounds`` says, then stage 2 on what is almost clean."""
        rate = run.noise_rate(self.params.noise_rate)
        self.notes["noise_rate"] = rate
        indices = torch.arange(data.n, device=run.device)
        for number in range(1, self.params.rounds + 1):
            if number > 1:
                rate = confident_joint(run, indices, self.labels[indices], data.num_classes, name=f"round{number}-rate")
                self.notes[f"round{number}_noise_rate"] = rate
            result = run_round(run, indices, self.labels[indices], rate, self.params, data, number)
            self._absorb(indices, result, number)
            indices = indices[result.state != DROPPED]
            if len(indices) == 0:
                raise BenchmarkError("hsa dropped every sample; lower noise_rate or hard_ratio")
        return self._train_on(indices, data, run)

    def _absorb(self, indices, result: Round, number: int) -> None:
        """Write one round's result into the per-sample outputs; the ranking is the first round's, which saw every sample."""
        self.labels[indices] = result.labels
        self.state[indices] = torch.where((number > 1) & (result.state == EASY), self.state[indices], result.state)
        if number == 1:
            self.history_mean[indices] = result.history_mean
            self.wrong_probability[indices] = result.wrong_probability
            witnesses = (1 - result.wrong_probability + result.predicted_given) / 2
            self.quality[indices] = torch.where(result.state == EASY, 1 + result.history_mean, witnesses)
        self.notes |= {f"round{number}_detector_{name}": value for name, value in result.detector.items()}
        for name, value in (("easy", EASY), ("hard", 1), ("noisy", 2), ("dropped", DROPPED)):
            self.notes[f"round{number}_{name}"] = float((result.state == value).float().mean())

    def _train_on(self, indices, data, run):
        """Stage 2 on (m,) training positions with their corrected labels."""
        networks, epochs = run.networks(1), run.protocol.epochs
        loader = run.loader(indices, self.labels[indices])
        momentum = ema_momentum(self.params.ema, epochs * len(loader))
        self.average = MovingAverage(networks[0], momentum) if self.params.ema else None
        self.notes["ema_momentum"] = momentum
        warmup = capped_epochs(self.params.warmup, epochs, share=1 / 8) if self.params.warmup else 0
        within = self.labels[indices] if self.params.per_class else None
        self.suppressor = NoiseSuppressor(indices, data.n, epochs, self.params, warmup, within)
        for epoch in run.epochs("train", networks, state=self, predictor=method_predictor(self, networks)):
            self.suppressor.start_epoch(epoch)
            for batch in loader:
                run.step(networks, self.suppressor.loss(networks[0](batch.images), batch, epoch), len(batch))
                self.suppressor.record(epoch, batch, networks, self.average)
                run.history.record(epoch, batch.indices, data.labels[batch.indices], networks[0].last_logits)
        return networks

    def predict(self, networks, images):
        """(B, K) probabilities of the averaged network M2, the published predictor."""
        if self.average is None:
            return super().predict(networks, images)
        self.average.network.eval()
        return self.average.network(images).softmax(dim=1)

    def auxiliary_predictions(self, networks, images):
        """M1, the network that is trained by gradient."""
        return {} if self.average is None else {"m1": networks[0](images).softmax(dim=1)}

    def label_quality(self):
        """Easy samples first, by history mean; the others by the mean of the two witnesses' belief in the given label."""
        return self.quality

    def suspects(self):
        """Samples that are not kept with their given label: corrected or dropped."""
        return (self.labels != self.data.labels) | (self.state == DROPPED)

    def corrected_labels(self):
        """Labels after the last round; -1 for dropped samples."""
        return torch.where(self.state == DROPPED, -1, self.labels)

    def sample_columns(self):
        """State (0 easy, 1 hard, 2 noisy, 3 dropped), the detector's noise score and the history mean."""
        return {"state": self.state, "noise_score": self.wrong_probability, "history_mean": self.history_mean}

    def diagnostics(self):
        """The detector's held-out scores, shares of the states, the noise rate and the momentum used."""
        return dict(self.notes)
