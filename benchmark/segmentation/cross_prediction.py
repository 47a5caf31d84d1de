"""Two teachers, each trained on half of the patients, predict the other half; their predictions judge the masks that a student learns from.

Source: Zhang et al., Characterizing Label Errors, MICCAI 2020, and Northcutt et al., Confident Learning, JAIR 2021: probabilities of a
network that has seen the label say nothing of whether it is wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from benchmark.api import TrainingData, hp
from benchmark.segmentation import VOID
from benchmark.segmentation.folds import halves
from benchmark.segmentation.method import MaskMethod
from benchmark.segmentation.quality import image_quality, mean_over_tasks, pixel_quality
from benchmark.training.context import RunContext
from benchmark.training.loop import method_predictor
from benchmark.training.networks import Networks

PIECE = 64
"""Images that are predicted before their probabilities are put into their place, so that nothing as large as these is copied."""


@dataclass(frozen=True)
class CrossParams:
    """What every method takes that has two teachers; subclass it for more."""

    teacher_epochs: float = hp(
        1.0,
        0.01,
        10.0,
        search=(0.25, 2.0),
        help="epochs of each teacher as a share of the protocol's; 2 gives it as many steps as the student",
    )


class TeacherPair(MaskMethod):
    """Plain cross-entropy on either half; what a phase of this name depends on."""

    name = "teacher_pair"
    Params = CrossParams

    def train(self, run: RunContext, data: TrainingData, folds: np.ndarray) -> list[Networks]:
        """Two networks: the first is trained on the images of fold 0.

        Args:
            run: the run.
            data: its data.
            folds: (n,) 0 or 1.
        """
        epochs, teachers = max(1, round(self.params.teacher_epochs * run.protocol.epochs)), []
        for fold in (0, 1):
            stage = f"half{fold}"
            networks = run.networks(1, name=stage)
            loader = run.loader(torch.from_numpy(np.flatnonzero(folds == fold)).to(run.device))
            for epoch in run.epochs(stage, networks, epochs=epochs):
                for batch in loader:
                    run.step(networks, self.training_step(batch, networks, epoch), len(batch))
            teachers.append(networks)
        return teachers


class CrossPredicted(MaskMethod):
    """Judges every pixel by a teacher that was trained on other patients, then trains a student afresh. Subclasses define :meth:`flag`,
    :meth:`companion` and :meth:`training_step`.

    Teachers are those of their last epoch: a method is given no validation part, and the published choice, by Dice on clean masks, would
    need the truth. They are one phase of the run, which runs share that differ in nothing before it. What they predict and what follows
    from it is computed again on resume.

    Attributes:
        folds: (n,) int64 on the CPU, the half that an image is in; the teacher of the other half has judged it.
        flagged: (n, T, H, W) bool on the CPU, the pixels held for wrong; void ones never.
        other: (n, T, H, W) uint8 on the CPU, the given masks with the teacher's most probable other class where flagged.
        self_confidence: (n, T, H, W) float32 on the CPU, the out-of-sample probability of the given label, 1 where void.
        mask_quality: (n, T) float64 on the CPU, the softmin of the self-confidence over a mask's pixels; NaN if all are void.
        judged: (T,) bool, False where a half knows fewer than two of a task's classes: nothing is flagged there.
    """

    Params = CrossParams
    name_of_phase: ClassVar[str] = "teachers"

    def flag(self, labels: np.ndarray, probabilities: np.ndarray, folds: np.ndarray, tasks: tuple[str, ...]) -> np.ndarray:
        """(n, T, H, W) bool: the pixels that are held for wrong; asked only for tasks of which both halves know two classes at least.

        Args:
            labels: (n, T, H, W) uint8 given masks.
            probabilities: (n, T, J, H, W) float32, out of sample.
            folds: (n,).
            tasks: T names.
        """
        raise NotImplementedError

    def companion(self, data: TrainingData) -> tuple[Tensor, Tensor]:
        """(m,) int64 images to train the student on, and (m, T, H, W) uint8 what its batches carry behind the given masks."""
        raise NotImplementedError

    def supports(self, data: TrainingData) -> str | None:
        """Each teacher needs patients of its own."""
        if len(_patients(data)) == data.n and data.n < 2:
            return "each of the two teachers needs images of its own, and there is only one"
        return (
            "each of the two teachers needs patients of its own, and there is only one" if len(set(_patients(data).tolist())) < 2 else None
        )

    def fit(self, data: TrainingData, run: RunContext) -> Networks:
        """Train the teachers, judge, train the student."""
        self.judge(data, run)
        indices, more = self.companion(data)
        networks = run.networks(1)
        loader = run.loader(indices, torch.cat([data.labels[indices], more], dim=1))
        tasks = data.labels.shape[1]
        for epoch in run.epochs("train", networks, predictor=method_predictor(self, networks)):
            for batch in loader:
                run.step(networks, self.training_step(batch, networks, epoch), len(batch))
                run.history.record(epoch, batch.indices, batch.labels[:, :tasks], networks[0].last_logits)
        return networks

    def judge(self, data: TrainingData, run: RunContext) -> None:
        """Set the attributes."""
        folds = halves(_patients(data), run.rng("halves"))
        pair = TeacherPair(CrossParams(self.params.teacher_epochs))
        with run.phase(self.name_of_phase, pair):
            teachers = pair.train(run, data, folds)
        probabilities = cross_predict(run, data, folds, [networks[0] for networks in teachers])
        labels = data.labels.cpu().numpy()
        known = known_classes(labels, folds, data.num_classes)
        flagged = flag_known(self.flag, labels, probabilities, folds, known, data.tasks)
        self.folds, self.flagged = torch.from_numpy(folds), torch.from_numpy(flagged)
        self.judged = torch.from_numpy(judged_tasks(known))
        self.other = torch.from_numpy(corrected(labels, probabilities, flagged))
        self.self_confidence = torch.from_numpy(pixel_quality(labels, probabilities))
        self.mask_quality = torch.from_numpy(image_quality(labels, probabilities))

    def label_quality(self) -> Tensor:
        """The softmin over an image's pixels of the out-of-sample probability of their labels, mean over the tasks that have any."""
        return mean_over_tasks(self.mask_quality)

    def pixel_quality(self) -> Tensor:
        """The out-of-sample probability of the given label."""
        return self.self_confidence

    def pixel_suspects(self) -> Tensor:
        """The flagged pixels."""
        return self.flagged

    def diagnostics(self) -> dict[str, float]:
        """The share of pixels that is flagged, and the mean out-of-sample probability of the given labels; void left out."""
        known = (self.data.labels != VOID).cpu()
        total = max(1, int(known.sum()))
        confidence = float((self.self_confidence * known).sum(dtype=torch.float64)) / total
        return {"flagged": int(self.flagged.sum()) / total, "self_confidence": confidence}


Flag = Callable[[np.ndarray, np.ndarray, np.ndarray, tuple[str, ...]], np.ndarray]


def cross_predict(run: RunContext, data: TrainingData, folds: np.ndarray, teachers: list[Callable[[Tensor], Tensor]]) -> np.ndarray:
    """(n, T, J, H, W) float32 class probabilities of every training image, by the teacher of the other fold.

    Args:
        run: the run.
        data: its data.
        folds: (n,) 0 or 1.
        teachers: in evaluation mode: the one of fold 0, the one of fold 1; normalised images → logits.
    """
    tasks, sides = data.labels.shape[1], data.labels.shape[2:]
    probabilities = np.empty((data.n, tasks, data.num_classes, *sides), dtype=np.float32)
    for fold, teacher in enumerate(teachers):
        others = np.flatnonzero(folds != fold)
        for piece in np.split(others, range(PIECE, len(others), PIECE)):
            rows = torch.from_numpy(piece).to(run.device)
            probabilities[piece] = run.predict(lambda images: teacher(images).float().softmax(dim=2), rows).cpu().numpy()  # noqa: B023
    return probabilities


def known_classes(labels: np.ndarray, folds: np.ndarray, num_classes: int) -> np.ndarray:
    """(2, T, J) bool: the classes of which a fold's given masks have a pixel."""
    present = np.stack([(labels == j).any(axis=(2, 3)) for j in range(num_classes)], axis=-1)
    return np.stack([present[folds == fold].any(axis=0) for fold in (0, 1)])


def judged_tasks(known: np.ndarray) -> np.ndarray:
    """(T,) bool: the tasks of which both folds know two classes at least; else a teacher has learnt nothing, or has nothing to tell apart.

    Args:
        known: of :func:`known_classes`.
    """
    judged: np.ndarray = (known.sum(axis=2) > 1).all(axis=0)
    return judged


def flag_known(
    flag: Flag, labels: np.ndarray, probabilities: np.ndarray, folds: np.ndarray, known: np.ndarray, tasks: tuple[str, ...]
) -> np.ndarray:
    """(n, T, H, W) bool of :meth:`CrossPredicted.flag` in the tasks that can be judged; labels that a teacher has not seen are not flagged.

    Args:
        flag, labels, probabilities, folds, tasks: as there.
        known: of :func:`known_classes`.
    """
    judged = np.flatnonzero(judged_tasks(known))
    if len(judged) == len(tasks):
        flagged = flag(labels, probabilities, folds, tasks)
    else:
        flagged = np.zeros(labels.shape, dtype=bool)
        if len(judged):
            flagged[:, judged] = flag(labels[:, judged], probabilities[:, judged], folds, tuple(tasks[t] for t in judged))
    for fold, task, unseen in np.argwhere(~known).tolist():
        taught = np.flatnonzero(folds != fold)
        flagged[taught, task] &= labels[taught, task] != unseen
    return flagged


def corrected(labels: np.ndarray, probabilities: np.ndarray, flagged: np.ndarray) -> np.ndarray:
    """(n, T, H, W) uint8 labels with the most probable other class where flagged.

    Args:
        labels: (n, T, H, W) class ids; not changed.
        probabilities: (n, T, J, H, W).
        flagged: (n, T, H, W) bool, False where void.
    """
    masks = labels.astype(np.uint8)
    for mask, forecast, wrong in zip(masks, probabilities, flagged, strict=True):  # image by image: few pixels are flagged
        task, row, column = np.nonzero(wrong)
        others = forecast[task, :, row, column]  # (m, J), a copy
        others[np.arange(len(task)), mask[wrong]] = -1
        mask[wrong] = others.argmax(axis=1)
    return masks


def _patients(data: TrainingData) -> np.ndarray:
    """(n,) ids; each image its own where there are none."""
    return np.arange(data.n) if data.groups is None else data.groups.cpu().numpy()
