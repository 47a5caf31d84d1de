"""Labels from a file: a draw of noise that was exported, or anyone's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmark.api import Dataset, Noise, Samples, hp, noise
from benchmark.errors import BenchmarkError
from benchmark.noise_file import read
from benchmark.noise_matrix import digest, resolve_file


@noise("file", version=1, task="classification+bags", source="the file's author")
class FileNoise(Noise):
    """Labels as a file gives them, whatever the seed: the same for everyone who has the file.

    A .npz with ``index`` (positions in the data set) and ``label`` (class ids), or a .csv with these columns, where a label
    may be a class name. Every sample of the training and validation part must be there; others are ignored. A file with
    ``content`` is for one data set only and is refused for others.
    """

    @dataclass(frozen=True)
    class Params:
        """Where the labels are."""

        path: str = hp("", tune=False, help="a .npz or .csv file with index and label")

    argument = "path"
    absolute = True
    """The labels do not depend on those of another model; see :class:`benchmark.noise_combined.Combined`."""

    def with_rate(self, rate: float) -> FileNoise:
        """Refused: the file says which labels are wrong (BenchmarkError)."""
        raise BenchmarkError("labels from a file cannot be drawn at a rate; imitate them with another model, such as symmetric")

    def fingerprint(self, root: Path, dataset: Callable[[str], Dataset]) -> str:
        """Digest of the file's content; BenchmarkError if there is no such file."""
        return digest("file", resolve_file("file", "path", self.params.path))

    def apply(self, samples: Samples, rng: np.random.Generator) -> np.ndarray:
        """The labels of these samples, (n,) int64; nothing is drawn from ``rng``.

        Raises:
            BenchmarkError: no such file, one for other data, or one that lacks a sample or gives it no class of the data.
            LookupError: ``samples`` are labels alone.
        """
        if samples.positions is None:
            raise LookupError("labels from a file need to know which samples these are, and these are labels alone")
        path = resolve_file("file", "path", self.params.path)
        found = read(path)
        if found.content and samples.content and found.content != samples.content:
            raise BenchmarkError(f"{path} is for other data: its content is {found.content}, that of these is {samples.content}")
        ids = found.ids(path, samples.num_classes, samples.class_names)
        order = np.argsort(found.index)
        sorted_index = found.index[order]
        places = np.minimum(np.searchsorted(sorted_index, samples.positions), max(len(order) - 1, 0))
        missing = sorted_index[places] != samples.positions if len(order) else np.ones(len(samples.positions), dtype=bool)
        if missing.any():
            first = int(samples.positions[missing].min())
            raise BenchmarkError(f"{path} lacks {missing.sum()} of {len(missing)} samples, index {first} first; expected a label for each")
        return ids[order[places]]
