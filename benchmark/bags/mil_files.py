"""Features of slides in the layouts that DSMIL and CLAM write: which files belong together, and all of them as bags.

DSMIL (Li et al., 2021), ``compute_feats.py``::

    NAME/<class>/<slide>.csv            one row a tile below the header 0,1,2,…
    NAME/NAME.csv                       0,label: path of each bag and its label; without it, labels are the class folders

CLAM (Lu et al., 2021), ``extract_features_fp.py``::

    h5_files/<slide>.h5                 features and coords
    pt_files/<slide>.pt                 the features alone; read where there is no h5_files
    <any>.csv                           case_id,slide_id,label
    splits_0.csv                        train,val,test: slide ids; optional

npz: ``<slide>.npz`` with ``features``, and ``coords`` and ``tile_labels`` where known, beside such a csv of labels.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmark.api import SPLITS
from benchmark.bags.arrays import BagArrays
from benchmark.bags.checks import check_bags, check_finite, check_names, check_paired, check_widths, listed
from benchmark.bags.label_table import SlideLabels, find_labels, plainly_negative, read_labels, read_slide_labels, read_splits
from benchmark.bags.slide_files import READERS, read_slide
from benchmark.data.layouts import wrong_layout
from benchmark.data.listing import Listing, subfolders
from benchmark.data.tables import read_table
from benchmark.errors import BenchmarkError, unknown_name

DSMIL = "NAME.csv and <class>/<slide>.csv"
CLAM = "h5_files/<slide>.h5 or pt_files/<slide>.pt"
NPZ = "<slide>.npz"
LAYOUTS = ("auto", "dsmil", "clam", "npz")
CLAM_FOLDERS = {"h5_files": ".h5", "pt_files": ".pt"}
"""Where CLAM keeps features, the first preferred: it knows positions."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MilListing:
    """n slides with a file of features each.

    Attributes:
        base: the folder that all files lie in.
        names: n slide ids, in order.
        files: n paths relative to ``base``.
        labels: n of 0 and 1.
        classes: the names of the two.
        splits: n of :data:`~benchmark.api.SPLITS`, or None.
        groups: n names of patients, or None.
    """

    base: Path
    names: tuple[str, ...]
    files: tuple[str, ...]
    labels: tuple[int, ...]
    classes: tuple[str, str] = ("negative", "positive")
    splits: tuple[str, ...] | None = None
    groups: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.names)

    def fingerprint(self) -> str:
        """Changes with any file's name, size or time, and with labels, parts and patients; opens no file."""
        words = [f"{name} {label}" for name, label in zip(self.names, self.labels, strict=True)]
        listing = Listing(self.base, self.base, self.files, words, self.splits, self.groups, order=self.classes)
        return f"{listing.fingerprint()}-{listing.annotation_fingerprint()}"


def list_bags(path: Path, layout: str = "auto", *, labels: str = "", splits: str = "", positive: str = "") -> MilListing:
    """List a folder of features.

    Args:
        path: the folder; of DSMIL also its index.
        layout: one of :data:`LAYOUTS`; ``auto`` goes by what the folder holds.
        labels: the csv of labels, absolute or relative to the folder; by default the one that is there. Not for DSMIL.
        splits: likewise the csv of parts, for CLAM.
        positive: which of two words means positive, where that is not plain.

    Raises:
        BenchmarkError: an unknown layout, or as :func:`dsmil_layout`, :func:`clam_layout` and :func:`npz_layout`.
    """
    if layout not in LAYOUTS:
        raise unknown_name("layout", layout, LAYOUTS)
    if layout == "auto":
        if not path.exists():
            raise BenchmarkError(f"{path} does not exist; give a folder with {CLAM}, with {DSMIL}, or with {NPZ}")
        if any((path / folder).is_dir() for folder in CLAM_FOLDERS):
            layout = "clam"
        elif path.is_dir() and any(path.glob("*.npz")):
            layout = "npz"
        elif path.is_file() or any(_files(path, folder) for folder in subfolders(path)):
            layout = "dsmil"
        else:
            raise wrong_layout(path, f"{CLAM}; {DSMIL}; or {NPZ}")
    if layout == "clam":
        return clam_layout(path, labels, splits, positive)
    if layout == "npz":
        return npz_layout(path, labels, positive)
    return dsmil_layout(path, positive)


def dsmil_layout(path: Path, positive: str = "") -> MilListing:
    """What DSMIL writes: a folder a class, a csv a slide, and an index of paths and labels.

    The index names files relative to where DSMIL ran, so they are found by their class and slide. It may have the columns ``split`` and
    ``group`` (or ``case_id``) besides. Bags may also be npy, npz, pt or h5.

    Args:
        path: the folder, or the index in it.
        positive: which of two class folders is positive, where there is no index, neither says normal, negative, benign … and they are not
            numbered (``0-…``, ``1-…``).

    Raises:
        BenchmarkError: another layout, two slides of one name, or an index that does not fit the files.
    """
    base = path.parent if path.is_file() else path
    files: dict[str, str] = {}
    for folder in subfolders(base):
        for slide, file in _files(base, folder).items():
            if slide in files:
                raise BenchmarkError(f"{base}: slide '{slide}' occurs twice, as {files[slide]} and {file}; slide ids must be unique")
            files[slide] = file
    if not files:
        raise wrong_layout(base, DSMIL)
    index = path if path.is_file() else base / f"{base.resolve().name}.csv"
    if index.is_file():
        return _listing(base, files, _read_index(index, files, positive))
    words = [Path(file).parts[0] for file in files.values()]
    labels, classes = read_labels(words, str(base), positive or _numbered(words))
    return _listing(base, files, SlideLabels(base, tuple(files), labels, classes))


def clam_layout(path: Path, labels: str = "", splits: str = "", positive: str = "") -> MilListing:
    """What CLAM writes: features in h5 or pt files, a csv of labels, and perhaps one of parts.

    Slides that the csv of parts leaves out are left out, with a warning. Cases are patients: no part shares one with another.

    Args:
        path: holds ``h5_files`` or ``pt_files``.
        labels: the csv of labels; by default the one in ``path``.
        splits: the csv of parts; by default ``splits_0.csv`` in ``path`` if there is one.
        positive: which of two words means positive.

    Raises:
        BenchmarkError: another layout, a slide without a label or the other way round, or one that is in two parts.
    """
    folder = next((name for name in CLAM_FOLDERS if (path / name).is_dir()), None)
    files = _files(path, path / folder, (CLAM_FOLDERS[folder],)) if folder else {}
    if not files:
        raise wrong_layout(path, CLAM)
    table = read_slide_labels(find_labels(path, labels), positive).of(tuple(files), str(path))
    parts = path / Path(splits).expanduser() if splits else path / "splits_0.csv"
    if splits and not parts.is_file():
        raise BenchmarkError(f"there is no table of parts {parts}")
    return _listing(path, files, _read_parts(parts, table) if parts.is_file() else table)


def npz_layout(path: Path, labels: str = "", positive: str = "") -> MilListing:
    """One npz a slide, and a csv of labels.

    Args:
        path: holds ``<slide>.npz``.
        labels: the csv of labels; by default the one in ``path``. Its column ``split`` may give parts.
        positive: which of two words means positive.

    Raises:
        BenchmarkError: another layout, or a slide without a label or the other way round.
    """
    files = _files(path, path, (".npz",)) if path.is_dir() else {}
    if not files:
        raise wrong_layout(path, f"{NPZ} and a csv of labels")
    return _listing(path, files, read_slide_labels(find_labels(path, labels), positive).of(tuple(files), str(path)))


def load_bags(listing: MilListing) -> BagArrays:
    """Read all slides, one after another.

    Returns:
        Positions are kept if all slides have them; tile labels are -1 where a slide has none.

    Raises:
        BenchmarkError: a file that cannot be read, features of another width or not finite, or what
            :func:`~benchmark.bags.checks.check_bags` refuses.
    """
    where = str(listing.base)
    features: list[np.ndarray] = []
    positions: list[np.ndarray | None] = []
    labels: list[np.ndarray | None] = []
    for name, file in zip(listing.names, listing.files, strict=True):
        slide = read_slide(listing.base / file)
        check_finite(slide.features, name, where)
        features.append(slide.features)
        positions.append(slide.positions)
        labels.append(slide.tile_labels)
    if not features:
        raise BenchmarkError(f"{where} holds no slides")
    check_widths({name: found.shape[1] for name, found in zip(listing.names, features, strict=True)}, where)
    counts = [len(found) for found in features]
    placed = [found for found in positions if found is not None]
    if placed and len(placed) < len(positions):
        _log.warning(
            "%s: positions are left out, because slide '%s' has none", where, listing.names[[p is None for p in positions].index(True)]
        )
    known = [np.full(count, -1, dtype=np.int8) if found is None else found for count, found in zip(counts, labels, strict=True)]
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    tiles = np.empty((sum(counts), features[0].shape[1]), dtype=np.float32)
    for row in range(len(features)):
        tiles[offsets[row] : offsets[row + 1]] = features[row]
        features[row] = np.empty((0, 0))  # let go of, so that memory holds all features once, not twice
    arrays = BagArrays(
        tiles,
        offsets,
        np.array(listing.labels, dtype=np.int64),
        listing.names,
        listing.classes,
        split=None if listing.splits is None else np.array([SPLITS.index(part) for part in listing.splits], dtype=np.int8),
        groups=None if listing.groups is None else np.unique(listing.groups, return_inverse=True)[1].astype(np.int64),
        tile_labels=None if all(found is None for found in labels) else np.concatenate(known),
        positions=np.concatenate(placed) if len(placed) == len(positions) else None,
    )
    check_bags(arrays, where)
    return arrays


def _listing(base: Path, files: dict[str, str], labels: SlideLabels) -> MilListing:
    """Labels of some or all slides, in their order, and where their features are."""
    return MilListing(
        base, labels.slides, tuple(files[slide] for slide in labels.slides), labels.labels, labels.classes, labels.splits, labels.groups
    )


def _files(base: Path, folder: Path, suffixes: Sequence[str] = tuple(READERS)) -> dict[str, str]:
    """Slide id → path relative to ``base``, sorted; refuses what leads out of ``base``."""
    root = base.resolve()
    if not folder.resolve().is_relative_to(root):
        raise BenchmarkError(f"{folder} leads out of {root}; copy the files into it")
    found: dict[str, str] = {}
    for file in sorted(folder.iterdir()):
        if file.suffix.lower() not in suffixes or file.name.startswith(".") or file.is_dir():
            continue
        if file.is_symlink() and not file.resolve().is_relative_to(root):
            raise BenchmarkError(f"{file} leads out of {root}; copy the file into it")
        slide = file.name.removesuffix(file.suffix)
        if slide in found:
            raise BenchmarkError(f"{folder}: slide '{slide}' occurs twice, as {Path(found[slide]).name} and {file.name}; keep one")
        found[slide] = file.relative_to(base).as_posix()
    return found


def _numbered(words: Sequence[str]) -> str:
    """The class folder 1-… beside 0-…, as the positive one; empty where their words say which it is, or nothing does."""
    found = sorted(set(words))
    numbers = [re.split(r"\D", word, maxsplit=1)[0] for word in found]
    return found[1] if numbers == ["0", "1"] != found and plainly_negative(found) is None else ""


def _read_index(index: Path, files: dict[str, str], positive: str) -> SlideLabels:
    """DSMIL's table of bags, joined to the files by class and slide."""
    table = read_table(index)
    if len(table.header) < 2 or table.header[1] != "label":
        raise BenchmarkError(f"{index} is no index of bags: its first line is {','.join(table.header) or 'empty'}; expected 0,label")
    slides, words = [], []
    for (line, row), word in zip(table.rows, table.column("label"), strict=True):
        written = Path(row[0].replace("\\", "/"))
        slide = written.name.removesuffix(written.suffix) if written.suffix.lower() in READERS else written.name
        if slide not in files or (len(written.parts) > 1 and written.parts[-2] != Path(files[slide]).parts[0]):
            raise BenchmarkError(
                f"{index}, line {line}: there are no features of '{row[0]}'; expected <class>/<slide>.csv beside the index"
            )
        slides.append(slide)
        words.append(word)
    group = next((name for name in ("group", "case_id") if name in table.header), None)
    splits = read_splits(table.column("split"), index) if "split" in table.header else None
    check_names(slides, str(index), splits)
    check_paired(files, slides, str(index.parent), str(index))
    labels, classes = read_labels(words, str(index), positive)
    return SlideLabels(index, tuple(slides), labels, classes, splits, tuple(table.column(group)) if group else None).of(
        tuple(files), str(index.parent)
    )


def _read_parts(file: Path, table: SlideLabels) -> SlideLabels:
    """The slides that CLAM's table of parts names, with their parts."""
    parts = read_table(file)
    parts.require(SPLITS)
    slides, named = [], []
    known = set(table.slides)
    for part in SPLITS:
        for (line, _), slide in zip(parts.rows, parts.column(part, filled=False), strict=True):
            if slide and slide not in known:  # empty: parts are of different lengths
                raise BenchmarkError(f"{file}, line {line}: there is no slide '{slide}' with a label; expected one slide id a cell")
            if slide:
                slides.append(slide)
                named.append(part)
    check_names(slides, str(file), named)
    where = dict(zip(slides, named, strict=True))
    rows = [row for row, slide in enumerate(table.slides) if slide in where]
    if not rows:
        raise BenchmarkError(f"{file} names no slide")
    left_out = [slide for slide in table.slides if slide not in where]
    if left_out:
        _log.warning("%s: in no part and left out: slide %s", file, listed(left_out))
    kept = table.rows(rows)
    return SlideLabels(kept.file, kept.slides, kept.labels, kept.classes, tuple(where[slide] for slide in kept.slides), kept.groups)
