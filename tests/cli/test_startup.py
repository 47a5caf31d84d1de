"""Help and listings must come at once: whoever mistypes a flag should not wait for torch."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "numpy", "pandas", "mlflow", "optuna", "sklearn", "scipy", "matplotlib")
CODE = """
import sys
from benchmark.cli import main
code = main(sys.argv[1:])
print("LOADED", code, *[name for name in {heavy!r} if name in sys.modules], file=sys.stderr)
"""


@pytest.mark.parametrize(
    "words",
    ["--help", "run --help", "list", "list methods", "list presets --json", "list backbones", "version", "run --seeds x", "list metods"],
)
def test_what_needs_no_data_loads_nothing_heavy(words: str) -> None:
    command = [sys.executable, "-c", CODE.format(heavy=HEAVY), *words.split()]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    code = "2" if words.endswith((" x", "metods")) else "0"
    assert done.stderr.splitlines()[-1].split() == ["LOADED", code]


def test_as_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "benchmark", "nonsense"], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert done.stderr.startswith("error: No such command 'nonsense'")
    assert len(done.stderr.splitlines()) == 1


def test_no_words_show_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    from benchmark.cli import main

    assert main([]) == 2
    assert "Commands:" in capsys.readouterr().out
