"""The contract of data sets and noise models, of each kind of labels."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.api import Dataset, Noise, Samples
from benchmark.bags.arrays import BagArrays
from benchmark.bags.checks import check_bags
from benchmark.conformance_bags import bag_samples
from benchmark.conformance_data import class_samples, mask_samples
from benchmark.data.options import NAMES as OPTION_NAMES
from benchmark.params import defaults, ranges, resolve
from benchmark.prepare import check_arrays
from benchmark.seeds import numpy_generator
from benchmark.segmentation import VOID
from benchmark.segmentation.arrays import MaskArrays
from benchmark.segmentation.prepare import checked_masks, unexpected_values


class NotApplicableError(Exception):
    """This check has nothing to say about this plugin."""


def dataset_keeps_the_contract(cls: type[Dataset]) -> None:
    """Arrays as :class:`~benchmark.api.Arrays` or, of masks, :class:`~benchmark.segmentation.arrays.MaskArrays`, of bags
    :class:`~benchmark.bags.arrays.BagArrays` describes them, the same at every load; a stable fingerprint."""
    missing = [key for key in ("version", "licence", "citation") if key not in cls.manifest]
    assert not missing, f"the manifest lacks {', '.join(missing)}"
    taken = set(ranges(cls.Params)) & set(OPTION_NAMES)
    assert not taken, f"every data set has {', '.join(sorted(taken))}; rename it in Params and read it from self.options"
    _needs_no_argument(cls)
    if str(cls.manifest.get("access", "")).startswith("download"):
        raise NotApplicableError(f"needs a download ({cls.manifest.get('homepage') or cls.manifest['access']})")
    plugin = cls()
    with tempfile.TemporaryDirectory() as folder:
        first, second = plugin.load(Path(folder)), cls().load(Path(folder))
        assert plugin.fingerprint(Path(folder)) == cls().fingerprint(Path(folder)), "the fingerprint changes between loads"
        if cls.task == "segmentation":
            assert isinstance(first, MaskArrays), f"load() must return MaskArrays, not {type(first).__name__}"
            checked_masks(first, plugin, cls.name, Path(folder))
        elif cls.task == "bags":
            assert isinstance(first, BagArrays), f"load() must return BagArrays, not {type(first).__name__}"
            check_bags(first, cls.name)
        else:
            check_arrays(first, cls.name)
    assert np.array_equal(first.images, second.images), "two loads give other images"
    assert np.array_equal(first.labels, second.labels), "two loads give other labels"


def noise_keeps_the_contract(cls: type[Noise]) -> None:
    """A pure function: labels in range, the input untouched, the same draw from the same generator."""
    _needs_no_argument(cls)
    _check_labels(cls, class_samples(tuple(cls.manifest.get("made_for", "abcde"))))


def noise_keeps_the_contract_on_bags(cls: type[Noise]) -> None:
    """The same of labels of bags: two classes, and nothing but labels to go by."""
    _needs_no_argument(cls)
    _check_labels(cls, bag_samples())


def _check_labels(cls: type[Noise], samples: Samples) -> None:
    plugin = cls(resolve(cls.Params, {}, cls.name))
    labels, k = samples.labels, samples.num_classes
    first = _drawn_twice(plugin, samples)
    assert first.shape == labels.shape and first.dtype == np.int64, "noisy labels must be (n,) int64"
    assert first.min() >= 0 and first.max() < k, "noisy labels must lie in [0, K)"
    if plugin.rate is not None:
        assert abs(float(np.mean(first != labels)) - plugin.rate) < 0.25, "the realised rate is far from the nominal one"
    assert "version" in cls.manifest, "the manifest lacks version"


def noise_keeps_the_contract_on_masks(cls: type[Noise]) -> None:
    """The same of masks: class ids in range, void where it was and nowhere else, whether tasks overlap or classes are many."""
    _needs_no_argument(cls)
    plugin = cls(resolve(cls.Params, {}, cls.name))
    for tasks, classes in ((1, 2), (2, 2), (1, 3)):
        samples = mask_samples(tasks, classes)
        first = _drawn_twice(plugin, samples)
        expected = samples.labels.shape
        assert first.shape == expected and first.dtype == np.uint8, f"noisy masks must be {expected} uint8, not {first.dtype} {first.shape}"
        assert np.array_equal(first == VOID, samples.labels == VOID), "void must stay where it is, and no other pixel become void"
        assert not unexpected_values(first, classes), "noisy masks must hold class ids in [0, J)"
    assert "version" in cls.manifest, "the manifest lacks version"


NOISE_CHECKS: dict[str, Callable[[Any], None]] = {
    "classification": noise_keeps_the_contract,
    "segmentation": noise_keeps_the_contract_on_masks,
    "bags": noise_keeps_the_contract_on_bags,
}
"""Task → the contract of noise on its labels."""


def _drawn_twice(plugin: Noise, samples: Samples) -> Any:
    before = samples.labels.copy()
    first = plugin.apply(samples, numpy_generator("conformance"))
    assert np.array_equal(samples.labels, before), "the input was changed in place"  # a second draw might flip back what the first did
    second = plugin.apply(samples, numpy_generator("conformance"))
    assert np.array_equal(first, second), "the same generator gives another draw"
    return first


def _needs_no_argument(cls: Any) -> None:
    if cls.argument is not None and defaults(cls.Params).get(cls.argument, "") == "":
        raise NotApplicableError(f"needs an argument: {cls.name}:{cls.argument.upper()}")
