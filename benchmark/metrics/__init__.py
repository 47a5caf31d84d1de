"""All metrics, from the arrays of ``predictions.npz``: a new metric is a rescore, never a retraining.

Every number is a float or None. None means undefined (a class that the test part lacks, no wrong label to find, a
forecast that is not finite); NaN never leaves this package.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from benchmark.metrics.annotation import annotation
from benchmark.metrics.calibration import calibration
from benchmark.metrics.classification import classification
from benchmark.metrics.correction import correction
from benchmark.metrics.detection import clean_kept, detection, open_set
from benchmark.metrics.means import Metrics, mean_of

__all__ = [
    "annotation", "calibration", "classification", "clean_kept", "compute", "compute_classes", "correction", "detection", "open_set",
    "rounds", "test_metrics",
]  # fmt: skip

OF_THE_TRUTH = frozenset(("detection", "clean_kept", "correction", "ranking"))
"""Groups that ask which training labels are wrong. Where that is not known, none of them would be, and every correction harm."""

NEED_NO_TRUTH = frozenset(("flagged", "kept"))
"""What these groups say of the method alone."""


def compute(predictions: Mapping[str, np.ndarray]) -> dict[str, Metrics]:
    """The ``metrics`` of ``result.json`` from the arrays of ``predictions.npz``; both are laid out in docs/design.md.

    Args:
        predictions: the arrays by name; ``task`` says of which kind of labels they are, classification where it is absent.

    Returns:
        What :func:`compute_classes`, :func:`benchmark.metrics.masks.compute_masks` or :func:`benchmark.metrics.bag_runs.compute_bags`
        returns. Where ``truth_known`` is False, what compares the training labels with true ones is None: see :data:`OF_THE_TRUTH`.

    Raises:
        ValueError, IndexError: arrays whose shapes contradict each other.
    """
    task = str(predictions.get("task", "classification"))
    if task == "segmentation":
        from benchmark.metrics.masks import compute_masks

        groups = compute_masks(predictions)
    elif task == "bags":
        from benchmark.metrics.bag_runs import compute_bags

        groups = compute_bags(predictions)
    else:
        groups = compute_classes(predictions)
    if bool(predictions.get("truth_known", True)):
        return groups
    for group in OF_THE_TRUTH & groups.keys():
        groups[group] = {name: value if name in NEED_NO_TRUTH else None for name, value in groups[group].items()}
    return groups


def compute_classes(predictions: Mapping[str, np.ndarray]) -> dict[str, Metrics]:
    """:func:`compute` of runs with one class a sample.

    Args:
        predictions: the arrays by name. A group whose arrays are absent is absent from the result.

    Returns:
        group → name → value: ``last``, ``last_k``, ``selected``, ``best`` and ``aux/<name>`` hold what
        :func:`test_metrics` returns, ``validation`` some of it against the noisy validation labels, ``detection``,
        ``clean_kept``, ``correction`` and (where images were replaced) ``open_set`` what the functions of that name return; of active
        methods also ``annotation`` and ``round/<i>`` (:func:`rounds`).

    Raises:
        ValueError, IndexError: arrays whose shapes contradict each other.
    """
    groups: dict[str, Metrics] = {}
    if "test_labels" in predictions:
        labels = np.asarray(predictions["test_labels"])
        if "test_last_k" in predictions:
            epochs = [test_metrics(labels, probabilities) for probabilities in np.asarray(predictions["test_last_k"])]
            if epochs:
                groups["last"], groups["last_k"] = epochs[-1], mean_of(epochs)
        names = {"test_selected": "selected", "test_best": "best"}
        names.update({name: f"aux/{name.removeprefix('aux_')}" for name in sorted(predictions) if name.startswith("aux_")})
        for array, group in names.items():
            if array in predictions:
                groups[group] = test_metrics(labels, np.asarray(predictions[array]))
        if "round_test" in predictions:
            groups |= rounds(labels, predictions["round_test"], predictions["round_paid"], len(predictions["train_given"]))
    if "val_selected" in predictions and "val_labels" in predictions:
        forecast = test_metrics(np.asarray(predictions["val_labels"]), np.asarray(predictions["val_selected"]))
        groups["validation"] = {name: forecast[name] for name in ("accuracy", "balanced_accuracy", "nll")}
    if "train_given" in predictions and "train_true" in predictions:
        given, true = np.asarray(predictions["train_given"]), np.asarray(predictions["train_true"])
        optional = {
            name: np.asarray(predictions[f"train_{name}"]) for name in ("quality", "suspect", "hardness") if f"train_{name}" in predictions
        }
        known = np.ones(len(given), dtype=bool)
        if "train_open_set" in predictions:  # such an image shows none of the classes: counted apart
            foreign = np.asarray(predictions["train_open_set"]).astype(bool)
            known = ~foreign
            groups["open_set"] = open_set(given, true, foreign, optional.get("quality"), optional.get("suspect"))
        groups["detection"] = detection(given[known], true[known], **{name: values[known] for name, values in optional.items()})
        if "suspect" in optional and "test_selected" in predictions:
            classes = np.asarray(predictions["test_selected"]).shape[1]
            groups["clean_kept"] = clean_kept(given[known], true[known], optional["suspect"][known], classes)
        if "train_corrected" in predictions:
            groups["correction"] = correction(given[known], true[known], np.asarray(predictions["train_corrected"])[known])
        if "ledger" in predictions:
            groups["annotation"] = annotation(np.asarray(predictions["ledger"]), len(given))
    return groups


def rounds(labels: np.ndarray, probabilities: np.ndarray, paid: np.ndarray, n: int) -> dict[str, Metrics]:
    """``round/<i>`` → every test metric, ``paid`` (labels paid for by then) and ``share`` (of the training samples).

    Args:
        labels: (t,) int64 true test labels.
        probabilities: (R, t, K), of the model at the end of each round.
        paid: (R,) labels paid for.
        n: number of training samples.
    """
    return {
        f"round/{number}": {**test_metrics(labels, forecast), "paid": float(bought), "share": float(bought) / n}
        for number, (forecast, bought) in enumerate(zip(np.asarray(probabilities), np.asarray(paid), strict=True))
    }


def test_metrics(labels: np.ndarray, probabilities: np.ndarray) -> Metrics:
    """Every metric of one set of forecasts.

    Args:
        labels: (t,) int64 true labels in [0, K).
        probabilities: (t, K) class probabilities. Where any of them is not finite, every metric is None: an argmax
            over NaN is no forecast.

    Returns:
        ``accuracy``, ``balanced_accuracy``, ``macro_f1``, ``auroc``, ``worst_class_recall``, ``ece`` in [0, 1] and
        ``nll`` ≥ 0.
    """
    return {**classification(labels, probabilities), **calibration(labels, probabilities)}


test_metrics.__test__ = False  # type: ignore[attr-defined]  # pytest collects every name that starts with test_
