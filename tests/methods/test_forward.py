"""Forward correction: the identity matrix is cross-entropy, where the matrix comes from, and which files are refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmark.conformance import tiny_run
from benchmark.errors import BenchmarkError
from benchmark.grammar import parse_settings
from benchmark.params import resolve
from benchmark.registry import Registry
from benchmark.resolve import instantiate_method, resolve_plugin
from benchmark.spec import PluginSpec
from benchmark.training.transition import counted_matrix

Forward = Registry().load("method", "forward")
CrossEntropy = Registry().load("method", "ce")


def saved(folder, matrix, name="T.npy"):
    path = folder / name
    np.save(path, np.asarray(matrix))
    return str(path)


def test_the_identity_is_cross_entropy(tmp_path):
    ours = tiny_run(Forward, matrix=saved(tmp_path, np.eye(3)))
    assert torch.allclose(ours.probabilities, tiny_run(CrossEntropy).probabilities, atol=1e-5)


def test_a_matrix_changes_the_loss(tmp_path):
    ours = tiny_run(Forward, matrix=saved(tmp_path, np.full((3, 3), 0.2) + 0.4 * np.eye(3)))
    assert not torch.allclose(ours.probabilities, tiny_run(CrossEntropy).probabilities, atol=1e-2)


@pytest.mark.parametrize("source", ["anchor", "confident_joint"])
def test_estimates_ask_nobody(source):
    result = tiny_run(Forward, matrix=source)
    assert not result.run.oracle.used
    assert 0 <= result.method.diagnostics()["matrix_noise_rate"] < 1


def test_the_oracle_counts_every_label(tmp_path):
    result = tiny_run(Forward, matrix="oracle")
    assert result.run.oracle.used == {"labels": 60}
    truth = result.run.oracle.labels(np.arange(60))
    expected = counted_matrix(truth, result.method.data.labels.numpy(), 3)
    assert torch.allclose(result.method.log_matrix.exp().double(), torch.from_numpy(expected), atol=1e-6)


def test_without_a_reference_the_oracle_is_an_error(monkeypatch):
    def unknown(self, indices):
        raise LookupError("these data have no reference labels")

    monkeypatch.setattr("benchmark.training.oracle.Oracle.labels", unknown)
    with pytest.raises(BenchmarkError, match=r"^forward\.matrix=oracle cannot be had: these data have no reference labels; use"):
        tiny_run(Forward, matrix="oracle")


def test_labels_are_judged_by_both_the_image_and_the_matrix():
    """Quality is the posterior of the given label; a suspect gets another class, the others keep theirs."""
    method = tiny_run(Forward, matrix="confident_joint").method
    assert torch.allclose(method.posterior.sum(dim=1), torch.ones(60), atol=1e-5)
    corrected, wrong = method.corrected_labels(), method.suspects()
    assert torch.equal(corrected != method.data.labels, wrong)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("three.npy", np.eye(2), r"forward: .*three\.npy holds 2×2 numbers; expected 3×3"),
        ("sums.npy", np.full((3, 3), 0.5), r"forward: row 0 of .*sums\.npy adds up to 1\.5, expected 1"),
        ("negative.npy", np.eye(3) * 2 - 1 / 3, r"forward: .*negative\.npy has -0\.333"),
    ],
)
def test_files_that_hold_no_transition_matrix(tmp_path, name, content, message):
    with pytest.raises(BenchmarkError, match=message) as caught:
        tiny_run(Forward, matrix=saved(tmp_path, content, name))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (
            "anchors",
            r"^forward: unknown source of the matrix 'anchors'; did you mean 'anchor'\?; known: .*; or give a \.csv or \.npy file$",
        ),
        ("", r"^forward: unknown source of the matrix ''"),
    ],
)
def test_what_is_neither_a_word_nor_a_file(matrix, message):
    with pytest.raises(BenchmarkError, match=message):
        resolve(Forward.Params, {"matrix": matrix}, "forward")


def planned(setting, folder):
    registry = Registry()
    return registry, resolve_plugin(registry, "method", parse_settings(setting, what="method")[0], {}, folder)


def test_a_file_that_is_not_there(tmp_path):
    for refused in (lambda: planned("forward:matrix=no/such/T.csv", tmp_path), lambda: tiny_run(Forward, matrix="no/such/T.csv")):
        with pytest.raises(
            BenchmarkError, match=r"^forward: no/such/T\.csv is no file; give the path of one, absolute or from the working"
        ):
            refused()


def test_another_content_is_another_run(tmp_path):
    """The digest of the file is part of a run's key; a planned run does not take another content."""
    path = saved(tmp_path, np.eye(3))
    registry, plugin = planned(f"forward:matrix={path}", tmp_path)
    assert len(plugin.fingerprint) == 16 and set(plugin.params) == {"matrix", "percentile"}
    assert instantiate_method(registry, PluginSpec.from_dict(plugin.to_dict())).params.matrix == path
    saved(tmp_path, np.full((3, 3), 1 / 3))
    assert planned(f"forward:matrix={path}", tmp_path)[1].fingerprint != plugin.fingerprint
    with pytest.raises(BenchmarkError, match=r"^what method forward reads has changed since this run was planned; give the command again$"):
        instantiate_method(registry, plugin)
    assert planned("forward:matrix=anchor", tmp_path)[1].fingerprint is None


def test_a_csv_in_another_order_of_classes_is_put_right(tmp_path):
    path = tmp_path / "T.csv"
    path.write_text("c,b,a\n1,0,0\n0.5,0.5,0\n0,0.25,0.75\n")
    result = tiny_run(Forward, matrix=str(path))
    found = result.method.log_matrix.exp()
    assert torch.allclose(found, torch.tensor([[0.75, 0.25, 0], [0, 0.5, 0.5], [0, 0, 1.0]]), atol=1e-6)
