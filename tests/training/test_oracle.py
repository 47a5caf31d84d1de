"""The oracle counts every question, and answers none that it cannot."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark.registry import Registry
from benchmark.training.oracle import Oracle

TRUTH = np.arange(60) % 3


def oracle(kind: str = "symmetric", *, truth: np.ndarray | None = TRUTH, rate: float | None = 0.3, **values: object) -> Oracle:
    cls = Registry().load("noise", kind)
    return Oracle(truth, cls(cls.Params(**values)), rate, 3, ("a", "b", "c"))


def test_looking_whether_the_rate_is_known_is_free() -> None:
    known = oracle(rate=0.3)
    assert known.knows_rate and not known.used
    assert not oracle(rate=None).knows_rate
    assert not oracle("none", rate=0.0).knows_rate
    assert not oracle("human", rate=0.1).knows_rate


def test_the_rate_is_metered_where_it_is_told() -> None:
    asked = oracle()
    assert asked.noise_rate() == asked.noise_rate() == 0.3
    assert asked.used == {"noise_rate": 2}
    silent = oracle(rate=None)
    with pytest.raises(LookupError, match="no reference labels"):
        silent.noise_rate()
    assert not silent.used


def test_labels_are_metered_one_by_one() -> None:
    asked = oracle()
    assert asked.labels(np.array([4, 0, 4])).tolist() == [1, 0, 1]
    assert asked.used == {"labels": 3}
    silent = oracle(truth=None)
    with pytest.raises(LookupError, match="no reference labels"):
        silent.labels(np.array([0]))
    assert not silent.used


def test_noise_is_imitated_at_the_rate_that_is_asked_for() -> None:
    asked = oracle(rate=0.3)
    noisy = asked.imitate_noise(TRUTH, 0.5, np.random.default_rng(0))
    assert (noisy != TRUTH).mean() == pytest.approx(0.5)
    assert asked.used == {"noise_kind": 1}
    for kind in ("none", "human"):
        silent = oracle(kind)
        with pytest.raises(LookupError, match="kind of noise is unknown"):
            silent.imitate_noise(TRUTH, 0.5, np.random.default_rng(0))
        assert not silent.used


def test_noise_that_cannot_be_drawn_so_is_unknown_noise() -> None:
    """A method falls back to another kind then; it must not fail over it."""
    cls = Registry().load("noise", "pathologist")
    asked = Oracle(TRUTH, cls(cls.Params(rate=0.2)), 0.2, 3, ("a", "b", "c"))
    with pytest.raises(LookupError):
        asked.imitate_noise(TRUTH, 0.9, np.random.default_rng(0))
    instance = Registry().load("noise", "instance")
    with pytest.raises(LookupError, match="needs images"):
        Oracle(TRUTH, instance(), 0.2, 3, ("a", "b", "c")).imitate_noise(TRUTH, 0.3, np.random.default_rng(0))
    assert not asked.used


def _answering(noise=None, given=None, seed=0) -> Oracle:
    cls = Registry().load("noise", "none")
    return Oracle(TRUTH, cls(), 0.2, 3, ("a", "b", "c"), given=np.zeros_like(TRUTH) if given is None else given, seed=seed)


def test_annotators_are_paid_by_the_answer_and_the_ledger_has_every_one() -> None:
    asked = _answering()
    picks = np.array([4, 1, 2])
    assert (asked.annotate(picks, 1) == TRUTH[picks]).all()
    asked.annotate(np.array([0]), 2, (None, None))
    assert asked.paid == 5 and asked.used == {"labels": 5}
    rows = asked.ledger()
    assert rows[:, 0].tolist() == [1, 1, 1, 2, 2] and rows[:, 1].tolist() == [4, 1, 2, 0, 0] and rows[:, 2].tolist() == [0, 0, 0, 0, 1]
    assert (rows[:, 3] == 0).all() and (rows[:, 4] == TRUTH[rows[:, 1]]).all() and (rows[:, 5] == rows[:, 4]).all()


def test_an_annotator_who_errs_gives_the_same_answer_when_asked_again() -> None:
    cls = Registry().load("noise", "symmetric")
    rater = cls(cls.Params(rate=0.5))
    everything = np.arange(len(TRUTH))
    asked = _answering()
    first = asked.annotate(everything, 1, (rater,))
    assert (first != TRUTH).any() and (asked.annotate(everything, 2, (rater,)) == first).all()
    assert (_answering().annotate(everything, 1, (rater,)) == first).all()


def test_the_majority_counts_and_the_earliest_rater_breaks_a_tie() -> None:
    class Says:
        def __init__(self, label: int) -> None:
            self.label = label

        def apply(self, samples, rng):
            return np.full_like(samples.labels, self.label)

    asked, one = _answering(), np.array([0])
    assert asked.annotate(one, 1, (Says(2), Says(1), Says(1))) == 1
    assert _answering().annotate(one, 1, (Says(2), Says(1), Says(0))) == 2
    assert _answering().annotate(one, 1, (Says(2), Says(1), Says(1), Says(2))) == 2


def test_the_ledger_survives_a_checkpoint_and_forgets_what_came_later() -> None:
    asked = _answering()
    asked.annotate(np.array([3]), 1)
    state = asked.state_dict()
    asked.annotate(np.array([4]), 2)
    asked.load_state_dict(state)
    assert asked.ledger()[:, 1].tolist() == [3] and asked.used == {"labels": 1}
    asked.annotate(np.array([4]), 2)
    assert asked.ledger()[:, 1].tolist() == [3, 4] and asked.paid == 2


def test_labels_that_nobody_pays_for_are_marked_apart() -> None:
    asked = _answering()
    assert (asked.leak(np.array([1, 2])) == TRUTH[1:3]).all()
    assert asked.used == {"unpaid_labels": 2} and asked.paid == 0 and asked.ledger().shape == (0, 6)


def test_raters_are_tried_without_a_question() -> None:
    """Trying them changes no answer, costs nothing, and says who cannot answer."""
    cls = Registry().load("noise", "symmetric")
    rater, everything, tried = cls(cls.Params(rate=0.5)), np.arange(len(TRUTH)), _answering()
    tried.try_raters((None, rater))
    assert not tried.used and not tried.paid
    untried = _answering().annotate(everything, 1, (None, rater, rater))
    assert (tried.annotate(everything, 1, (None, rater, rater)) == untried).all()
    with pytest.raises(LookupError, match="needs images"):
        _answering().try_raters((Registry().load("noise", "instance")(),))
    with pytest.raises(LookupError, match="no reference labels"):
        oracle(truth=None).try_raters((None,))
