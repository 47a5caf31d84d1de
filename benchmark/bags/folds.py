"""Training bags that a method sets aside by itself: some to choose by, or folds to predict out of sample; no patient in two parts."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def held_out(labels: Tensor, groups: Tensor | None, share: float, rng: np.random.Generator) -> Tensor:
    """(n,) bool in host memory: bags to choose by, and not to train on.

    Args:
        labels: (n,) 0 or 1, as given.
        groups: (n,) ids of patients, who are held out whole; None: every bag is its own.
        share: of the patients, of those with a positive bag and of the others alike; at least one of each and never all.
        rng: decides which.

    Returns:
        No bag at all where not both parts would have bags of both labels: there is then nothing to choose by, or to train on.
    """
    patient, positive, order = _patients(labels, groups, rng)
    taken = np.zeros(len(positive), dtype=bool)
    for stratum in (True, False):
        members = order[positive[order] == stratum]
        taken[members[: min(max(round(share * len(members)), 1), max(len(members) - 1, 0))]] = True
    chosen, given = taken[patient], labels.cpu().numpy()
    complete = share > 0 and all(len(np.unique(given[part])) == 2 for part in (chosen, ~chosen))
    return torch.from_numpy(chosen if complete else np.zeros_like(chosen))


def bag_folds(labels: Tensor, groups: Tensor | None, folds: int, rng: np.random.Generator) -> Tensor:
    """(n,) int64 in host memory: the fold of each bag, from 0; there are no more folds than patients.

    Args:
        labels: (n,) 0 or 1. Patients with a positive bag are dealt out first, then the others, so that folds have as many of them.
        groups: (n,) ids of patients; None: every bag is its own.
        folds: how many.
        rng: decides which patients are together.
    """
    patient, positive, order = _patients(labels, groups, rng)
    dealt = order[np.argsort(~positive[order], kind="stable")]
    fold = np.empty(len(dealt), dtype=np.int64)
    fold[dealt] = np.arange(len(dealt)) % folds
    return torch.from_numpy(fold[patient])


def _patients(labels: Tensor, groups: Tensor | None, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The patient of each bag, whether each patient has a positive bag, and the patients in random order."""
    given = labels.cpu().numpy()
    names = np.arange(len(given)) if groups is None else groups.cpu().numpy()
    patient = np.unique(names, return_inverse=True)[1].reshape(-1)
    positive = np.bincount(patient, weights=given) > 0
    return patient, positive, rng.permutation(len(positive))
