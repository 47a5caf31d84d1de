"""Cross prediction: whose teacher judges whom, what cannot be judged, corrections by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmark.conformance import tiny_run
from benchmark.conformance_data import tiny_masks
from benchmark.registry import Registry
from benchmark.segmentation import VOID
from benchmark.segmentation.cross_prediction import PIECE, corrected, cross_predict, flag_known, judged_tasks, known_classes

ConfidentLearning = Registry().load("method", "seg_cl")
Smoothing = Registry().load("method", "seg_cl_slsr")


def everything(labels, probabilities, folds, tasks):
    return np.ones(labels.shape, dtype=bool)


def test_an_image_is_predicted_by_the_teacher_that_has_not_seen_it():
    class Run:
        device = torch.device("cpu")

        def predict(self, predictor, rows):
            return predictor(rows.view(-1, 1, 1, 1, 1).expand(-1, 1, 2, 3, 4).float())

    data, _ = tiny_masks(np.zeros((2 * PIECE + 5, 1, 3, 4), dtype=np.uint8)[:24], size=(3, 4))
    folds = np.arange(24) % 2
    sure = torch.tensor([0.0, 50.0]).view(1, 1, 2, 1, 1)
    probabilities = cross_predict(Run(), data, folds, [lambda images: 0 * images + sure, lambda images: 0 * images - sure])
    assert probabilities.dtype == np.float32 and probabilities.shape == (24, 1, 2, 3, 4)
    assert (probabilities[folds == 1, :, 1] > 0.99).all() and (probabilities[folds == 0, :, 0] > 0.99).all()


@pytest.mark.parametrize("count", [2, PIECE, 2 * PIECE + 2])
def test_pieces_come_back_in_their_places(count):
    class Data:
        n, num_classes = count, 2
        labels = torch.zeros(count, 1, 1, 1, dtype=torch.uint8)

    class Run:
        device = torch.device("cpu")

        def predict(self, predictor, rows):
            assert len(rows) <= PIECE
            return predictor(rows.view(-1, 1, 1, 1, 1).expand(-1, 1, 2, 1, 1).float())

    folds = np.r_[0, 1, np.zeros(count - 2)].astype(np.int64)
    share = torch.tensor([1.0, 0.0]).view(1, 1, 2, 1, 1)
    teacher = lambda images: torch.log((images + 1) / (count + 1) * share + (1 - (images + 1) / (count + 1)) * (1 - share))  # noqa: E731
    probabilities = cross_predict(Run(), Data, folds, [teacher, teacher])
    np.testing.assert_allclose(probabilities[:, 0, 0, 0, 0], (np.arange(count) + 1) / (count + 1), rtol=1e-5)


def test_which_tasks_can_be_judged():
    labels = np.zeros((4, 3, 1, 2), dtype=np.uint8)
    labels[0, 0], labels[2, 0, 0, 0] = 1, 1  # both halves know both classes
    labels[0, 1, 0, 0] = 1  # only the first half
    labels[:, 2] = VOID
    labels[:2, 2, 0, 0] = 1
    known = known_classes(labels, np.array([0, 0, 1, 1]), 2)
    assert known.tolist() == [[[True, True], [True, True], [False, True]], [[True, True], [True, False], [False, False]]]
    assert judged_tasks(known).tolist() == [True, False, False]


def test_nothing_is_flagged_where_a_half_knows_one_class():
    labels = np.zeros((4, 2, 1, 2), dtype=np.uint8)
    labels[:, 0, 0, 1], labels[0, 1, 0, 0] = 1, 1
    folds = np.array([0, 0, 1, 1])
    asked = []

    def flag(given, probabilities, where, tasks):
        asked.append((given.shape, probabilities.shape, tasks))
        return np.ones(given.shape, dtype=bool)

    flagged = flag_known(flag, labels, np.zeros((4, 2, 2, 1, 2), dtype=np.float32), folds, known_classes(labels, folds, 2), ("a", "b"))
    assert flagged[:, 0].all() and not flagged[:, 1].any()
    assert asked == [((4, 1, 1, 2), (4, 1, 2, 1, 2), ("a",))]


def test_a_class_that_the_teacher_has_not_seen_is_not_flagged():
    labels = np.array([[0, 1, 2], [0, 1, 2], [0, 1, 1], [0, 1, 1]], dtype=np.uint8).reshape(4, 1, 1, 3)
    folds = np.array([0, 0, 1, 1])
    flagged = flag_known(everything, labels, np.zeros((4, 1, 3, 1, 3), dtype=np.float32), folds, known_classes(labels, folds, 3), ("a",))
    assert flagged[:, 0, 0].tolist() == [[True, True, False]] * 2 + [[True, True, True]] * 2


def test_corrections_by_hand():
    labels = np.array([[0, 1, 2, 1, VOID]], dtype=np.uint8).reshape(1, 1, 1, 5)
    p = np.array([[0.5, 0.3, 0.2], [0.1, 0.3, 0.6], [0.2, 0.1, 0.7], [0.4, 0.35, 0.25], [1, 0, 0]], dtype=np.float32)
    probabilities = p.T.reshape(1, 1, 3, 1, 5)
    flagged = np.array([True, True, True, False, False]).reshape(1, 1, 1, 5)
    before = labels.copy(), probabilities.copy()
    assert corrected(labels, probabilities, flagged).ravel().tolist() == [1, 2, 0, 1, VOID]
    assert (labels == before[0]).all() and (probabilities == before[1]).all()


def test_of_two_classes_a_correction_turns_the_label_over():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (5, 2, 4, 3)).astype(np.uint8)
    first = rng.random((5, 2, 1, 4, 3), dtype=np.float32)
    flagged = rng.random(labels.shape) < 0.4
    result = corrected(labels, np.concatenate([first, 1 - first], axis=2), flagged)
    np.testing.assert_array_equal(result, np.where(flagged, 1 - labels, labels))
    assert result.dtype == np.uint8


def test_the_labels_of_a_half_have_no_say_in_how_it_is_judged():
    """All labels of fold 1 are turned over: its teacher is the same, so the probabilities of the labels are turned over too."""
    data, truth = tiny_masks()
    first = tiny_run(ConfidentLearning, masks=(data, truth)).method
    other = data.labels.clone()
    turned = first.folds == 1
    other[turned] = torch.where(other[turned] == VOID, VOID, 1 - other[turned])
    second = tiny_run(ConfidentLearning, labels=other.numpy()).method
    assert torch.equal(first.folds, second.folds) and 0 < int(turned.sum()) < len(turned)
    known = data.labels != VOID
    rows = turned[:, None, None, None] & known
    assert torch.allclose(first.self_confidence[rows], 1 - second.self_confidence[rows], atol=1e-5)
    assert not torch.allclose(first.self_confidence[~rows & known], second.self_confidence[~rows & known], atol=1e-2)


def test_no_patient_is_in_both_halves():
    patients = np.repeat(np.arange(6), 4)
    method = tiny_run(ConfidentLearning, masks=tiny_masks(groups=patients)).method
    assert {len(set(method.folds[patients == patient].tolist())) for patient in range(6)} == {1}
    assert int(method.folds.sum()) == 12


@pytest.mark.parametrize(
    ("groups", "reason"),
    [(np.zeros(24), "each of the two teachers needs patients of its own, and there is only one"), (np.arange(24), None), (None, None)],
)
def test_one_patient_is_too_few(groups, reason):
    assert ConfidentLearning().supports(tiny_masks(groups=groups)[0]) == reason


def test_one_image_is_too_few():
    data, _ = tiny_masks()
    one = type(data)(data.images[:1], data.labels[:1], 2, data.class_names, data.tasks)
    assert ConfidentLearning().supports(one) == "each of the two teachers needs images of its own, and there is only one"


@pytest.mark.parametrize(("share", "epochs"), [(0.5, 1), (1.0, 2), (2.0, 4), (0.01, 1)])
def test_teachers_have_their_share_of_the_epochs(share, epochs):
    assert tiny_run(ConfidentLearning, teacher_epochs=share).run._observer.epochs == 2 * epochs + 2


def test_runs_that_differ_in_the_student_share_the_teachers(tmp_path):
    alone = tiny_run(Smoothing)
    tiny_run(ConfidentLearning, folder=tmp_path / "a", shared=tmp_path / "phases")
    second = tiny_run(Smoothing, folder=tmp_path / "b", shared=tmp_path / "phases")
    assert second.run._observer.epochs == 2  # the student's
    assert torch.equal(alone.probabilities, second.probabilities) and torch.equal(alone.method.flagged, second.method.flagged)
    other = tiny_run(Smoothing, folder=tmp_path / "c", shared=tmp_path / "phases", teacher_epochs=0.5)
    assert other.run._observer.epochs == 4


def test_diagnostics_leave_void_out():
    method = tiny_run(ConfidentLearning).method
    known = method.data.labels != VOID
    found = method.diagnostics()
    assert found["flagged"] == pytest.approx(float(method.flagged[known].float().mean()))
    assert found["self_confidence"] == pytest.approx(float(method.self_confidence[known].mean()), abs=1e-5)
