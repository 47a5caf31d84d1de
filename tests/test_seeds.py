"""Seeds that are derived from names."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from benchmark.seeds import derive_seed, numpy_generator, torch_generator


@pytest.mark.parametrize(
    ("names", "seed"),
    [
        ((), 2858069222894195974),
        (("noise",), 8100419238220429464),
        (("noise", "digits", {"b": 1, "a": 0.2}, 0), 3837669479783063382),
        (("é", None, True), 8377854882227786981),
    ],
)
def test_a_change_of_the_derivation_would_change_every_published_number(names: tuple[object, ...], seed: int) -> None:
    assert derive_seed(*names) == seed


def test_the_first_draws_are_fixed() -> None:
    assert numpy_generator("a", 1).integers(0, 1000, 4).tolist() == [157, 478, 417, 237]
    assert torch.randint(0, 1000, (4,), generator=torch_generator("a", 1)).tolist() == [776, 386, 451, 520]


def test_a_seed_does_not_depend_on_what_was_drawn_before() -> None:
    alone = numpy_generator("weights", 3).random(5)
    torch.manual_seed(9)
    np.random.random(7)
    torch_generator("weights", 3)
    derive_seed("something else")
    assert np.array_equal(numpy_generator("weights", 3).random(5), alone)


def test_global_generators_are_left_alone() -> None:
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    numpy_generator("a").random(3)
    torch.rand(3, generator=torch_generator("a"))
    assert torch.equal(before[0], torch.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])


def test_names_that_differ_give_seeds_that_differ() -> None:
    names: list[tuple[object, ...]] = [
        ("a", "b"),
        ("ab",),
        ("b", "a"),
        (("a",), "b"),
        ("a", 1),
        ("a", "1"),
        ("a", 1.0),
        ("a", True),
        ("a", None),
    ]
    assert len({derive_seed(*name) for name in names}) == len(names)


def test_the_order_of_a_dictionary_does_not_count() -> None:
    assert derive_seed({"a": 1, "b": {"c": 2, "d": 3}}) == derive_seed({"b": {"d": 3, "c": 2}, "a": 1})


def test_seeds_fit_torch_and_numpy() -> None:
    seeds = [derive_seed(i) for i in range(1000)]
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert max(seeds) > 2**61  # the whole range is used


def test_another_process_with_another_hash_seed_agrees() -> None:
    command = [sys.executable, "-c", "from benchmark.seeds import derive_seed; print(derive_seed('noise', 'x', {'q': 1, 'p': 2}))"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONHASHSEED": "77"}, timeout=60)
    assert int(done.stdout) == derive_seed("noise", "x", {"p": 2, "q": 1})


def test_what_has_no_canonical_text_is_refused() -> None:
    with pytest.raises(TypeError):
        derive_seed(object())
