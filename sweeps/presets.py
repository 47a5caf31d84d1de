"""Questions that are asked often, as TOML files: the options of ``sweep`` by their names."""

from __future__ import annotations

import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import Any

from benchmark.errors import BenchmarkError, unknown_name

__all__ = ["FOLDER", "preset_files", "read_preset"]

FOLDER = Path(__file__).resolve().parent / "presets"
QUESTION = "question"
"""The key of the sentence that says what a preset asks."""
LISTS = ("search", "sets")
NUMBERS = ("trials", "batch", "sampler_seed", "epochs")


def preset_files() -> dict[str, Path]:
    """Name → file of the presets that come with the project."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.toml"))}


def read_preset(text: str, known: Collection[str]) -> dict[str, Any]:
    """The options that a preset gives.

    Args:
        text: the name of a preset, or the path of a TOML file.
        known: the options that it may give, with underscores; in the file ``set`` stands for ``sets`` and ``-`` for ``_``.

    Raises:
        BenchmarkError: no such preset, not TOML, an option that does not exist, or a value of another type.
    """
    presets = preset_files()
    if not text.endswith(".toml") and text not in presets:
        raise unknown_name("preset", text, presets, "or give the path of a .toml file")
    path = presets.get(text, Path(text))
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BenchmarkError(f"--preset {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BenchmarkError(f"--preset {path} is not TOML: {' '.join(str(error).split())}") from None
    found: dict[str, Any] = {}
    for name, value in content.items():
        if name == QUESTION:
            continue
        option = "sets" if name == "set" else name.replace("-", "_")
        if option not in known:
            offered = sorted({"set" if one == "sets" else one.replace("_", "-") for one in known})
            raise unknown_name(f"option in {path.name}", name, offered)
        found[option] = _checked(path, name, option, value)
    return found


def _checked(path: Path, name: str, option: str, value: Any) -> Any:
    if option in LISTS:
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return value
        wanted = "a list of texts"
    elif option in NUMBERS:
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        wanted = "a whole number"
    else:
        if isinstance(value, str):
            return value
        wanted = "a text"
    raise BenchmarkError(f"--preset {path}: {name} = {value!r} is not {wanted}")
