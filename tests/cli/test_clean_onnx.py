"""``clean --onnx``: what it needs is there before anything runs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmark.cli import main


def test_onnx_is_asked_for_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever lacks its packages is told so at once, and not after the training."""
    (tmp_path / "images").mkdir()
    words = ["clean", str(tmp_path / "images"), "--out", str(tmp_path / "out"), "--onnx"]
    assert main([*words, "--no-model"]) == 2
    assert "--onnx writes the model that --no-model leaves out" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert main(words) == 2
    said = capsys.readouterr().err
    assert said == 'error: export to ONNX needs onnx; install it: python -m pip install "noisy-label-benchmark[onnx]"\n'
    assert not (tmp_path / "out").exists()
