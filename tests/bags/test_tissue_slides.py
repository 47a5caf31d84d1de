from importlib import import_module

import numpy as np
import pytest
from scipy import ndimage

from benchmark.bags.checks import check_bags
from benchmark.errors import BenchmarkError
from benchmark.registry import Registry

TISSUE = Registry().load("dataset", "tissue")
bags = import_module(f"{TISSUE.__module__}.bags")
tissue_slides = bags.tissue_slides


def grid(positions: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """The chosen tiles of one slide as a mask (rows, columns)."""
    mask = np.zeros(positions.max(axis=0)[::-1] + 1, dtype=bool)
    mask[positions[chosen, 1], positions[chosen, 0]] = True
    return mask


def test_slides_tiles_and_their_truth() -> None:
    found = tissue_slides(20, 30, 0.1, 16, positive=0.25)
    check_bags(found, "tissue")
    n = int(found.offsets[-1])
    counts = np.diff(found.offsets)
    assert found.tiles.shape == (n, 16, 16, 3) and found.tiles.dtype == np.uint8
    assert found.labels.sum() == 5 and len(set(found.names)) == 20
    assert counts.min() >= 18 and counts.max() <= 42 and len(set(counts.tolist())) > 5
    tumours = np.add.reduceat(found.tile_labels.astype(int), found.offsets[:-1])
    expected = np.where(found.labels == 1, np.maximum(np.rint(0.1 * counts), 1), 0)
    assert tumours.tolist() == expected.tolist()


def test_tiles_lie_side_by_side_and_tumours_in_few_clusters() -> None:
    found = tissue_slides(30, 60, 0.3, 8)
    clusters = []
    for bag, (start, end) in enumerate(zip(found.offsets[:-1], found.offsets[1:], strict=True)):
        positions, tumour = found.positions[start:end], found.tile_labels[start:end] == 1
        assert len(np.unique(positions, axis=0)) == end - start
        assert ndimage.label(grid(positions, np.ones(end - start, dtype=bool)))[1] == 1
        if found.labels[bag]:
            clusters.append(ndimage.label(grid(positions, tumour))[1])
    assert max(clusters) <= bags.MOST_CLUSTERS and min(clusters) == 1


def test_one_tile_is_tumour_however_low_the_rate() -> None:
    found = tissue_slides(10, 5, 1e-6, 8)
    assert np.add.reduceat(found.tile_labels.astype(int), found.offsets[:-1]).tolist() == found.labels.tolist()


def test_the_rate_changes_only_which_tiles_are_tumour() -> None:
    few, many = tissue_slides(8, 40, 0.1, 16), tissue_slides(8, 40, 0.5, 16)
    assert np.array_equal(few.labels, many.labels) and np.array_equal(few.positions, many.positions)
    assert (few.tile_labels <= many.tile_labels).all() and few.tile_labels.sum() < many.tile_labels.sum()
    same = few.tile_labels == many.tile_labels
    assert np.array_equal(few.tiles[same], many.tiles[same])
    assert not np.array_equal(few.tiles[~same], many.tiles[~same])


def test_repeats_and_another_seed_differs() -> None:
    first, again, other = tissue_slides(4, 10, size=8), tissue_slides(4, 10, size=8), tissue_slides(4, 10, size=8, seed=1)
    assert np.array_equal(first.tiles, again.tiles) and np.array_equal(first.positions, again.positions)
    assert first.tiles.shape != other.tiles.shape or not np.array_equal(first.tiles, other.tiles)


def test_slides_look_the_same_at_another_size() -> None:
    small, large = tissue_slides(4, 20, size=16), tissue_slides(4, 20, size=32)
    assert np.array_equal(small.tile_labels, large.tile_labels) and np.array_equal(small.positions, large.positions)
    brightness = [one.tiles.mean(axis=(1, 2, 3)) for one in (small, large)]
    assert np.corrcoef(*brightness)[0, 1] > 0.99


def test_each_slide_has_a_stain_of_its_own() -> None:
    found = tissue_slides(12, 40, size=16)
    colour = found.tiles.mean(axis=(1, 2))
    means = np.add.reduceat(colour, found.offsets[:-1]) / np.diff(found.offsets)[:, None]
    within = np.sqrt(np.mean((colour - means[found.bag_of_tile]) ** 2, axis=0) / np.diff(found.offsets).min())
    assert (means.std(axis=0) > 2 * within).all()


def test_lookalikes_are_darker_like_tumour_but_no_tumour() -> None:
    """Adenoma and carcinoma crowd nuclei: both take hematoxylin, which normal mucosa lacks."""
    plain, alike = (tissue_slides(20, 40, 0.3, 32, lookalikes=share, mixed=0) for share in (0, 1))
    assert np.array_equal(plain.tile_labels, alike.tile_labels)
    red = [one.tiles[:, :, :, 0].mean(axis=(1, 2)) for one in (plain, alike)]
    other = plain.tile_labels == 0
    assert red[1][other].mean() < red[0][other].mean() - 10
    assert abs(red[1][other].mean() - red[0][~other].mean()) < red[0][other].mean() - red[0][~other].mean()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_slides": 1}, "at least 2 slides with 2 tiles of 8 px; not 1 slides with 100 tiles of 32 px"),
        ({"tiles_per_slide": 1}, "not 200 slides with 1 tiles"),
        ({"size": 7}, "of 7 px"),
        ({"witness_rate": 0}, r"witness_rate in \(0, 1\]"),
        ({"witness_rate": 1.5}, r"not 1\.5, 0\.5, 0\.2 and 0\.6"),
        ({"lookalikes": -0.1}, "lookalikes"),
        ({"positive": 2}, "positive"),
        ({"mixed": 2}, "mixed"),
    ],
)
def test_what_cannot_be_drawn(arguments: dict, message: str) -> None:
    with pytest.raises(BenchmarkError, match=message):
        tissue_slides(**arguments)


@pytest.mark.slow
def test_tiles_can_be_told_apart_but_not_all_of_them() -> None:
    """A small network that is shown the truth of each tile: AUROC on other slides between 0.9 and 0.99."""
    import torch
    from sklearn.metrics import roc_auc_score
    from torch import nn
    from torch.nn.functional import binary_cross_entropy_with_logits

    torch.manual_seed(0)
    parts = [tissue_slides(60, 50, seed=seed) for seed in (0, 1)]
    images = [torch.from_numpy(one.tiles).permute(0, 3, 1, 2).float() / 255 for one in parts]
    target = torch.from_numpy(parts[0].tile_labels).float()
    layers = [(nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU(), nn.MaxPool2d(2)) for a, b in ((3, 16), (16, 32), (32, 64))]
    network = nn.Sequential(*(layer for block in layers for layer in block), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 1))
    optimiser = torch.optim.AdamW(network.parameters(), 3e-3)
    plan = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 8)  # or the last epoch decides, which rounding changes
    for _ in range(8):
        for rows in torch.randperm(len(target)).split(64):
            loss = binary_cross_entropy_with_logits(network(images[0][rows])[:, 0], target[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        plan.step()
    network.eval()
    with torch.no_grad():
        score = network(images[1])[:, 0].numpy()
    assert 0.9 < roc_auc_score(parts[1].tile_labels, score) < 0.99
