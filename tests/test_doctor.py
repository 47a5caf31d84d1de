"""``doctor`` finds what is wrong with a machine and says what to do."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmark import doctor
from benchmark.doctor import Check, diagnose


def only(checks: list[Check], name: str) -> Check:
    (found,) = [check for check in checks if check.name == name]
    return found


def test_this_machine_is_described_completely(tmp_path: Path) -> None:
    checks = diagnose(tmp_path / "runs")
    names = [check.name for check in checks]
    expected = {"python", "torch", "cpu", "memory", "disk", "runs folder", "torchvision", "timm", "mlflow", "optuna", "cleanlab"}
    assert expected | {"pandas", "pyarrow", "import datasets", doctor.DATA, doctor.CACHE} <= set(names)
    assert any(name.startswith("gpu") for name in names)
    assert all(check.detail for check in checks)
    assert all(check.advice for check in checks if check.ok is False)
    assert not (tmp_path / "runs").exists()


def test_missing_packages_come_with_their_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    assert doctor._package("timm") == Check("timm", False, "not installed", "pip install 'timm>=1.0.20'")
    assert doctor._package("mlflow").ok is None
    assert doctor._package("mlflow").advice == "pip install 'mlflow>=3.10'"


def test_what_is_asked_for_is_what_the_project_declares() -> None:
    text = (Path(doctor.__file__).parents[1] / "pyproject.toml").read_text()
    for requirement in doctor._NEEDED.values():
        assert f'"{requirement}"' in text


def test_torch_that_cannot_be_imported_is_a_failed_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    (check,) = doctor._torch()
    assert check.ok is False and "pip install" in check.advice


def test_gpus_are_named_with_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    devices = [SimpleNamespace(name="New", total_memory=2**34, major=9), SimpleNamespace(name="Old", total_memory=2**33, major=7)]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", devices.__getitem__)
    checks = doctor._torch()
    assert only(checks, "gpu 0") == Check("gpu 0", True, "New, 16 GiB, bf16 yes")
    assert only(checks, "gpu 1").detail == "Old, 8 GiB, bf16 no"


def test_unusable_runs_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    check = only(doctor._runs_folder(tmp_path / "file" / "runs"), "runs folder")
    assert check.ok is False and "--runs" in check.advice
    assert only(doctor._runs_folder(tmp_path), "runs folder").ok is True
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: usage(1, 1, 2**20))
    assert only(doctor._runs_folder(tmp_path), "disk").ok is None


def test_broken_plugins_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmark.registry.builtin_root", lambda: tmp_path)
    monkeypatch.setenv("BENCHMARK_PLUGINS", str(tmp_path))
    source = "from benchmark.api import Method, method\n@method('{0}')\nclass A(Method):\n    pass\n"
    (tmp_path / "sound.py").write_text(source.format("sound"))
    assert [(check.name, check.ok) for check in doctor._plugins()] == [("plugins", True)]
    (tmp_path / "bad.py").write_text("import absent_module_xyz\n" + source.format("bad"))
    (tmp_path / "worse.py").write_text("def (:\n")
    found = {check.name: check for check in doctor._plugins()}
    assert set(found) == {"method bad", "method worse"}
    assert "absent_module_xyz" in found["method bad"].detail and "bad.py" in found["method bad"].advice
    (tmp_path / "double.py").write_text(source.format("sound"))
    assert "two methods are called 'sound'" in only(doctor._plugins(), "plugins").detail


def test_a_package_called_datasets_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "datasets"
    package.mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "datasets", raising=False)
    importlib.invalidate_caches()
    assert doctor._shadowing()[0].ok is True  # a plain folder gives way to the installed package
    (package / "__init__.py").write_text("")
    importlib.invalidate_caches()
    check = doctor._shadowing()[0]
    assert check.ok is False and str(package) in check.detail
    (package / "arrow_dataset.py").write_text("")
    monkeypatch.setattr(importlib.metadata, "version", lambda _: "4.0")
    assert doctor._shadowing()[0] == Check("import datasets", True, "Hugging Face's, 4.0")


def test_data_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(doctor.DATA, raising=False)
    monkeypatch.setenv(doctor.CACHE, str(tmp_path / "cache"))
    assert [check.ok for check in doctor._data_folders()] == [None, True]
    assert not (tmp_path / "cache").exists()
    monkeypatch.setenv(doctor.DATA, str(tmp_path))
    assert doctor._data_folders()[0] == Check(doctor.DATA, True, str(tmp_path))
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(doctor.DATA, str(tmp_path / "absent"))
    monkeypatch.setenv(doctor.CACHE, str(tmp_path / "file"))
    checks = doctor._data_folders()
    assert [check.ok for check in checks] == [False, False] and all(check.advice for check in checks)


def test_a_check_that_breaks_down_does_not_stop_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def _cpu() -> list[Check]:
        raise RuntimeError("no such file")

    monkeypatch.setattr(doctor, "_cpu", _cpu)
    checks = diagnose(tmp_path)
    assert only(checks, "cpu") == Check("cpu", False, "RuntimeError: no such file", "please report this")
    assert only(checks, "memory")
