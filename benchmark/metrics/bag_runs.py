"""All metrics of a run on bags, from the arrays of its ``predictions.npz``."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from benchmark.metrics.bags import UNDECIDED, bag_metrics, instance_metrics, pseudo_label_quality, youden_threshold
from benchmark.metrics.detection import detection
from benchmark.metrics.froc import froc
from benchmark.metrics.means import Metrics, mean_of


def compute_bags(predictions: Mapping[str, np.ndarray]) -> dict[str, Metrics]:
    """The ``metrics`` of ``result.json`` of a run on bags; both are laid out in docs/design.md.

    Args:
        predictions: the arrays by name. Forecasts of bags are (…, 2) probabilities, scores of tiles (N,). A group whose arrays are absent
            is absent from the result.

    Returns:
        group → name → value: ``selected`` holds :func:`~benchmark.metrics.bags.bag_metrics` at the ``threshold`` that the noisy
        validation bags choose, ``last``, ``last_k`` and ``best`` the same at 0.5, ``validation`` that of the validation bags,
        ``instances`` and ``lesions`` what the tile scores of the selected epoch find on the test part, ``pseudo/<i>`` how right the
        pseudo labels of the training tiles are in round i, and ``detection`` that of wrong labels of training bags.
    """
    groups: dict[str, Metrics] = {}
    threshold = UNDECIDED
    if "val_selected" in predictions:
        labels, forecast = predictions["val_labels"], predictions["val_selected"][:, 1]
        threshold = youden_threshold(labels, forecast)
        groups["validation"] = bag_metrics(labels, forecast, threshold)
    if "test_labels" in predictions:
        labels = predictions["test_labels"]
        if "test_last_k" in predictions and len(predictions["test_last_k"]):
            epochs = [bag_metrics(labels, forecast[:, 1], UNDECIDED) for forecast in predictions["test_last_k"]]
            groups["last"], groups["last_k"] = epochs[-1], mean_of(epochs)
        if "test_selected" in predictions:
            groups["selected"] = bag_metrics(labels, predictions["test_selected"][:, 1], threshold) | {"threshold": threshold}
        if "test_best" in predictions:
            groups["best"] = bag_metrics(labels, predictions["test_best"][:, 1], UNDECIDED)
        if "test_selected_tiles" in predictions:
            scores, offsets = predictions["test_selected_tiles"], predictions["test_offsets"]
            truth = predictions.get("test_tile_labels")
            groups["instances"] = instance_metrics(truth, scores, labels, offsets, UNDECIDED)
            groups["lesions"] = froc(truth, scores, predictions.get("test_positions"), offsets)
    if "pseudo_scores" in predictions:
        given, offsets = predictions["train_given"], predictions["train_offsets"]
        truth, cut = predictions.get("train_tile_labels"), float(predictions["pseudo_threshold"])
        for number, scores in enumerate(predictions["pseudo_scores"].astype(np.float64)):
            groups[f"pseudo/{number}"] = pseudo_label_quality(scores, truth, offsets, given, cut)
    if "train_given" in predictions and "train_true" in predictions:
        named = {"suspect": "train_suspect", "quality": "train_quality"}
        optional = {name: predictions[array] for name, array in named.items() if array in predictions}
        groups["detection"] = detection(predictions["train_given"], predictions["train_true"], **optional)
    return groups
