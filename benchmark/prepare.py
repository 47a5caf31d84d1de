"""From a spec to the data of one run: load, resize, embed, split, thin out, corrupt. The same for every method, so that
comparisons are paired."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmark.api import Arrays, Dataset, Noise, Report, Samples
from benchmark.data.label_file import relabelled, warn_if_unused
from benchmark.data.label_file import without as without_label_file
from benchmark.data.rows import ImageRows
from benchmark.data.thinning import rank_classes, thin
from benchmark.errors import BenchmarkError
from benchmark.noise_record import record as record_noise
from benchmark.registry import Registry
from benchmark.resolve import dataset_fingerprint, instantiate_dataset, instantiate_noise, open_dataset, refuse_changed_noise
from benchmark.seeds import numpy_generator
from benchmark.segmentation import VOID
from benchmark.spec import PluginSpec, RunSpec, canonical_json
from benchmark.splits import split_indices
from benchmark.tasks import task_of

if TYPE_CHECKING:
    import torch

    from benchmark.bags.arrays import BagArrays


@dataclass(frozen=True)
class PreparedData:
    """Data, splits and labels of one run.

    Attributes:
        dataset, noise: the plugin instances.
        arrays: the whole set (masks: :class:`~benchmark.segmentation.arrays.MaskArrays`), at the size asked for, without what the
            option ``label_file`` puts in place of its labels.
        inputs: part → what the run is given, (m, H, W, C) images or (m, D) features, foreign images in their places.
        indices: part → positions in ``arrays``.
        labels: part → given labels; noisy for ``train`` and ``val``, true for ``test``. Of masks, (m, T, H, W).
        truth: part → true labels.
        foreign: part → (m,) bool, True = the image shows none of the classes (open-set noise).
        record: what is saved of the draw of noise.
    """

    dataset: Dataset
    noise: Noise
    arrays: Any
    inputs: dict[str, ImageRows]
    indices: dict[str, np.ndarray]
    labels: dict[str, np.ndarray]
    truth: dict[str, np.ndarray]
    foreign: dict[str, np.ndarray]
    record: dict[str, Any]

    @property
    def wrong(self) -> np.ndarray:
        """(n,) bool: the training samples whose label is wrong for their image, in any pixel where it is a mask (void is not wrong)."""
        given, true = self.labels["train"], self.truth["train"]
        differs = given != true
        if given.ndim > 1:
            differs &= (given != VOID) & (true != VOID)
        return differs.reshape(len(differs), -1).any(axis=1) | self.foreign["train"]

    @property
    def knows_truth(self) -> bool:
        """Whether ``truth`` is more than the given labels again: the set's own are true, there is a reference, or noise was drawn into
        them. Nobody has looked at a user's own labels."""
        return self.dataset.labels_are_truth or self.arrays.clean_labels is not None or bool(self.wrong.any())


def prepare(spec: RunSpec, registry: Registry, data_root: Path, device: torch.device | None = None) -> PreparedData:
    """Load the data of a spec, split them and draw the noise, as the task of the data does it.

    Args:
        spec: the run.
        registry: where its plugins are.
        data_root: the folder for downloads and caches.
        device: where features are computed and a posterior is trained, if need be; the CPU by default.

    Raises:
        BenchmarkError: unusable data, a part that would be empty, or noise that the classes cannot bear.
    """
    return task_of(registry.load("dataset", spec.dataset.name).task).prepare(spec, registry, data_root, device)


def prepare_classes(spec: RunSpec, registry: Registry, data_root: Path, device: torch.device | None = None) -> PreparedData:
    """:func:`prepare` of data with one class a sample.

    Noise is drawn for the training and the validation part apart, each at the full rate, from generators that depend on
    data, noise and seed. The test part keeps its true labels.
    """
    dataset = instantiate_dataset(registry, spec.dataset)
    noise = instantiate_noise(registry, spec.noise)
    refuse_changed_noise(registry, spec.noise, noise, data_root)
    loaded = load(dataset, spec.dataset, data_root)
    content = content_digest(loaded)
    indices = split(spec, loaded, content, dataset)  # by the set's own labels: the parts are the same with any file of labels
    arrays = _with_label_file(spec, dataset, loaded, content)
    truth = true_labels(arrays)
    labels, foreign, replaced = {"test": truth[indices["test"]]}, {"test": np.zeros(len(indices["test"]), dtype=bool)}, {}
    for part in ("train", "val"):
        names = spec.noise_names(content)
        samples = Samples(
            truth[indices[part]],
            len(arrays.classes),
            arrays.classes,
            images=ImageRows(arrays.images, indices[part]),
            given=None if arrays.clean_labels is None else arrays.labels[indices[part]],
            positions=indices[part],
            content=content,
            names=names,
            posterior=_posterior(spec.dataset, arrays, indices[part], data_root, device),
            dataset=lambda text: _other(registry, text, data_root),
        )
        rng = numpy_generator("noise", part, *names)
        labels[part] = _checked(noise.apply(samples, rng), samples, noise.name)
        foreign[part] = np.zeros(len(indices[part]), dtype=bool)
        replacement = noise.replace_images(samples, rng)
        if replacement is not None:
            foreign[part][replacement[0]] = True
            replaced[part] = replacement
    inputs = _inputs(dataset, spec.dataset, arrays, indices, replaced, data_root, device)
    true = {part: truth[positions] for part, positions in indices.items()}
    record = record_noise(true["train"], labels["train"], len(arrays.classes), noise.rate)
    record["val_rate"] = float(np.mean(labels["val"] != true["val"]))
    if replaced:
        record["open_set_rate"] = float(np.mean(foreign["train"]))
    return PreparedData(dataset, noise, loaded, inputs, indices, labels, true, foreign, record)


def _with_label_file(spec: RunSpec, dataset: Dataset, arrays: Arrays, content: str) -> Arrays:
    """The arrays with the labels that the option ``label_file`` names, if it names any."""
    if not dataset.options.label_file:
        return arrays
    found = relabelled(dataset, arrays, content, spec.dataset.fingerprint)
    warn_if_unused(dataset, found, tuple(part.name for part in spec.noise.parts or (spec.noise,)))
    return found


def _checked(noisy: np.ndarray, samples: Samples, name: str) -> np.ndarray:
    """The labels of a noise model, if they are labels of these samples."""
    n, k = len(samples.labels), samples.num_classes
    if noisy.shape != (n,) or noisy.dtype.kind not in "iu" or (n and not 0 <= int(noisy.min()) <= int(noisy.max()) < k):
        raise BenchmarkError(f"noise {name} must return {n} whole numbers in [0, {k}), not {noisy.dtype} {noisy.shape}")
    return noisy.astype(np.int64, copy=False)


def split(spec: RunSpec, arrays: Arrays, content: str, dataset: Dataset) -> dict[str, np.ndarray]:
    """The parts of a spec's data; see :func:`~benchmark.splits.split_indices` and :func:`~benchmark.data.thinning.thin`."""
    truth, options, names = true_labels(arrays), dataset.options, spec.data_names(content)

    def thinned(positions: np.ndarray, part: str) -> np.ndarray:
        ranking = rank_classes(truth, len(arrays.classes))
        rng = numpy_generator("thin", part, *names)
        return thin(positions, truth, ranking, options, rng, class_names=arrays.classes, strict=part == "train")

    return split_indices(
        truth,
        arrays.groups,
        arrays.split,
        test_fraction=spec.protocol.test_fraction,
        val_fraction=spec.protocol.val_fraction,
        rng_names=("split", *names),
        thin=thinned if options.imbalance > 1 or options.subset != 1 else None,
    )


def make_ready(plugin: PluginSpec, registry: Registry, data_root: Path, device: str, report: Report) -> None:
    """Do for a data set what is slow and done once for all runs: downloads, decoding, features.

    Args:
        plugin: the data set.
        registry: where it is.
        data_root: the folder for downloads and caches.
        device: ``auto``, ``cpu`` or ``cuda[:i]``, where features are computed.
        report: is told how far it is.

    Raises:
        BenchmarkError: unusable data.
    """
    dataset = instantiate_dataset(registry, plugin)
    dataset.prepare(data_root, report)
    if dataset.options.features not in ("", "identity"):
        from benchmark.training.devices import resolve_device

        features_of(dataset, plugin, load(dataset, plugin, data_root), data_root, resolve_device(device), report)


_OF_THE_USE = ("imbalance", "imbalance_profile", "subset", "features", "label_file")
"""The common options that leave the images as they are."""

_latest: dict[tuple[type, str], Any] = {}
"""The data set that was used last, by class and identity: a warm worker's next run mostly wants the same."""


def load(dataset: Dataset, plugin: PluginSpec, data_root: Path) -> Any:
    """The checked arrays of a data set, of the kind of its task, at the size that its options ask for; the last set is kept.

    Raises:
        BenchmarkError: unusable data.
    """
    known = (type(dataset), f"{image_identity(plugin)} {data_root}")
    if known not in _latest:
        _latest.clear()
        _refuse_change(f"data set {plugin.name}", plugin, dataset_fingerprint(dataset, data_root))
        arrays = dataset.load(data_root)
        _latest[known] = task_of(dataset.task).checked(arrays, dataset, image_identity(plugin), data_root)
    return _latest[known]


def _refuse_change(what: str, plugin: PluginSpec, now: str | None) -> None:
    """A file that changed after the run was planned would be trained on under the key of what it was before."""
    if now != plugin.fingerprint:
        raise BenchmarkError(f"{what} has changed since this run was planned; give the command again")


def true_labels(arrays: Arrays | BagArrays) -> np.ndarray:
    """(n,) int64: the reference where there is one, else the labels."""
    return arrays.labels if arrays.clean_labels is None else arrays.clean_labels


def content_digest(arrays: Arrays | BagArrays) -> str:
    """16 hex digits over true labels, given splits, groups and, of bags, their sizes: which samples these are, wherever they lie."""
    digest = hashlib.sha256()
    sizes = getattr(arrays, "offsets", None)
    for part in (true_labels(arrays), arrays.split, arrays.groups, *(() if sizes is None else (sizes,))):
        digest.update(b"-" if part is None else np.ascontiguousarray(part, dtype="<i8").tobytes())
    return digest.hexdigest()[:16]


def check_arrays(arrays: Arrays, name: str) -> None:
    """Refuse arrays that break the contract of :class:`~benchmark.api.Arrays`, with one line that says how."""
    n, k = len(arrays.labels), len(arrays.classes)
    if arrays.images.dtype != np.uint8 or arrays.images.ndim != 4 or arrays.images.shape[3] not in (1, 3):
        raise BenchmarkError(f"data set {name}: images must be uint8 (n, H, W, 1 or 3), not {arrays.images.dtype} {arrays.images.shape}")
    if len(arrays.images) != n:
        raise BenchmarkError(f"data set {name}: {len(arrays.images)} images but {n} labels")
    if k < 2:
        raise BenchmarkError(f"data set {name} has {k} class; at least 2 are needed")
    for what, labels in (("labels", arrays.labels), ("clean_labels", arrays.clean_labels)):
        if labels is None:
            continue
        if labels.dtype != np.int64 or labels.ndim != 1:
            raise BenchmarkError(f"data set {name}: {what} must be int64 ({n},), not {labels.dtype} {labels.shape}")
        if len(labels) != n or labels.min(initial=0) < 0 or labels.max(initial=0) >= k:
            raise BenchmarkError(f"data set {name}: {what} must be {n} numbers in [0, {k})")
    for what in ("split", "groups", "hardness", "paths"):
        values = getattr(arrays, what)
        if values is not None and len(values) != n:
            raise BenchmarkError(f"data set {name}: {what} has {len(values)} entries for {n} images")
    for what in ("split", "groups"):
        values = getattr(arrays, what)
        if values is not None and (not isinstance(values, np.ndarray) or values.ndim != 1 or values.dtype.kind not in "iu"):
            found = f"{values.dtype} {values.shape}" if isinstance(values, np.ndarray) else type(values).__name__
            raise BenchmarkError(
                f"data set {name}: {what} must be integers ({n},), not {found}; number names with np.unique(…, return_inverse=True)"
            )


def _other(registry: Registry, text: str, data_root: Path) -> Arrays:
    """The arrays of another data set, named by a noise model."""
    dataset, _ = open_dataset(registry, text, data_root)
    arrays = dataset.load(data_root)
    check_arrays(arrays, dataset.name)
    return arrays


def image_identity(plugin: PluginSpec) -> str:
    """What tells the images of a data set from all others; how many of them are used does not count."""
    own = {name: value for name, value in plugin.params.items() if name not in _OF_THE_USE}
    return canonical_json([plugin.name, own, plugin.version, without_label_file(plugin.fingerprint)])


def _posterior(
    plugin: PluginSpec, arrays: Arrays, positions: np.ndarray, data_root: Path, device: torch.device | None
) -> Callable[[], np.ndarray]:
    def posterior() -> np.ndarray:
        import torch

        from benchmark.training.posterior import cached_posterior

        where = device or torch.device("cpu")
        everything = cached_posterior(arrays.images, true_labels(arrays), arrays.classes, image_identity(plugin), data_root, where)
        return everything[positions]

    return posterior


def features_of(
    dataset: Dataset, plugin: PluginSpec, arrays: Any, data_root: Path, device: torch.device | None, report: Report | None = None
) -> np.ndarray:
    """(n, D) frozen features of a data set's images, or of the tiles of its bags, computed once.

    Raises:
        BenchmarkError: what is there holds features already; and as :func:`benchmark.data.features.embed`.
    """
    import torch

    from benchmark.data.features import embed

    setting = dataset.options.features
    if arrays.images.ndim != 4:
        raise BenchmarkError(f"data set {dataset.name} holds features already; leave features={setting} out")
    return embed(setting, arrays.images, image_identity(plugin), data_root, device or torch.device("cpu"), report)


def _inputs(
    dataset: Dataset,
    plugin: PluginSpec,
    arrays: Arrays,
    indices: dict[str, np.ndarray],
    replaced: dict[str, tuple[np.ndarray, np.ndarray]],
    data_root: Path,
    device: torch.device | None,
) -> dict[str, ImageRows]:
    """Part → images or features, with the foreign images of open-set noise in their places."""
    values = arrays.images
    if dataset.options.features:
        values = features_of(dataset, plugin, arrays, data_root, device)
        foreign = {part: (rows, _foreign_features(dataset, images, data_root, device)) for part, (rows, images) in replaced.items()}
        replaced = foreign
    return {part: ImageRows(values, positions, replaced.get(part)) for part, positions in indices.items()}


def _foreign_features(dataset: Dataset, images: np.ndarray, data_root: Path, device: torch.device | None) -> np.ndarray:
    import torch

    from benchmark.data.features import embed

    identity = hashlib.sha256(np.ascontiguousarray(images).data).hexdigest()
    return embed(dataset.options.features, images, identity, data_root, device or torch.device("cpu"))
