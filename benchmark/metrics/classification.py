"""How often the predicted class is the true one, over all samples and class by class."""

from __future__ import annotations

import numpy as np


def classification(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float | None]:
    """Accuracy and its kin. The predicted class is the most likely one, the first of equals.

    Args:
        labels: (t,) int64 true labels in [0, K).
        probabilities: (t, K) scores, higher = more likely.

    Returns:
        All in [0, 1], None where undefined:

        - ``accuracy``: share of right predictions.
        - ``balanced_accuracy``: mean recall over the classes that occur in ``labels``.
        - ``macro_f1``: mean F1 over the classes that occur in ``labels`` or among the predictions (scikit-learn's
          default): a class that is predicted but absent counts as 0.
        - ``auroc``: see :func:`macro_auroc`.
        - ``worst_class_recall``: the smallest recall of the classes that occur in ``labels``.
    """
    names = ("accuracy", "balanced_accuracy", "macro_f1", "auroc", "worst_class_recall")
    if labels.size == 0 or not np.isfinite(probabilities).all():
        return dict.fromkeys(names)
    num_classes = probabilities.shape[1]
    predicted = probabilities.argmax(axis=1)
    right = predicted == labels
    hits = np.bincount(labels[right], minlength=num_classes)
    support = np.bincount(labels, minlength=num_classes)
    claimed = np.bincount(predicted, minlength=num_classes)
    in_truth, occurs = support > 0, (support + claimed) > 0
    recall = hits[in_truth] / support[in_truth]
    f1 = 2 * hits[occurs] / (support + claimed)[occurs]  # 2 TP / (2 TP + FP + FN)
    values = (right.mean(), recall.mean(), f1.mean(), macro_auroc(labels, probabilities), recall.min())
    return {name: None if value is None else float(value) for name, value in zip(names, values, strict=True)}


def macro_auroc(labels: np.ndarray, probabilities: np.ndarray) -> float | None:
    """Area under the ROC curve, one class against the rest, averaged over the classes without weights.

    Args:
        labels: (t,) int64 in [0, K).
        probabilities: (t, K) finite scores.

    Returns:
        The mean, in [0, 1], over the classes with positives and negatives (Hand & Till's alternative, pairs of classes,
        is not used); None where there is none, as with a test part of one class.
    """
    from sklearn.metrics import roc_auc_score

    support = np.bincount(labels, minlength=probabilities.shape[1])
    defined = np.flatnonzero((support > 0) & (support < labels.size))
    if defined.size == 0:
        return None
    one_vs_rest = (labels[:, None] == defined).astype(np.int8)
    return float(roc_auc_score(one_vs_rest, probabilities[:, defined], average="macro"))
