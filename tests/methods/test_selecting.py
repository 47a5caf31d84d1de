"""Methods that select, all of them: within classes on request, and where there is nothing, nearly everything or one sample to leave out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from benchmark.conformance import tiny_run
from benchmark.params import ranges
from benchmark.registry import Registry

REGISTRY = Registry()
METHODS = {
    entry.name: REGISTRY.load("method", entry.name)
    for entry in REGISTRY.entries("method")
    if entry.manifest.get("task", "classification") == "classification"
}
WITHIN = sorted(name for name, cls in METHODS.items() if "per_class" in ranges(cls.Params))

NOTHING_TO_CHOOSE = "trains on every label, whatever it suspects afterwards"
WITHOUT = {
    **dict.fromkeys(("bootstrapping", "ce", "elr", "elr_plus", "forward", "label_smoothing", "mixup"), NOTHING_TO_CHOOSE),
    **dict.fromkeys(("nce_mae", "nce_rce", "sce", "sop"), NOTHING_TO_CHOOSE),
    "alr": "phase 1 is another method's selection, and balanced asks about as many of every class",
    "cdr": "chooses weights, not samples",
    "confident_learning": "cleanlab's filters count within classes by themselves, with a threshold a class",
    "constant_detector": "holds every label for right",
    "decoupling": "takes what two networks disagree on, which is no share and no rank",
    "gce": "truncated, it compares a label's own probability with a constant",
    "ssr": "divides votes by the shares of the classes, and draws evenly from them",
}
"""Methods without ``per_class``, and why they need none."""

ONE_SAMPLE_CLASSES = np.where(np.arange(60) < 58, 0, np.arange(60) - 57)
CLEAN = np.arange(60) % 3


def test_whoever_selects_can_select_within_classes() -> None:
    unexplained = set(METHODS) - set(WITHIN) - set(WITHOUT)
    assert not unexplained, f"{', '.join(sorted(unexplained))}: add per_class, or say here why it is not needed"
    assert not set(WITHIN) & set(WITHOUT)
    assert len(WITHIN) >= 13


BY_RATE: dict[str, dict[str, Any]] = {
    **{name: {} for name in ("codis", "coteaching", "coteaching_plus", "coteaching_vog", "jocor", "hsa", "random_detector", "vog")},
    "aum": {"threshold": "rate"},
    "simifeat": {"decide": "rank"},
}
"""Methods that leave out a share of the labels which the noise rate says, and how to make them do so."""


@pytest.mark.parametrize("per_class", [False, True])
@pytest.mark.parametrize("name", BY_RATE)
def test_an_empty_noisy_set(name: str, per_class: bool) -> None:
    result = tiny_run(METHODS[name], labels=CLEAN, noise_rate=0.0, per_class=per_class, **BY_RATE[name])
    suspects = result.method.suspects()
    assert suspects is not None and not suspects.any()
    assert torch.isfinite(result.probabilities).all() and torch.isfinite(result.method.label_quality()).all()


@pytest.mark.parametrize("per_class", [False, True])
@pytest.mark.parametrize("name", BY_RATE)
def test_a_clean_set_of_next_to_nothing_and_classes_of_one_sample(name: str, per_class: bool) -> None:
    """At the highest rate that there is, 0.95, of 60 labels 57 are left out; within classes none is left without a sample."""
    result = tiny_run(METHODS[name], labels=ONE_SAMPLE_CLASSES, noise_rate=0.95, per_class=per_class, **BY_RATE[name])
    suspects, labels = result.method.suspects(), result.method.data.labels
    assert torch.isfinite(result.probabilities).all() and torch.isfinite(result.method.label_quality()).all()
    assert suspects is not None
    if name == "hsa":  # decides by two witnesses
        return
    if not per_class:
        assert int(suspects.sum()) == 57
    elif name != "coteaching_vog":  # which keeps of each class a share by loss and a share by variance
        assert torch.bincount(labels[~suspects], minlength=3).tolist() == [3, 1, 1]
    else:
        assert (torch.bincount(labels[~suspects], minlength=3) >= 1).all()


BY_THEMSELVES: list[tuple[str, dict[str, Any]]] = [
    ("aum", {}),
    ("confident_learning", {}),
    ("decoupling", {}),
    ("disc", {}),
    ("disc", {"per_class": True}),
    *((name, {"p_threshold": p, "per_class": within}) for name in ("dividemix", "pgdf") for p in (0.0, 1.0) for within in (False, True)),
    ("gce", {"truncate": 0.01, "prune_start": 1, "prune_every": 1}),
    ("gce", {"truncate": 0.99, "prune_start": 1, "prune_every": 1}),
    ("loss_gmm", {}),
    ("loss_gmm", {"per_class": True}),
    ("simifeat", {}),
    ("ssr", {}),
    ("ssr", {"theta_s": 0.0}),
]
"""Methods that find the number themselves: as they are, and with a threshold that takes everything or nothing."""


@pytest.mark.parametrize(("name", "changes"), BY_THEMSELVES, ids=str)
@pytest.mark.parametrize("labels", [CLEAN, ONE_SAMPLE_CLASSES], ids=["clean", "classes of one sample"])
def test_whoever_needs_no_rate_survives_too(name: str, changes: dict[str, Any], labels: np.ndarray) -> None:
    result = tiny_run(METHODS[name], labels=labels, rate=0.0, **changes)
    assert torch.isfinite(result.probabilities).all() and torch.isfinite(result.method.label_quality()).all()
    suspects = result.method.suspects()
    assert suspects is None or suspects.shape == (60,)


def test_every_method_that_selects_is_tried() -> None:
    assert set(WITHIN) <= set(BY_RATE) | {name for name, _ in BY_THEMSELVES}
