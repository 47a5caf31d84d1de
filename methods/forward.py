"""Forward correction: the network predicts clean classes, and the loss compares what noise would make of them with the labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from benchmark.api import Method, hp, method
from benchmark.errors import BenchmarkError, unknown_name
from benchmark.noise_matrix import check_transition, digest, read_matrix, resolve_file
from benchmark.training.loop import given_label_probability
from benchmark.training.losses import forward_cross_entropy
from benchmark.training.mixture import lower_component
from benchmark.training.noise_rate import FOLDS, out_of_fold_probabilities
from benchmark.training.transition import anchor_matrix, confident_joint_matrix, counted_matrix, log_transition, true_class_posterior

SOURCES = ("anchor", "confident_joint", "oracle")
"""Words that ``matrix`` takes beside a file."""


@dataclass(frozen=True)
class ForwardParams:
    """Hyperparameters; see docs/methods/forward.md."""

    matrix: str = hp("confident_joint", help="anchor, confident_joint (both estimate), oracle (counts true labels), or a .csv or .npy file")
    percentile: float = hp(97.0, 50.0, 100.0, tune=False, help="anchor: where the anchor stands among a class's probabilities")

    def __post_init__(self):
        """Refuse what is neither a word nor the name of such a file; ValueError with the reason."""
        if self.matrix not in SOURCES and Path(self.matrix).suffix not in (".csv", ".npy"):
            raise ValueError(str(unknown_name("source of the matrix", self.matrix, SOURCES, "or give a .csv or .npy file")))


@method(
    "forward",
    paper="Patrini et al., Making Deep Neural Networks Robust to Label Noise: a Loss Correction Approach, CVPR 2017, arXiv 1609.03683",
    year=2017,
    family="transition matrix",
    needs=[],
    cost=2.0,
)
class Forward(Method):
    """Minimises −log Σ_k p_k T[k, y], with T estimated from out-of-fold predictions, read from a file or told by the oracle."""

    Params = ForwardParams

    def fingerprint(self):
        """Digest of the matrix's file, if it comes from one, so that another content is another run; BenchmarkError if there is none."""
        return None if self.params.matrix in SOURCES else digest(self.name, self._file())

    def _file(self):
        return resolve_file(self.name, "matrix", self.params.matrix)

    def setup(self, data, run):
        """What the predictions and T together said of each sample's true class, summed over the epochs."""
        self.posterior = torch.zeros(data.n, data.num_classes, device=run.device)

    def fit(self, data, run):
        """Find T, train with it, then tell right labels from wrong ones."""
        matrix = self._matrix(data, run)
        self.wrong_share = float(1 - matrix.diagonal().mean())
        self.log_matrix = log_transition(matrix, run.device)
        networks = super().fit(data, run)
        self.posterior /= self.posterior.sum(dim=1, keepdim=True)
        self.quality = given_label_probability(self.posterior, data.labels)
        self.wrong = torch.from_numpy(lower_component(self.quality.double().cpu().numpy())).to(run.device)
        return networks

    def _matrix(self, data, run):
        """(K, K) float64, rows add up to 1."""
        source, labels = self.params.matrix, data.labels.cpu().numpy()
        if source not in SOURCES:
            path = self._file()
            return check_transition(self.name, read_matrix(self.name, path, data.num_classes, data.class_names), str(path))
        if source == "oracle":
            try:
                true = run.oracle.labels(torch.arange(data.n).numpy())
            except LookupError as error:
                raise BenchmarkError(f"forward.matrix=oracle cannot be had: {error}; use matrix=confident_joint or a file") from None
            return counted_matrix(true, labels, data.num_classes)
        everything = torch.arange(data.n, device=run.device)
        folds = min(FOLDS, data.n)
        predicted = out_of_fold_probabilities(run, everything, data.labels, folds=folds, name="matrix").double().cpu().numpy()
        return anchor_matrix(predicted, self.params.percentile) if source == "anchor" else confident_joint_matrix(labels, predicted)

    def training_step(self, batch, networks, epoch):
        """Mean corrected loss of the batch. As in the training history, the first eighth of the epochs is not heard."""
        logits = networks[0](batch.images)
        if epoch >= self.run.protocol.epochs // 8:
            posterior = true_class_posterior(logits.detach().softmax(dim=1), batch.labels, self.log_matrix)
            self.posterior.index_add_(0, batch.indices, posterior)
        return forward_cross_entropy(logits, batch.labels, self.log_matrix).mean()

    def label_quality(self):
        """P(true class = given label | image, label) by Bayes' rule, the mean over the epochs."""
        return self.quality

    def suspects(self):
        """The lower of two Gaussian components of that: a network that comes to know labels by heart pulls the mean above 1/2."""
        return self.wrong

    def corrected_labels(self):
        """For suspects the most likely other class."""
        others = self.posterior.scatter(1, self.data.labels.view(-1, 1), -1.0)
        return torch.where(self.wrong, others.argmax(dim=1), self.data.labels)

    def diagnostics(self):
        """The mean probability of a wrong label over the classes, by T."""
        return {"matrix_noise_rate": self.wrong_share}
