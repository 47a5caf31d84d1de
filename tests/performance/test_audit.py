"""What near-duplicate search finds, what it calls the same by mistake, and how long it takes; the tables of docs/clean.md."""

from __future__ import annotations

import io
import os
import resource
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmark.clean import prints as prints_module
from benchmark.clean.audit import audit
from benchmark.clean.prints import Prints, take_prints
from benchmark.registry import Registry

pytestmark = pytest.mark.perf
SETS = ("digits", "tissue", "crc_nuclei27", "pneumoniamnist_full")
TRIED = (2, 4, 6, 8, 10)


def images_of(name: str, cache: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """Images, and the parts where the set has them."""
    if name in SETS[:2]:
        return np.asarray(Registry().load("dataset", name)().load(cache).images), None
    file = Path(os.environ.get("BENCHMARK_DATA", "")) / f"{name}.npz"
    if "BENCHMARK_DATA" not in os.environ or not file.is_file():
        pytest.skip(f"BENCHMARK_DATA names no folder with {name}.npz")
    archive = np.load(file, allow_pickle=False)
    if "images" in archive.files:
        return archive["images"], None
    parts = [archive[f"{part}_images"] for part in ("train", "val", "test")]
    return np.concatenate(parts)[..., None], np.repeat(np.arange(3), [len(part) for part in parts])


def jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image.squeeze())).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream)).reshape(image.shape)


def halved(image: np.ndarray) -> np.ndarray:
    picture = Image.fromarray(image.squeeze())
    small = picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.BICUBIC)
    return np.asarray(small.resize(picture.size, Image.Resampling.BICUBIC)).reshape(image.shape)


def noisy(image: np.ndarray) -> np.ndarray:
    return np.clip(image + np.random.default_rng(int(image.sum())).normal(0, 5, image.shape), 0, 255).astype(np.uint8)


CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "JPEG 75": lambda image: jpeg(image, 75),
    "turned, JPEG 75": lambda image: jpeg(np.rot90(image), 75),
    "JPEG 50": lambda image: jpeg(image, 50),
    "noise, sd 5": noisy,
    "halved and back": halved,
}


def correlated_pairs(prints: Prints) -> tuple[int, int]:
    """Pairs of near prints, and those of them that are correlated as well."""
    by_print = both = 0
    for first, position, second in prints_module._candidates(prints, np.arange(len(prints.flat))):
        by_print += len(first)
        for start in range(0, len(first), 20_000):
            piece = slice(start, start + 20_000)
            both += int((prints_module._correlation(prints, first[piece], second[piece], position[piece]) >= prints.alike).sum())
    return by_print, both


def shares_found(images: np.ndarray, changed: np.ndarray) -> list[float]:
    """Percent of changed pictures that count as copies of their originals, for each of :data:`TRIED`."""
    n = len(images)
    both, rows = take_prints(np.concatenate([images, changed]), np.arange(2 * n)), np.arange(n)
    target = both.bits(rows + n, both.positions[0])
    distance = np.stack([(both.bits(rows, position) != target).sum(axis=1) for position in both.positions])
    alike = np.stack([np.einsum("nij,nij->n", both.laid(rows, position), both.detail[n:]) for position in both.positions])
    return [100 * float(((distance <= near) & (alike >= both.alike)).any(axis=0).mean()) for near in TRIED]


@pytest.mark.parametrize("name", SETS)
def test_false_alarms_and_what_is_found(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    images, split = images_of(name, tmp_path)
    labels = np.zeros(len(images), dtype=np.int64)
    started = time.perf_counter()
    found = audit(images, labels, ("x",), split=split)
    seconds = time.perf_counter() - started
    exact = [twins for twins in found.twins if twins.exact]
    near = len(found.twins) - len(exact)
    originals = np.array(sorted(set(range(len(images))) - {row for twins in exact for row in twins.samples[1:]}))
    prints = take_prints(images, originals)
    lines = [
        f"{name}: {len(images)} images, {seconds:.1f} s, {len(exact)} sets of equal ones, {near} of near ones; pairs by print, and both:"
    ]
    for tried in TRIED:
        monkeypatch.setattr(prints_module, "NEAR", tried)
        lines.append(f"  near {tried}: {' '.join(map(str, correlated_pairs(prints)))}")
    some = images[np.random.default_rng(0).choice(len(images), 1000, replace=False)]
    for words, change in CHANGES.items():
        shares = shares_found(some, np.stack([change(image) for image in some]))
        lines.append(f"  {words}: " + ", ".join(f"{share:.1f} %" for share in shares))
    with capsys.disabled():
        print("\n" + "\n".join(lines))
    assert near == 0
    if split is not None:
        of_train = [sum(split[row] == 0 for row in twins.samples) for twins in exact]
        assert sum(max(count - 1, 0) for count in of_train) == 18  # what is known of this set
        assert sum({0, 1} <= {int(split[row]) for row in twins.samples} for twins in exact) == 8


@pytest.mark.parametrize(("n", "limit"), [(10_000, 5), (100_000, 120)])
def test_speed(n: int, limit: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    images = np.lib.format.open_memmap(tmp_path / "images.npy", "w+", np.uint8, (n, 32, 32, 3))
    for start in range(0, n, 1000):
        images[start : start + 1000] = rng.integers(0, 256, (1000, 8, 8, 3)).repeat(4, 1).repeat(4, 2)
    copies = rng.permutation(n)[:2000].reshape(2, -1)
    images[copies[0]] = np.clip(images[copies[1]].astype(np.int16) + 3, 0, 255)
    images.flush()
    started = time.perf_counter()
    found = audit(np.load(tmp_path / "images.npy", mmap_mode="r"), rng.integers(0, 4, n), tuple("abcd"))
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    with capsys.disabled():
        print(f"\n{n:,} images of 32×32×3: {seconds:.1f} s; process at most {peak:.0f} MB, pages of the mapped file among them")
    assert len(found.twins) == 1000 and seconds < limit
