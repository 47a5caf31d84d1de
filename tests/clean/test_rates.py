"""How the runs that ``clean`` asks for are trained."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from benchmark.clean.session import LINEAR_LR, Question, Subject, cells
from benchmark.registry import Registry


@pytest.mark.parametrize(("features", "backbone", "faster"), [("texture", "", True), ("texture", "mlp", False), ("", "", False)])
def test_a_linear_classifier_is_trained_at_a_higher_rate(features, backbone, faster, tmp_path):
    rng = np.random.default_rng(0)
    rows = ["path,label"]
    for number in range(40):
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(tmp_path / f"{number}.png")
        rows.append(f"{number}.png,{number % 2}")
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    question = Question(tmp_path / "labels.csv", "aum", backbone, features=features)
    asked = cells(Subject.read(question, Registry(), tmp_path / "cache", "cpu", quiet=True), tmp_path / "out")
    for spec in (*asked.plain.values(), *asked.check.values()):
        assert (spec.protocol.lr == LINEAR_LR) == faster
