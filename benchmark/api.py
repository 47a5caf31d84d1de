"""The contracts that plugins see. A method, data set or noise model is one file that imports from here.

A method never sees the truth: it is given images, given labels and indices. Whatever needs truth (the injected noise
rate, the kind of noise, an annotator) is asked for by name from ``run.oracle``, metered, and marked in every table.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from benchmark.data.options import DataOptions
from benchmark.errors import BenchmarkError
from benchmark.params import NoParams, hp

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from benchmark.data.rows import ImageRows
    from benchmark.training.context import RunContext
    from benchmark.training.images import MappedImages
    from benchmark.training.networks import Networks

__all__ = [
    "Arrays",
    "Batch",
    "Dataset",
    "Method",
    "NoParams",
    "Noise",
    "Report",
    "Samples",
    "TrainingData",
    "dataset",
    "hp",
    "method",
    "noise",
]

P = TypeVar("P", bound="Plugin")
SPLITS = ("train", "val", "test")
"""What the codes 0, 1 and 2 of :attr:`Arrays.split` stand for."""

Report = Callable[[str, int, int], None]
"""Progress of a long preparation: what is going on, how much is done, of how much (0: nobody knows)."""


class Plugin:
    """What methods, data sets and noise models share: a name, a manifest and checked parameters.

    Attributes:
        kind: ``"method"``, ``"dataset"`` or ``"noise"``.
        name, manifest: set by the decorator; the manifest holds its literal keywords (paper, year, licence, …).
        task: the kind of labels, of :data:`benchmark.tasks.TASKS`, several joined by ``+``, or ``"any"``: the decorator's
            keyword, ``"classification"`` by default.
        Params: a frozen dataclass of :func:`~benchmark.params.hp` fields.
        argument: the parameter that takes the part after the colon (``symmetric:0.2`` → ``rate``), None for none.
        presets: named parameter values, e.g. a paper's setting per data set; ``hsa:chaoyang`` selects one.
        params: the values of this instance.
    """

    kind: ClassVar[str]
    name: ClassVar[str]
    manifest: ClassVar[dict[str, Any]]
    task: ClassVar[str] = "classification"
    Params: ClassVar[type] = NoParams
    argument: ClassVar[str | None] = None
    presets: ClassVar[dict[str, dict[str, Any]]] = {}

    def __init__(self, params: Any = None) -> None:
        self.params: Any = self.Params() if params is None else params


def _register(kind: str, name: str, manifest: dict[str, Any]) -> Callable[[type[P]], type[P]]:
    def decorate(cls: type[P]) -> type[P]:
        cls.kind, cls.name, cls.manifest = kind, name, manifest
        cls.task = str(manifest.get("task", "classification"))
        return cls

    return decorate


def method(name: str, **manifest: Any) -> Callable[[type[P]], type[P]]:
    """Register a :class:`Method`. Name and keywords must be literals, because listings read them without importing.

    Args:
        name: what the command line calls it.
        **manifest: ``task``, ``paper``, ``year``, ``family``, ``needs`` (``"pixels"``: not frozen features;
            ``"noise_rate"``), ``cost`` (epochs of forward and backward passes, relative to ``ce``), ``floor`` (True: its judgements
            say nothing, so it has no vote on which labels are wrong).
    """
    return _register("method", name, manifest)


def dataset(name: str, **manifest: Any) -> Callable[[type[P]], type[P]]:
    """Register a :class:`Dataset`.

    Args:
        name: what the command line calls it.
        **manifest: ``task``, ``version`` (raise it when the same parameters give other data), ``modality``, ``classes`` (how many),
            ``size`` (images and pixels, in words), ``access`` (``"embedded"``, ``"download"`` with its size, or
            ``"folder"``: the user obtains it), ``licence``, ``citation``, ``homepage``.
    """
    return _register("dataset", name, manifest)


def noise(name: str, **manifest: Any) -> Callable[[type[P]], type[P]]:
    """Register a :class:`Noise` model.

    Args:
        name: what the command line calls it.
        **manifest: ``task``, ``version`` (raise it when the same parameters give other labels), ``source``, and ``made_for``: the names of
            the classes that it fits, where it does not fit all.
    """
    return _register("noise", name, manifest)


# --------------------------------------------------------------------------------------------------------------- data


@dataclass(frozen=True)
class Arrays:
    """A data set as plain arrays, before splits and noise.

    Attributes:
        images: (n, H, W, C) uint8, C = 1 or 3; may be memory-mapped and larger than memory.
        labels: (n,) int64 in [0, K): the labels as given, which may be wrong.
        classes: K class names.
        clean_labels: (n,) int64, the reference, where it differs from ``labels``; None when ``labels`` are the truth.
        split: (n,) int8 codes of :data:`SPLITS`; None leaves the split to the harness. Without a validation part the
            harness takes one from the training part.
        groups: (n,) int64 ids of patients or slides; no group is ever in two parts.
        hardness: (n,) float32, a known difficulty of each image (higher is harder); only generators have it.
        paths: n file names, where images come from files.
    """

    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    clean_labels: np.ndarray | None = None
    split: np.ndarray | None = None
    groups: np.ndarray | None = None
    hardness: np.ndarray | None = None
    paths: Sequence[str] | None = None


class Dataset(Plugin):
    """A source of labelled images.

    Attributes:
        augmentation: what the ``auto`` augmentation of a protocol means for these images, of ``"crop"``, ``"flip"``
            (horizontal), ``"rot90"`` (by 0, 90, 180 or 270 degrees) and ``"color"``.
        labels_are_truth: False where labels are as people gave them (a user's own folder) and only a reference would be the truth.
        options: what every data set takes beside its own parameters. The harness carries them out; a data set that can
            make images of ``options.image_size`` by itself (from files, from a larger original) does so in :meth:`load`.
    """

    kind = "dataset"
    augmentation: ClassVar[tuple[str, ...]] = ()
    labels_are_truth: ClassVar[bool] = True

    def __init__(self, params: Any = None, options: DataOptions | None = None) -> None:
        super().__init__(params)
        self.options = options or DataOptions()

    def prepare(self, root: Path, report: Report) -> None:
        """Do what is slow and is done once for all runs: download, decode into a cache. The default does nothing.

        A command calls this before its runs and shows the progress; :meth:`load` must not depend on that.

        Args:
            root: the folder for downloads and caches; may not exist yet.
            report: tell it how far the work is.

        Raises:
            BenchmarkError: as :meth:`load`.
        """

    def load(self, root: Path) -> Arrays:
        """Read or generate the data.

        Args:
            root: the folder for downloads and caches; may not exist yet.

        Raises:
            BenchmarkError: the source is missing or unusable; one line that names the file.
        """
        raise NotImplementedError

    def fingerprint(self, root: Path) -> str:
        """A short text that changes whenever the data change; part of every run's identity, so it must be cheap.

        The default suits a generated, bundled or hash-checked set, which its version and parameters determine.
        """
        return f"v{self.manifest.get('version', 1)}"


@dataclass(frozen=True)
class Samples:
    """What a noise model is given: one part of a data set with its true labels.

    Attributes:
        labels: (n,) int64 true labels in [0, num_classes); of masks (n, T, H, W) uint8, 255 void.
        num_classes: K.
        class_names: K names, or none.
        tasks: of masks, the names of the T tasks.
        images: n images, (n, H, W, C) uint8; an array, or something like one that gives rows by slice or by index array
            (ask for chunks: the set may be larger than memory). None where a method imitates noise on labels alone.
        given: (n,) int64, the data set's own labels where it has a reference beside them, else None.
        positions: (n,) int64, where the samples stand in the data set; None for labels alone.
        content: digest of the data set's labels, splits and groups; empty for labels alone.
        names: what a draw depends on beside the part: data, noise and seed.
        posterior: gives (n, K) float64 class probabilities of a classifier that was trained on the true labels of other
            samples (out of fold); slow the first time. None for labels alone.
        dataset: gives the arrays of another data set by its setting, as on the command line; None for labels alone.
    """

    labels: np.ndarray
    num_classes: int
    class_names: tuple[str, ...] = ()
    images: np.ndarray | ImageRows | None = None
    given: np.ndarray | None = None
    positions: np.ndarray | None = None
    content: str = ""
    names: tuple[Any, ...] = ()
    posterior: Callable[[], np.ndarray] | None = None
    dataset: Callable[[str], Arrays] | None = None
    tasks: tuple[str, ...] = ()

    def shared_rng(self, *names: Any) -> np.random.Generator:
        """A fresh generator that is the same for the training and the validation part: for what belongs to the annotators
        (which classes they confuse, what they see in an image) and not to a sample."""
        from benchmark.seeds import numpy_generator

        return numpy_generator("noise", "shared", *self.names, *names)


class Noise(Plugin):
    """A model of wrong labels: a pure function of the samples and a random generator.

    Attributes:
        injected: False where the wrong labels are not this program's doing (people's errors): their rate is then nothing
            that a method could have been told, and is estimated.
        absolute: True where the labels come from elsewhere (people, a file) and do not depend on the labels that the model is
            given: joined with others by ``+``, its errors are laid over theirs.
    """

    kind = "noise"
    injected: ClassVar[bool] = True
    absolute: ClassVar[bool] = False

    @property
    def rate(self) -> float | None:
        """The nominal share of wrong labels, None where the model does not take one (the injected rate is recorded)."""
        return getattr(self.params, "rate", None)

    @property
    def is_particular(self) -> bool:
        """True where these parameters suit some data sets only (one radius an organ): a command then draws it once before its first run."""
        return False

    def with_rate(self, rate: float) -> Noise:
        """The same kind of noise at another rate (a method that imitates the noise on data of its own needs it)."""
        return type(self)(dataclasses.replace(self.params, rate=rate))

    def fingerprint(self, root: Path, dataset: Callable[[str], Dataset]) -> str | None:
        """A short text that changes whenever a file or data set that the noise depends on changes; part of a run's identity.

        Args:
            root: the folder for downloads and caches.
            dataset: gives another data set by its setting, not loaded.

        Raises:
            BenchmarkError: what the noise depends on is missing or unusable.
        """
        return None

    def apply(self, samples: Samples, rng: np.random.Generator) -> np.ndarray:
        """Return noisy labels; the input is left as it is.

        Args:
            samples: the true labels, and what else the noise may depend on.
            rng: the only source of randomness, beside ``samples.shared_rng``; another one for each part.

        Returns:
            (n,) int64 in [0, num_classes); of masks, what ``samples.labels`` is.

        Raises:
            BenchmarkError: the samples cannot bear this noise (a rate above 0 with a single class, say).
            LookupError: the noise needs more than labels (images, a posterior), and ``samples`` are labels alone.
        """
        raise NotImplementedError

    def replace_images(self, samples: Samples, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray] | None:
        """Open-set noise: which images are replaced by foreign ones that show none of the classes.

        Returns:
            positions (m,) int64 in ``samples`` and images (m, H, W, C) uint8, or None: no image is replaced (the default).
        """
        return None


# ------------------------------------------------------------------------------------------------------------ methods


@dataclass(frozen=True)
class TrainingData:
    """All that a method may know of the training set.

    Attributes:
        images: (n, C, H, W) uint8, or (n, D) float32 frozen features; on ``run.device`` where they fit. Get batches from
            ``run.loader`` and predictions from ``run.predict``, which know where the images are.
        labels: (n,) int64 on ``run.device``: the given labels, some of them wrong; of masks (n, T, H, W) uint8, 255 void.
        num_classes: K.
        class_names: K names.
        tasks: of masks, the names of the T tasks.
        groups: (n,) int64 on the CPU: ids of patients or slides, for folds that tear none apart; None where each sample stands alone.
    """

    images: Tensor | MappedImages
    labels: Tensor
    num_classes: int
    class_names: tuple[str, ...]
    tasks: tuple[str, ...] = ()
    groups: Tensor | None = None

    @property
    def n(self) -> int:
        """Number of training samples."""
        return int(self.labels.shape[0])

    @property
    def has_pixels(self) -> bool:
        """False where the samples are frozen features, which cannot be flipped, cropped or coloured."""
        return len(self.images.shape) == 4


@dataclass(frozen=True)
class Batch:
    """One mini-batch, on ``run.device``.

    Attributes:
        images: (B, C, H, W) float32, augmented and normalised; (B, D) normalised features where the run has those.
        labels: (B,) int64, as given to the loader; of masks (B, …, H, W) uint8, moved as the first view of the images.
        indices: (B,) int64, positions in the training set.
        views: the same samples under each of the views that ``run.loader(views=…)`` was asked for; ``images`` is the first.
    """

    images: Tensor
    labels: Tensor
    indices: Tensor
    views: tuple[Tensor, ...] = ()

    def __len__(self) -> int:
        return int(self.labels.shape[0])


class Method(Plugin):
    """A way to train on labels of which some are wrong.

    Most methods define :meth:`training_step` and no more. A method of several stages overrides :meth:`fit`.
    Per-sample state belongs in tensors of length ``data.n`` on ``run.device`` that are attributes of the method:
    they are saved with every checkpoint and restored on resume, as are numbers, strings and anything with
    ``state_dict`` and ``load_state_dict``.

    Attributes:
        networks: how many copies of the backbone the trainer builds.
        records_history: False where what the network sees in :meth:`training_step` says nothing of the given label (mixed
            images): the history is then recorded from one pass without augmentation after each epoch.
        run, data: set before :meth:`setup` is called.
        used: the instances of what :meth:`uses` names; set before :meth:`setup` is called.
    """

    kind = "method"
    networks: ClassVar[int] = 1
    records_history: ClassVar[bool] = True
    run: RunContext
    data: TrainingData
    used: Mapping[str, Any] = {}

    def uses(self) -> dict[str, tuple[str, str]]:
        """Other plugins that this method runs: its name for each (the parameter's, best) → kind and setting as on the command
        line, e.g. ``{"lnl": ("method", "coteaching_vog:mix_ratio=0.5")}``. They are part of the run's identity, code included."""
        return {}

    def fingerprint(self) -> str | None:
        """A short text that changes whenever a file that the method reads changes; part of a run's identity. The default is none.

        Raises:
            BenchmarkError: the file is missing or unusable.
        """
        return None

    def supports(self, data: TrainingData) -> str | None:
        """None, or the reason why this method cannot run on these data; the cell is then skipped with that reason."""
        return None

    def setup(self, data: TrainingData, run: RunContext) -> None:
        """Prepare per-sample state. Called once, before training and before a resume restores the state."""

    def training_step(self, batch: Batch, networks: Networks, epoch: int) -> Tensor | Sequence[Tensor]:
        """The loss of one batch: a scalar, or one scalar a network. The trainer does the backward pass and the step.

        Args:
            batch: images, given labels and indices.
            networks: call ``networks[0](batch.images)`` for (B, K) logits.
            epoch: 0-based.
        """
        raise NotImplementedError

    def after_backward(self, networks: Networks, epoch: int) -> None:
        """Called in every step between the backward pass and the optimisers' step: mask or clip gradients, or step parameters
        of the method's own, which the loss depends on too."""

    def end_epoch(self, networks: Networks, epoch: int, run: RunContext) -> None:
        """Called after the last step of each epoch, before its evaluation: refit a mixture, relabel, drop."""

    def fit(self, data: TrainingData, run: RunContext) -> Networks:
        """Train and return the networks that :meth:`predict` uses. The default is one stage of :meth:`training_step`."""
        from benchmark.training.loop import fit_single_stage

        return fit_single_stage(self, data, run)

    def predict(self, networks: Networks, images: Tensor) -> Tensor:
        """(B, K) class probabilities of normalised (B, C, H, W) images; the mean softmax over the networks."""
        import torch

        return torch.stack([network(images).float().softmax(dim=1) for network in networks]).mean(dim=0)

    def auxiliary_predictions(self, networks: Networks, images: Tensor) -> dict[str, Tensor]:
        """Other predictors worth reporting beside :meth:`predict`, by name; each (B, K) probabilities."""
        return {}

    def label_quality(self) -> Tensor:
        """(n,) scores, higher = the given label is more likely right.

        The default is the given label's probability in the training forward passes, averaged over the epochs after the
        first eighth (the mean of the training history).
        """
        return self.run.history.mean(skip=self.run.history.epochs // 8)

    def suspects(self) -> Tensor | None:
        """(n,) bool, True = the method holds the given label for wrong; None leaves the decision to the harness, which
        splits :meth:`label_quality` with a two-component Gaussian mixture."""
        return None

    def corrected_labels(self) -> Tensor | None:
        """(n,) int64 labels after correction, -1 where the sample was dropped; None if the method corrects nothing."""
        return None

    def sample_columns(self) -> dict[str, Tensor]:
        """More columns for samples.parquet, each a tensor of length n."""
        return {}

    def diagnostics(self) -> dict[str, float]:
        """Numbers about the method's own parts (a detector's held-out recall, …), saved with the result."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps of the attributes: plain values (tensors, numbers, strings, lists and dictionaries of
        them) under ``values``, the states of what has a ``state_dict`` under ``objects``. Other attributes are not kept.

        Raises:
            BenchmarkError: an attribute is a numpy array; a checkpoint is read without pickles, so use a tensor.
        """
        values: dict[str, Any] = {}
        objects: dict[str, Any] = {}
        for name, value in vars(self).items():
            if name in ("params", "run", "data", "used"):
                continue
            if type(value).__module__ == "numpy":
                if getattr(value, "shape", None) != ():
                    raise BenchmarkError(f"{self.name}.{name} is a numpy array; keep state in tensors, so that checkpoints can hold it")
                values[name] = value.item()
            elif hasattr(value, "state_dict"):
                objects[name] = value.state_dict()
            elif _is_plain(value):
                values[name] = value
        return {"values": values, "objects": objects}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned; tensors move to ``run.device``.

        Raises:
            BenchmarkError: the checkpoint has the state of an object that does not exist yet.
        """
        for name, value in state["values"].items():
            setattr(self, name, value.to(self.run.device) if _is_tensor(value) else value)
        for name, value in state["objects"].items():
            current = getattr(self, name, None)
            if current is None or not hasattr(current, "load_state_dict"):
                raise BenchmarkError(f"{self.name}.{name} cannot be resumed: create it in setup(), or in fit() before run.epochs()")
            current.load_state_dict(value)


def _is_plain(value: Any) -> bool:
    """Whether a checkpoint can hold a value as it is."""
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(item) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return all(_is_plain(item) for item in value)
    return value is None or isinstance(value, (bool, int, float, str)) or _is_tensor(value)


def _is_tensor(value: Any) -> bool:
    import torch

    return isinstance(value, torch.Tensor)
