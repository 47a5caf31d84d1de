import pytest
import torch

from benchmark.segmentation.augment import JointAugmenter
from benchmark.training.augment import Draws

ONE, ZERO = torch.ones(1), torch.zeros(1)


def augmenter(*names: str, height: int = 6, width: int = 6) -> JointAugmenter:
    return JointAugmenter(frozenset(names), height, width, ONE, ZERO)


def batch(n: int, height: int = 6, width: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    """Images whose grey is twice the first task's class id, and a second task that is the first one's opposite."""
    labels = torch.randint(0, 100, (n, 1, height, width), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    return labels * 2, torch.cat([labels, 255 - labels], dim=1)


def test_images_and_masks_move_together() -> None:
    images, labels = batch(64)
    both = augmenter("flip", "rot90", "crop")
    draws = both.draw(64, torch.Generator().manual_seed(0))
    moved, masks = both.together(images, labels, draws)
    assert moved.dtype == torch.float32 and masks.dtype == torch.uint8 and masks.shape == (64, 2, 6, 6)
    assert torch.equal(moved, masks[:, :1].float() * 2)
    assert torch.equal(masks[:, 1], 255 - masks[:, 0])
    assert (masks != labels).flatten(1).any(dim=1).float().mean() > 0.8


def test_hand_made_flip_and_quarter_turn() -> None:
    both = augmenter("flip", "rot90", height=2, width=2)
    labels = torch.tensor([[1, 2], [3, 4]], dtype=torch.uint8).expand(3, 1, 2, 2)
    draws = Draws(geometry=torch.tensor([[0, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 2]]))
    images, masks = both.together(labels, labels, draws)
    assert masks[:, 0].tolist() == [[[2, 1], [4, 3]], torch.rot90(labels[0, 0], int(_turn(masks[1, 0]))).tolist(), [[4, 3], [2, 1]]]
    assert torch.equal(images, masks.float())


def _turn(mask: torch.Tensor) -> int:
    """1 or 3: which way a quarter turn goes is the augmenter's own business."""
    return 1 if mask.tolist() == [[2, 4], [1, 3]] else 3


def test_all_eight_positions_occur_each_on_its_own() -> None:
    both = augmenter("flip", "rot90", height=2, width=2)
    labels = torch.tensor([[1, 2], [3, 4]], dtype=torch.uint8).expand(200, 1, 2, 2)
    _, masks = both.together(labels, labels, both.draw(200, torch.Generator().manual_seed(0)))
    kinds, counts = torch.unique(masks.flatten(1), dim=0, return_counts=True)
    assert len(kinds) == 8 and counts.min() > 10


def test_colour_changes_the_image_alone() -> None:
    images, labels = batch(8)
    both = augmenter("color")
    changed, masks = both.together(images, labels, both.draw(8, torch.Generator().manual_seed(0)))
    assert torch.equal(masks, labels) and (changed != images.float()).flatten(1).any(dim=1).all()


def test_without_draws_it_only_normalises_and_nothing_is_changed_in_place() -> None:
    images, labels = batch(4, 4, 6)
    before = images.clone(), labels.clone()
    both = JointAugmenter(frozenset({"flip", "rot90", "color"}), 4, 6, torch.full((1,), 0.5), ONE)
    plain, masks = both.together(images, labels)
    assert torch.equal(plain, images * 0.5 + 1) and torch.equal(masks, labels)
    _, masks = both.together(images, labels, both.draw(4, torch.Generator().manual_seed(0)))  # not square: only half turns
    assert masks.shape == labels.shape
    assert torch.equal(images, before[0]) and torch.equal(labels, before[1])


@pytest.mark.parametrize("seed", [0, 1])
def test_the_generator_decides(seed: int) -> None:
    images, labels = batch(16)
    both = augmenter("flip", "rot90", "color")
    one, two, other = (both.together(images, labels, both.draw(16, torch.Generator().manual_seed(s))) for s in (seed, seed, seed + 7))
    assert torch.equal(one[0], two[0]) and torch.equal(one[1], two[1])
    assert not torch.equal(one[1], other[1])
