"""The only door to the truth: every question is asked by name, counted, and marked in every table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from benchmark.api import Noise, Samples
from benchmark.errors import BenchmarkError
from benchmark.seeds import numpy_generator

LEDGER = ("round", "sample", "rater", "given", "answer", "true")
"""The columns of a ledger: one row an answer that was paid for; ``sample`` is a position in the training set."""


class Oracle:
    """What a method may ask for that a real data set would not tell.

    Args:
        truth: (n,) int64 true training labels; None where nobody knows them.
        noise: the noise model that was applied.
        realised_rate: share of training labels that are wrong for their image; None where unknown.
        num_classes: K.
        class_names: K names.
        given: (n,) int64 given training labels, for the ledger.
        seed: of the annotators' errors.

    Attributes:
        used: question → how often it was asked (for labels: how many were returned).
    """

    def __init__(
        self,
        truth: np.ndarray | None,
        noise: Noise,
        realised_rate: float | None,
        num_classes: int,
        class_names: tuple[str, ...],
        *,
        given: np.ndarray | None = None,
        seed: int = 0,
    ) -> None:
        self._truth, self._noise, self._rate = truth, noise, realised_rate
        self._num_classes, self._class_names = num_classes, class_names
        self._given, self._seed = given, seed
        self._answers: dict[int, np.ndarray] = {}
        self._ledger: list[np.ndarray] = []
        self.used: Counter[str] = Counter()

    @property
    def knows_rate(self) -> bool:
        """Whether wrong labels were injected here, so that their share is known; asking this is free.

        Where nothing was injected the labels may still be wrong as they came, and nobody knows how many.
        """
        return self._noise.injected and bool(self._rate)

    @property
    def knows_labels(self) -> bool:
        """Whether there are reference labels to ask for; asking this is free."""
        return self._truth is not None

    def noise_rate(self) -> float:
        """The realised share of wrong training labels. Metered as ``noise_rate``.

        Raises:
            LookupError: there is no reference.
        """
        if self._rate is None:
            raise LookupError("these data have no reference labels")
        self.used["noise_rate"] += 1
        return self._rate

    def imitate_noise(self, labels: np.ndarray, rate: float, rng: np.random.Generator) -> np.ndarray:
        """Noise of the same kind at another rate on (m,) labels. Metered as ``noise_kind``.

        Raises:
            LookupError: the kind is unknown (the noise is real), takes no rate, needs more than labels, or cannot be drawn on these.
        """
        if self._noise.rate is None or self._noise.rate == 0:
            raise LookupError("the kind of noise is unknown")
        try:
            noisy = self._noise.with_rate(rate).apply(Samples(labels, self._num_classes, self._class_names), rng)
        except BenchmarkError as error:  # this kind cannot be drawn at this rate, or on these labels
            raise LookupError(str(error)) from error
        self.used["noise_kind"] += 1
        return noisy

    def labels(self, indices: np.ndarray) -> np.ndarray:
        """True labels of (m,) training samples. Metered as ``labels``, one a sample.

        Raises:
            LookupError: there is no reference.
        """
        truth = self._reference()
        self.used["labels"] += len(indices)
        return truth[indices]

    def annotate(self, samples: np.ndarray, round_number: int, raters: Sequence[Noise | None] = (None,)) -> np.ndarray:
        """New labels of (m,) training samples by people who look at them. Every answer is paid for and goes into the ledger.

        Each rater answers each sample; the class with the most votes counts, of several the one that the earliest rater named.
        Metered as ``labels``, one an answer.

        Args:
            samples: (m,) positions in the training set, each once.
            round_number: for the ledger.
            raters: None is always right; a noise model errs as it would on the true labels, the same way whenever he is asked.

        Returns:
            (m,) int64 labels.

        Raises:
            LookupError: there is no reference, or a rater's noise model needs more than labels.
        """
        answers = np.stack([self._rater(number, model)[samples] for number, model in enumerate(raters)])
        votes = np.zeros((len(samples), self._num_classes))
        for number, row in enumerate(answers):
            votes[np.arange(len(samples)), row] += 1 + 0.5 ** (number + 1)  # what breaks a tie stays below one vote
        truth = self._reference()
        given = truth if self._given is None else self._given
        for number, row in enumerate(answers):
            columns = (np.full(len(samples), round_number), samples, np.full(len(samples), number), given[samples], row, truth[samples])
            self._ledger.append(np.stack(columns, axis=1).astype(np.int64))
        self.used["labels"] += answers.size
        return votes.argmax(axis=1).astype(np.int64)

    def try_raters(self, raters: Sequence[Noise | None]) -> None:
        """Draw the errors of raters now, so that one who cannot answer is known before anything is trained; asking nothing is free.

        Raises:
            LookupError: there is no reference, or a rater's noise model needs more than labels.
            BenchmarkError: a rater's noise model does not fit these classes.
        """
        for number, model in enumerate(raters):
            self._rater(number, model)

    def leak(self, samples: np.ndarray) -> np.ndarray:
        """True labels of (m,) samples that nobody pays for, as a released program hands them out. Metered as ``unpaid_labels``.

        Raises:
            LookupError: there is no reference.
        """
        truth = self._reference()
        self.used["unpaid_labels"] += len(samples)
        return truth[samples]

    @property
    def paid(self) -> int:
        """How many answers were paid for."""
        return sum(len(rows) for rows in self._ledger)

    def ledger(self) -> np.ndarray:
        """(q, 6) int64, the columns of :data:`LEDGER`: every answer in the order of asking."""
        return np.concatenate(self._ledger) if self._ledger else np.zeros((0, len(LEDGER)), dtype=np.int64)

    def state_dict(self) -> dict[str, Any]:
        """The meters and the ledger, for a checkpoint."""
        return {"used": dict(self.used), "ledger": torch.from_numpy(self.ledger())}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore them; whatever was asked since then is forgotten."""
        self.used = Counter(state["used"])
        self._ledger = [state["ledger"].cpu().numpy()] if len(state["ledger"]) else []

    def _reference(self) -> np.ndarray:
        if self._truth is None:
            raise LookupError("these data have no reference labels")
        return self._truth

    def _rater(self, number: int, model: Noise | None) -> np.ndarray:
        truth = self._reference()
        if model is None:
            return truth
        if number not in self._answers:
            samples = Samples(truth, self._num_classes, self._class_names)
            self._answers[number] = model.apply(samples, numpy_generator("rater", self._seed, number))
        return self._answers[number]
