"""Galleries of the training samples that the methods of a comparison agree to suspect, with pictures from the data on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.data.download import no_downloads
from benchmark.data.downloaded import DownloadedSet
from benchmark.errors import BenchmarkError
from benchmark.prepare import image_identity, load, true_labels
from benchmark.registry import Registry
from benchmark.relabel.images import thumbnail
from benchmark.resolve import instantiate_dataset
from benchmark.spec import PluginSpec
from reports.collect import LONGEST_REASON, FolderOf, Progress
from reports.consensus import Consensus, consensus_of
from reports.escape import one_line
from reports.run_files import class_names, read_columns
from reports.sound import without_secrets
from reports.suspects import Gallery, Suspect
from reports.tables import Comparison, Entry, Group

__all__ = ["galleries"]

ELSEWHERE = {
    "segmentation": "masks worth a look are shown by: python -m benchmark gallery",
    "bags": "slides worth a look are shown by: python -m benchmark heatmaps",
}
"""Task → where its own pictures are."""


def galleries(
    comparison: Comparison,
    folder_of: FolderOf,
    data_root: Path,
    registry: Registry,
    *,
    per_group: int = 12,
    progress: Progress | None = None,
) -> dict[int, Gallery]:
    """Position of the group → its gallery. Each data set is loaded once, and nothing is downloaded.

    Args:
        comparison: its entries' ``run_keys`` are read.
        folder_of: a run's key → its folder; None where only its result is known.
        data_root: the folder for downloads and caches.
        registry: where data sets and methods are. A method whose manifest says ``floor`` does not vote.
        per_group: at most so many samples of a group.
        progress: told after each group.
    """
    specs = {row["run_key"]: row["spec"] for row in comparison.runs}
    plugins = {place: _dataset(group, specs) for place, group in enumerate(comparison.groups)}
    by_data = sorted(plugins, key=lambda place: "" if (plugin := plugins[place]) is None else image_identity(plugin))
    shelf, found = _Shelf(registry, data_root), {}
    for done, place in enumerate(by_data, 1):
        found[place] = _gallery(comparison, comparison.groups[place], folder_of, plugins[place], shelf, per_group)
        if progress is not None:
            progress(done, len(by_data))
    return dict(sorted(found.items()))


class _Shelf:
    """Data sets, and why those that cannot be had are not there; ``floors``: the methods that have no vote."""

    def __init__(self, registry: Registry, data_root: Path) -> None:
        self._registry, self._root = registry, data_root
        self.floors = {method.name for method in registry.entries("method") if method.manifest.get("floor")}
        self._refused: dict[str, str] = {}

    def arrays(self, plugin: PluginSpec) -> Any:
        """The arrays of a data set that is on this machine; BenchmarkError, each time, where it is not or is another by now."""
        identity = f"{image_identity(plugin)} {plugin.fingerprint}"
        if identity not in self._refused:
            try:
                dataset = instantiate_dataset(self._registry, plugin)
                if str(dataset.manifest.get("access", "")).startswith("download") and not isinstance(dataset, DownloadedSet):
                    raise BenchmarkError(f"{plugin.name} fetches its files by itself, and a report downloads nothing")
                with no_downloads():
                    return load(dataset, plugin, self._root)
            except Exception as error:  # a plugin's loader can fail in any way
                self._refused[identity] = _unplaced(str(error) or type(error).__name__, self._root)
        raise BenchmarkError(self._refused[identity])


def _dataset(group: Group, specs: dict[str, Any]) -> PluginSpec | None:
    spec = next((specs[key] for entry in group.entries for key in entry.run_keys if key in specs), None)
    try:
        return None if spec is None else PluginSpec.from_dict(spec["dataset"])
    except (KeyError, TypeError, ValueError):
        return None


def _gallery(
    comparison: Comparison, group: Group, folder_of: FolderOf, plugin: PluginSpec | None, shelf: _Shelf, per_group: int
) -> Gallery:
    voters = [entry for entry in group.entries if entry.run_keys and entry.plugin not in shelf.floors]
    seed = _seed(voters, group)
    if comparison.task in ELSEWHERE:
        return Gallery(seed, (), 0, (), ELSEWHERE[comparison.task])
    keys = {entry.method: dict(zip(entry.seeds, entry.run_keys, strict=False)).get(seed) for entry in voters}
    located = {method: folder_of(key) for method, key in keys.items() if key is not None}
    folders = {method: folder for method, folder in located.items() if folder is not None}
    if located and not folders:
        return Gallery(seed, (), 0, (), "only results are here: what methods say of each sample is in the runs' folders")
    try:
        agreed = consensus_of(folders)
    except BenchmarkError as error:
        return Gallery(seed, (), 0, (), _line(str(error)))
    rows = agreed.most_suspicious(per_group)
    pictures, problem = _pictures(agreed, rows, plugin, shelf)
    foreign = int(agreed.foreign.sum())
    notes = [problem, f"{foreign:,} foreign images that open-set noise has put in are left out" if foreign else ""]
    return Gallery(seed, agreed.methods, len(agreed.index), _suspects(agreed, rows, pictures), "; ".join(filter(None, notes)))


def _seed(voters: Sequence[Entry], group: Group) -> int:
    """The lowest of the seeds that most methods have."""
    seeds = sorted({seed for entry in voters for seed in entry.seeds}) or [*group.seeds, 0]
    return max(seeds, key=lambda seed: sum(seed in entry.seeds for entry in voters))


def _suspects(agreed: Consensus, rows: np.ndarray, pictures: Sequence[tuple[str, bytes] | None]) -> tuple[Suspect, ...]:
    classes, paths = class_names(agreed.folder), _paths(agreed)

    def name(k: int) -> str:
        return classes[k] if 0 <= k < len(classes) else str(k)

    found = []
    for row, picture in zip(rows.tolist(), pictures, strict=True):
        suggestion = agreed.suggestion(row)
        found.append(
            Suspect(
                index=int(agreed.index[row]),
                path=paths[row] if paths else "",
                given=name(int(agreed.given[row])),
                suggested=None if suggestion is None else name(suggestion),
                true=None if agreed.true is None else name(int(agreed.true[row])),
                rank=float(agreed.rank[row]),
                votes=int(agreed.votes[row]),
                voters=len(agreed.methods),
                picture=picture,
            )
        )
    return tuple(found)


def _paths(agreed: Consensus) -> list[str]:
    """File names of the samples as the data set gives them, none where it is arrays; they are shown, and no file is opened by them."""
    try:
        columns = read_columns(agreed.folder / "samples.parquet", (), ("path",))
    except BenchmarkError:
        return []
    return [str(path) for path in columns["path"].tolist()] if len(columns.get("path", ())) == len(agreed.index) else []


def _pictures(agreed: Consensus, rows: np.ndarray, plugin: PluginSpec | None, shelf: _Shelf) -> tuple[list[tuple[str, bytes] | None], str]:
    """A picture of each row, and why there are none; frozen features have the pictures that they were computed from."""
    none: list[tuple[str, bytes] | None] = [None] * len(rows)
    if plugin is None:
        return none, "no pictures: the runs do not say which data they are of"
    try:
        arrays = shelf.arrays(plugin)
    except BenchmarkError as error:
        return none, _line(f"no pictures: {error}")
    index = agreed.index[rows]
    same = len(index) == 0 or int(agreed.index.max()) < len(arrays.images)
    if same and agreed.true is not None and not plugin.params.get("label_file"):  # whose labels may be the truth instead
        same = bool((true_labels(arrays)[agreed.index] == agreed.true).all())
    if not same:
        return none, f"no pictures: {_line(plugin.name)} holds other samples by now"
    return [thumbnail(np.asarray(arrays.images[i])) for i in index.tolist()], ""


def _unplaced(text: str, *folders: Path) -> str:
    """The text without the folders of this machine and without passwords: a page is read elsewhere."""
    for folder in (*folders, Path.home()):
        for written in {str(folder), str(folder.absolute()), str(folder.resolve())} - {"/", "."}:
            text = text.replace(f"{written}/", "")
    return str(without_secrets(text))


def _line(text: str) -> str:
    return one_line(text)[:LONGEST_REASON]
