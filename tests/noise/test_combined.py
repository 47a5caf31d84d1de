from pathlib import Path

import numpy as np
import pytest

from benchmark.api import Noise, Samples
from benchmark.errors import BenchmarkError
from benchmark.noise_combined import Combined
from benchmark.registry import Registry

HUMAN, PAIRFLIP, SYMMETRIC = (Registry().load("noise", name) for name in ("human", "pairflip", "symmetric"))
LABELS = np.tile(np.arange(4), 250)


class Step(Noise):
    name = "step"

    def apply(self, samples, rng):
        return (samples.labels + 1) % samples.num_classes

    def fingerprint(self, root, dataset):
        return "abc"


class Particular(Step):
    is_particular = True


def test_it_suits_some_sets_only_if_a_part_does():
    assert Combined([Step(), Particular()]).is_particular and not Combined([Step(), Step()]).is_particular


class Paint(Noise):
    """Replaces the images of given positions by one grey."""

    name = "paint"

    def __init__(self, positions, grey):
        super().__init__()
        self.positions, self.grey = np.array(positions), grey

    def apply(self, samples, rng):
        return samples.labels.copy()

    def replace_images(self, samples, rng):
        return self.positions, np.full((len(self.positions), 2, 2, 1), self.grey, dtype=np.uint8)


def test_parts_act_one_after_the_other() -> None:
    noise = Combined([Step(), Step()])
    before = LABELS.copy()
    noisy = noise.apply(Samples(LABELS, 4), np.random.default_rng(0))
    assert np.array_equal(noisy, (LABELS + 2) % 4) and noisy.dtype == np.int64
    assert np.array_equal(LABELS, before)
    assert noise.name == "step+step" and noise.rate is None


def test_each_part_has_a_generator_of_its_own() -> None:
    one = PAIRFLIP(PAIRFLIP.Params(rate=0.3))
    both = Combined([one, one]).apply(Samples(LABELS, 4), np.random.default_rng(0))
    steps = (both - LABELS) % 4
    assert set(steps.tolist()) == {0, 1, 2}  # with one generator twice, none would move by exactly one
    first, second = np.random.default_rng(0).spawn(2)
    by_hand = one.apply(Samples(one.apply(Samples(LABELS, 4), first), 4), second)
    assert np.array_equal(both, by_hand)
    assert np.array_equal(both, Combined([one, one]).apply(Samples(LABELS, 4), np.random.default_rng(0)))


@pytest.mark.parametrize("order", [("symmetric", "human"), ("human", "symmetric")])
def test_peoples_errors_are_laid_over_the_others(order: tuple[str, str]) -> None:
    given = LABELS.copy()
    given[:100] = (given[:100] + 1) % 4
    parts = {"symmetric": SYMMETRIC(SYMMETRIC.Params(rate=0.2)), "human": HUMAN()}
    noise = Combined([parts[name] for name in order])
    noisy = noise.apply(Samples(LABELS, 4, given=given), np.random.default_rng(0))
    wrong = noisy != LABELS
    if order[1] == "human":
        assert np.array_equal(noisy[:100], given[:100])
    assert 200 < wrong.sum() < 300 and wrong[100:].sum() > 150
    assert noise.injected and not Combined([HUMAN()]).injected


def test_images_are_merged_and_the_last_wins() -> None:
    samples = Samples(LABELS, 4)
    rng = np.random.default_rng(0)
    assert Combined([Step(), Step()]).replace_images(samples, rng) is None
    positions, images = Combined([Paint([5, 2], 10), Step(), Paint([2, 7], 20)]).replace_images(samples, rng)
    assert positions.tolist() == [2, 5, 7]
    assert images[:, 0, 0, 0].tolist() == [20, 10, 20]


def test_identity_and_refusals() -> None:
    assert Combined([Step(), SYMMETRIC()]).fingerprint(Path(), lambda text: None) == '["abc", null]'
    assert Combined([SYMMETRIC()]).fingerprint(Path(), lambda text: None) is None
    with pytest.raises(BenchmarkError, match="step\\+symmetric cannot be drawn at a rate"):
        Combined([Step(), SYMMETRIC()]).with_rate(0.1)
