"""``new``: a plugin file to start from. It runs as it is, so that the first edit is the author's own idea."""

from __future__ import annotations

import keyword
from pathlib import Path
from string import Template

from benchmark.errors import BenchmarkError, unknown_name
from benchmark.registry import KINDS, Registry, builtin_root, scan_file
from benchmark.tasks import defaults_of

_METHOD = '''\
"""$name: what it does about wrong labels, in one line."""

from dataclasses import dataclass

from benchmark.api import Method, hp, method


@method("$name", paper="Authors, Title, Venue Year", year=2018, family="robust loss", cost=1.0)
class $cls(Method):
    """Generalised cross-entropy, (1 - p ** q) / q: between cross-entropy (q near 0) and absolute error (q = 1).

    An example to replace (Zhang and Sabuncu, NeurIPS 2018). A method sees images, given labels and indices, never the truth.
    """

    @dataclass(frozen=True)
    class Params:
        """Default, range and help of each hyperparameter; sweeps read them from here."""

        q: float = hp(0.7, 0.01, 1.0, search=(0.3, 1.0), help="the larger, the less a wrong label pulls")

    def training_step(self, batch, networks, epoch):
        """The loss of one batch, a scalar."""
        probabilities = networks[0](batch.images).float().softmax(dim=1)
        given = probabilities.gather(1, batch.labels[:, None]).squeeze(1).clamp_min(1e-6)
        return ((1 - given**self.params.q) / self.params.q).mean()
'''

_MASK_METHOD = '''\
"""$name: what it does about wrong pixels of masks, in one line."""

from dataclasses import dataclass

from benchmark.api import hp, method
from benchmark.segmentation.losses import pixel_cross_entropy, pixel_mean
from benchmark.segmentation.method import MaskMethod


@method("$name", task="segmentation", paper="Authors, Title, Venue Year", year=2018, family="robust loss", needs=[], cost=1.0)
class $cls(MaskMethod):
    """Generalised cross-entropy of the pixels, (1 - p ** q) / q: an example to replace (Zhang and Sabuncu, NeurIPS 2018).

    A method sees images, given masks and indices, never the truth. Labels are (B, T, H, W) class ids, 255 = void; networks give
    (B, T, J, H, W) logits.
    """

    @dataclass(frozen=True)
    class Params:
        """Default, range and help of each hyperparameter; sweeps read them from here."""

        q: float = hp(0.7, 0.01, 1.0, search=(0.3, 1.0), help="the larger, the less a wrong pixel pulls")

    def training_step(self, batch, networks, epoch):
        """The loss of one batch, a scalar: the mean over the pixels that are not void."""
        negative_log = pixel_cross_entropy(networks[0](batch.images), batch.labels)
        return pixel_mean((1 - (-self.params.q * negative_log).exp()) / self.params.q, batch.labels)
'''

_BAG_METHOD = '''\
"""$name: how it calls slides, and finds the tiles that decide it, in one line."""

from dataclasses import dataclass

import torch.nn.functional as F

from benchmark.api import hp, method
from benchmark.bags.method import BagMethod


@method("$name", task="bags", paper="Authors, Title, Venue Year", year=2018, family="attention", needs=[], cost=1.0)
class $cls(BagMethod):
    """Cross-entropy of bags with smoothed labels on gated attention: an example to replace (Ilse et al., ICML 2018).

    A method sees the tiles of all bags in one table with offsets, and given labels of bags, 0 or 1; never the truth, nor labels of tiles.
    """

    @dataclass(frozen=True)
    class Params:
        """Default, range and help of each hyperparameter; sweeps read them from here."""

        smoothing: float = hp(0.1, 0.0, 0.4, help="share of wrong labels that is taken for granted")

    pooling = "abmil"  # or max_pool, mean_pool, dsmil, dsmil_light

    def bag_loss(self, output, batch):
        """The loss of one batch of bags, a scalar; output has bag_logits (b,), instance_logits (M,) and attention (M,)."""
        target = batch.labels * (1 - 2 * self.params.smoothing) + self.params.smoothing
        return F.binary_cross_entropy_with_logits(output.bag_logits, target)
'''

_DATASET = '''\
"""$name: what the images show and where they come from, in one line."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmark.api import Arrays, Dataset, dataset, hp
from benchmark.seeds import numpy_generator


@dataset("$name", version=1, modality="synthetic", licence="", citation="", homepage="")
class $cls(Dataset):
    """Grey blobs, small or large, on a noisy background: an example to replace.

    Raise ``version`` whenever the images or labels change. For files on disk override ``fingerprint`` too.
    """

    @dataclass(frozen=True)
    class Params:
        """What can be chosen about the data; part of every run's identity."""

        n: int = hp(200, 8, 100_000, tune=False, help="images")
        size: int = hp(16, 8, 256, tune=False, help="height and width in pixels")

    augmentation = ("flip",)

    def load(self, root: Path) -> Arrays:
        """Generate the images; nothing is read or written below ``root``."""
        n, size = self.params.n, self.params.size
        rng = numpy_generator("$name", n, size)
        labels = np.arange(n, dtype=np.int64) % 2
        centre = rng.uniform(0.35, 0.65, (n, 2)) * size
        radius = np.where(labels == 0, 0.12, 0.25) * size
        rows, columns = np.mgrid[:size, :size]
        distance = np.hypot(rows - centre[:, 0, None, None], columns - centre[:, 1, None, None])
        grey = 60 + 120 * (distance < radius[:, None, None]) + rng.normal(0, 15, (n, size, size))
        images = grey.clip(0, 255).astype(np.uint8)[..., None]
        return Arrays(images, labels, ("small", "large"))
'''

_NOISE = '''\
"""$name: which labels are wrong and how, in one line."""

from dataclasses import dataclass

import numpy as np

from benchmark.api import Noise, Samples, hp, noise


@noise("$name", version=1, source="")
class $cls(Noise):
    """A wrong label is any other class, all alike: an example to replace. Raise ``version`` when the draw changes."""

    @dataclass(frozen=True)
    class Params:
        """What the command line can set; part of every run's identity."""

        rate: float = hp(0.2, 0.0, 0.9, tune=False, help="share of the labels that are wrong")

    argument = "rate"  # $name:0.3 sets it

    def apply(self, samples: Samples, rng: np.random.Generator) -> np.ndarray:
        """Move ``round(rate * n)`` labels to another class, drawn from ``rng`` alone; (n,) int64."""
        noisy, k = np.array(samples.labels, dtype=np.int64), samples.num_classes
        if k > 1:
            wrong = rng.permutation(len(noisy))[: round(self.params.rate * len(noisy))]
            noisy[wrong] = (noisy[wrong] + rng.integers(1, k, len(wrong))) % k
        return noisy
'''

_TEMPLATES = {
    "classification": {"method": _METHOD, "dataset": _DATASET, "noise": _NOISE},
    "segmentation": {"method": _MASK_METHOD},
    "bags": {"method": _BAG_METHOD},
}
"""Task → kind → a plugin's source."""


def create(kind: str, name: str, folder: Path | None = None, task: str = "classification") -> Path:
    """Write a plugin that runs as it is.

    Args:
        kind: ``"method"``, ``"dataset"`` or ``"noise"``.
        name: what the command line will call it, and the name of the file.
        folder: where to write ``<name>.py``; it is created if need be. None takes the checkout's own folder of this kind
            (``methods/``, …), or the working directory where the benchmark is an installed package.
        task: which kind of labels it is for.

    Returns:
        The file. Outside the project's own folders the registry finds it by ``--plugin`` or ``BENCHMARK_PLUGINS``.

    Raises:
        BenchmarkError: no such kind or task, no template of both, a name that is no identifier or is taken, a file that exists or
            cannot be written.
    """
    defaults_of(task)
    if kind not in KINDS:
        raise unknown_name("kind of plugin", kind, KINDS)
    if kind not in _TEMPLATES[task]:
        known = " and ".join(_TEMPLATES[task])
        raise BenchmarkError(
            f"there is no template of a {kind} for {task}, only of a {known}; start from the nearest file in {KINDS[kind]}/"
        )
    if not (name.isascii() and name.isidentifier()) or keyword.iskeyword(name) or name.startswith("_"):
        raise BenchmarkError(f"'{name}' cannot name a {kind}: use letters, digits and _, beginning with a letter, and no Python keyword")
    folder = _default_folder(kind) if folder is None else folder.expanduser()
    path = folder / f"{name}.py"
    if path.exists():
        raise BenchmarkError(f"{path} exists already; choose another name or edit that file")
    _check_free(kind, name, folder)
    text = Template(_TEMPLATES[task][kind]).substitute(name=name, cls=_class_name(kind, name))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise BenchmarkError(f"cannot write {path}: {error.strerror or error}; choose another place with --folder DIR") from error
    return path


def _default_folder(kind: str) -> Path:
    root = builtin_root()
    return Path.cwd() if root.name == "plugins" else root / KINDS[kind]


def _check_free(kind: str, name: str, folder: Path) -> None:
    """Refuse a name that the registry knows, or that another file of the folder declares."""
    entries = Registry().entries(kind)
    if folder.is_dir():
        entries += [entry for file in sorted(folder.glob("*.py")) for entry in scan_file(file) if entry.kind == kind]
    for entry in entries:
        if entry.name == name:
            raise BenchmarkError(f"there is a {kind} '{name}' already ({entry.where}); choose another name")


def _class_name(kind: str, name: str) -> str:
    """CamelCase with the kind at the end, so that no name hides what the file imports."""
    return "".join(part[:1].upper() + part[1:] for part in name.split("_")) + kind.capitalize()
