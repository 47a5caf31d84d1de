"""What active label refinement keeps of the networks that it looks at: chosen weights, gradients, and a pool of candidates."""

from __future__ import annotations

import torch

from benchmark.training.acquisition import Pool
from benchmark.training.vog import WindowedVariance, residuals, with_bias


class LastEpochs:
    """Looks on while phase 1 and the rounds train.

    Args:
        owner: the method; its ``run`` and ``data`` are read when they are needed.
        window: epochs whose last-layer gradients are kept; 0 for none.
        select: keep network 1 of the epoch that the noisy validation part finds best.

    Attributes:
        weights: that network's state.
        key: its settings.
    """

    def __init__(self, owner, window, *, select):
        self._owner, self.select = owner, select
        self.gradients = WindowedVariance(window) if window else None
        self.score, self.weights = [], {}
        self.key = f"{window}-{select}"

    def after_epoch(self, networks, line):
        """An epoch of phase 1's final stage."""
        self.push(networks, line["epoch"], line["epochs"])
        if self.select and "val_accuracy" in line:
            nll = line["val_nll"]
            score = [line["val_accuracy"], float("-inf") if nll is None else -nll]
            if not self.score or score > self.score:
                self.score = score
                self.weights = {name: value.detach().clone() for name, value in networks[0].state_dict().items()}

    def push(self, networks, epoch, epochs):
        """Keep network 1's gradients of one of a stage's last epochs: of the last layer, in evaluation mode, unaugmented."""
        if self.gradients is None or epoch < epochs - self.gradients.window:
            return
        with torch.no_grad():
            features = self._owner.run.features(networks[0])
            logits = networks[0].head(features)
        self.gradients.push(with_bias(features), residuals(logits, self._owner.data.labels))

    def state_dict(self):
        """For checkpoints."""
        gradients = None if self.gradients is None else self.gradients.state_dict()
        return {"score": list(self.score), "weights": dict(self.weights), "gradients": gradients}

    def load_state_dict(self, state):
        """Restore."""
        self.score, self.weights = list(state["score"]), dict(state["weights"])
        if self.gradients is not None:
            self.gradients.load_state_dict(state["gradients"])


@torch.no_grad()
def make_pool(alr, data, run, strategy, network, candidates):
    """The candidates as a strategy sees them; what a strategy does not look at is not computed.

    Args:
        alr: the method.
        strategy: its name.
        network: the current model.
        candidates: (m,) int64 training positions.
    """

    def seen(model, indices):
        features = run.features(model, indices)
        return features, model.head(features).softmax(dim=1)

    features, probabilities = seen(network, candidates)
    more = {}
    if strategy == "disagreement":
        members = [seen(member, candidates)[1] for member in alr.committee[1:]]
        more["committee"] = torch.stack([probabilities, *members])
    if strategy == "vog":
        scores = alr.watcher.gradients.score()
        more["vog"] = (torch.zeros(data.n, device=run.device) if scores is None else scores)[candidates]
    known = alr.trusted().nonzero().squeeze(1)  # not all that is trained on: with train_on=all that would be the candidates themselves
    if strategy == "coreset" and len(known):
        more["covered"] = seen(network, known)[0]
    asked = (alr.asked > 0).nonzero().squeeze(1)
    if strategy == "activelab" and len(asked):
        more["answered"] = (seen(network, asked)[1], data.labels[asked], alr.labels[asked])
    quality = alr.quality[candidates]
    return Pool(probabilities, features, network.head, data.labels[candidates], quality, run.generator("alr", "acquisition"), **more)
