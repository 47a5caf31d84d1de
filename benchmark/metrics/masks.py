"""All metrics of a run on masks, from the arrays of its ``predictions.npz``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from benchmark.metrics.detection import detection
from benchmark.metrics.means import Metrics, mean_of
from benchmark.metrics.pixels import image_ranking, pixel_calibration, pixel_detection, pixel_detection_by_class
from benchmark.metrics.segmentation import segmentation
from benchmark.segmentation import VOID
from benchmark.segmentation.overlap import image_means, mean_dice, overlap


def compute_masks(predictions: Mapping[str, np.ndarray]) -> dict[str, Metrics]:
    """The ``metrics`` of ``result.json`` of a run on masks; both are laid out in docs/design.md.

    Args:
        predictions: the arrays by name. Forecasts are probabilities (…, T, J, H, W) or class ids (…, T, H, W). A group whose arrays
            are absent is absent from the result.

    Returns:
        group → name → value: ``last``, ``last_k``, ``selected``, ``best`` and ``aux/<name>`` hold
        :func:`~benchmark.metrics.segmentation.segmentation` (``selected`` also ``ece``), ``validation`` the Dice against the noisy
        validation masks, ``detection`` that of wrong pixels, ``ranking`` how well the images' quality puts the worst masks first, and
        ``correction`` the pixel error rate and Dice of the masks before and after.

    Raises:
        ValueError, IndexError: arrays whose shapes contradict each other, or no names of tasks and classes.
    """
    missing = [name for name in ("tasks", "classes") if name not in predictions]
    if missing:
        raise ValueError(f"masks without {' and '.join(missing)}")
    tasks, classes = [str(name) for name in predictions["tasks"]], [str(name) for name in predictions["classes"]]
    J, organs = len(classes), organ_names(tasks, classes)

    def of(labels: np.ndarray, forecast: np.ndarray) -> Metrics:
        return segmentation(_ids(forecast), labels, organs, J)

    groups: dict[str, Metrics] = {}
    if "test_labels" in predictions:
        labels = predictions["test_labels"]
        if "test_last_k" in predictions and len(predictions["test_last_k"]):
            epochs = [of(labels, forecast) for forecast in predictions["test_last_k"]]
            groups["last"], groups["last_k"] = epochs[-1], mean_of(epochs)
        if "test_selected" in predictions:
            groups["selected"] = of(labels, predictions["test_selected"]) | pixel_calibration(labels, predictions["test_selected"])
        if "test_best" in predictions:
            groups["best"] = of(labels, predictions["test_best"])
        for name in sorted(predictions):
            if name.startswith("aux_"):
                groups[f"aux/{name.removeprefix('aux_')}"] = of(labels, predictions[name])
    if "val_selected" in predictions:
        groups["validation"] = {"dice": mean_dice(_ids(predictions["val_selected"]), predictions["val_labels"], J)}
    if "train_given" in predictions and "train_true" in predictions:
        groups |= _training(predictions, tasks, J)
    return groups


def organ_names(tasks: Sequence[str], classes: Sequence[str]) -> list[str]:
    """Names of the T·(J − 1) objects, task by task: the task's where it has one object, the class's where there is one task."""
    if len(classes) == 2:
        return list(tasks)
    return [name if len(tasks) == 1 else f"{task} {name}" for task in tasks for name in classes[1:]]


def _training(predictions: Mapping[str, np.ndarray], tasks: Sequence[str], J: int) -> dict[str, Metrics]:
    given, true = predictions["train_given"], predictions["train_true"]
    groups: dict[str, Metrics] = {}
    if "train_flagged" in predictions:
        flagged = predictions["train_flagged"].astype(bool)
        groups["detection"] = pixel_detection(given, true, flagged) | pixel_detection_by_class(given, true, flagged, tasks, J)
    if "train_ranked" in predictions:
        drawn = predictions["train_ranked"]
        labels, truth = given.reshape(-1)[drawn], true.reshape(-1)[drawn]
        known = (labels != VOID) & (truth != VOID)
        ranks = detection(labels[known], truth[known], predictions["train_ranked_quality"][known])
        groups.setdefault("detection", {}).update({name: ranks[name] for name in ("auroc", "average_precision")})
    if "train_quality" in predictions:
        groups["ranking"] = image_ranking(predictions["train_quality"], image_means(overlap(given, true, J)["dice"]))
    if "train_corrected" in predictions:
        groups["correction"] = {}
        for when, masks in (("before", given), ("after", predictions["train_corrected"])):
            known = (masks != VOID) & (true != VOID)
            wrong = int(np.count_nonzero((masks != true) & known))
            groups["correction"][f"noise_{when}"] = wrong / max(int(np.count_nonzero(known)), 1)
            groups["correction"][f"dice_{when}"] = mean_dice(masks, true, J)
    return groups


def _ids(forecast: np.ndarray) -> np.ndarray:
    """Class ids of probabilities; ids as they are."""
    return forecast.argmax(axis=-3).astype(np.uint8) if forecast.dtype.kind == "f" else forecast
