"""Confident learning: label errors from out-of-fold probabilities, by cleanlab, then training without them."""

import warnings
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from benchmark.api import hp, method
from benchmark.errors import BenchmarkError
from benchmark.training.detect import Detector, Verdict, VerdictParams
from benchmark.training.loop import given_label_probability
from benchmark.training.noise_rate import out_of_fold_probabilities

FILTERS = (
    "prune_by_noise_rate",
    "prune_by_class",
    "both",
    "confident_learning",
    "predicted_neq_given",
    "low_normalized_margin",
    "low_self_confidence",
)
"""How cleanlab decides which labels are wrong (``filter_by``)."""

SCORES = ("self_confidence", "normalized_margin", "confidence_weighted_entropy")
"""How cleanlab ranks labels (``method`` of its label quality scores)."""

LEAST_DIAGONAL = 1e-3
"""P(given = k | true = k) is not taken for less, so that no class is weighted more than a thousandfold; as in CleanLearning."""


@method(
    "confident_learning",
    paper="Northcutt, Jiang and Chuang, Confident Learning: Estimating Uncertainty in Dataset Labels, JAIR 70, 2021, arXiv 1911.00068",
    year=2021,
    family="detect and retrain",
    needs=[],
    cost=3.0,
)
class ConfidentLearning(Detector):
    """Prunes labels that out-of-fold probabilities contradict with confidence, and trains on the rest."""

    presets: ClassVar = {"cleanlab": {"epoch_share": 1.0, "then": "weight"}}

    @dataclass(frozen=True)
    class Params(VerdictParams):
        """Options of cleanlab, and how the probabilities are made."""

        filter_by: str = hp("prune_by_noise_rate", choices=FILTERS, help="which labels count as wrong")
        score: str = hp("self_confidence", choices=SCORES, help="how labels are ranked")
        folds: int = hp(5, 2, 20, tune=False, help="of the cross-validation that gives the probabilities")
        epoch_share: float = hp(
            0.5, 0.01, 1.0, search=(0.2, 1.0), help="of the epochs, for each fold; all of them learn wrong labels by heart"
        )

    def detect(self, data, run):
        """Train a network a fold and let cleanlab judge their predictions."""
        everything, folds = torch.arange(data.n, device=run.device), min(self.params.folds, data.n)
        self.probabilities = out_of_fold_probabilities(
            run, everything, data.labels, folds=folds, name="confident_learning", epoch_share=self.params.epoch_share
        )
        given, predicted = data.labels.cpu().numpy(), self.probabilities.double().cpu().numpy()
        classes, labels, compact = present_classes(given, predicted)
        if len(classes) < 2:
            quality = given_label_probability(self.probabilities, data.labels)
            return Verdict(quality, torch.zeros_like(quality, dtype=torch.bool), data.labels)
        wrong = label_issues(labels, compact, self.params.filter_by)
        weights = np.where(wrong, 0.0, class_weights(labels, compact)[labels])
        verdict = (label_scores(labels, compact, self.params.score), wrong, classes[compact.argmax(axis=1)], weights)
        quality, flagged, suggested, trusted = (torch.from_numpy(part).to(run.device) for part in verdict)
        return Verdict(quality.float(), flagged, suggested, trusted.float())

    def sample_columns(self):
        """The out-of-fold probability of the given label too."""
        confidence = given_label_probability(self.probabilities, self.data.labels)
        return {**super().sample_columns(), "self_confidence": confidence}


def present_classes(labels, probabilities):
    """Leave out the classes that no label names: the confident joint is not defined for them.

    Args:
        labels: (n,) int64.
        probabilities: (n, K) float64.

    Returns:
        classes: (k,) int64, those that occur.
        labels: (n,) int64 positions in ``classes``.
        probabilities: (n, k) float64, rows summing to one again.

    Raises:
        BenchmarkError: a probability is not a finite number; cleanlab would take it without a word.
    """
    if not np.isfinite(probabilities).all():
        raise BenchmarkError("confident_learning: a fold's network predicts NaN; try a lower protocol.lr")
    classes, compact = np.unique(labels, return_inverse=True)
    if len(classes) == probabilities.shape[1]:
        return classes, labels, probabilities
    kept = probabilities[:, classes]
    total = kept.sum(axis=1, keepdims=True)
    return classes, compact.reshape(-1), np.where(total > 0, kept / np.where(total > 0, total, 1), 1 / max(1, len(classes)))


def label_issues(labels, probabilities, filter_by):
    """(n,) bool: cleanlab's answer, True = wrong; at least two classes, each with a label."""
    from cleanlab.filter import find_label_issues

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that a class of one sample cannot be pruned is no news
        return find_label_issues(labels, probabilities, filter_by=filter_by, n_jobs=1)


def label_scores(labels, probabilities, score):
    """(n,) float64 in [0, 1]: cleanlab's label quality, higher = more likely right."""
    from cleanlab.rank import get_label_quality_scores

    return get_label_quality_scores(labels, probabilities, method=score)


def class_weights(labels, probabilities):
    """(K,) float64 weights of the kept samples of a class, 1/P(given = k | true = k): what pruning took from the class is made up for.

    It is the quotient of the class's estimated true prior and of the share that is rightly labelled.
    """
    from cleanlab.count import estimate_py_and_noise_matrices_from_probabilities

    _, noise_matrix, _, _ = estimate_py_and_noise_matrices_from_probabilities(labels, probabilities)
    return 1 / noise_matrix.diagonal().clip(min=LEAST_DIAGONAL)
