"""The card of an exported model: what it is, in JSON for machines and in words for people; read without torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmark.clean.design import Design
from benchmark.errors import BenchmarkError

__all__ = [
    "CARD",
    "FOLDER",
    "INTENDED_USE",
    "LIMITS",
    "README",
    "SCHEMA",
    "WEIGHTS",
    "check_weights",
    "model_folder",
    "read_card",
    "readme",
]

FOLDER, CARD, WEIGHTS, README = "model", "card.json", "weights.safetensors", "README.md"
SCHEMA = 1
LARGEST_CARD = 16 * 2**20
"""Bytes; a card holds a name for each class and little more."""

INTENDED_USE = "Research: sorting and checking images like those that it was trained on, with a person who decides."
LIMITS = (
    "Not a medical device; not for diagnosis, treatment or triage.",
    "It knows its classes alone: an image of anything else still gets one of them.",
    "On images of other scanners, stains, sites or patients than those of its training it may be worse, and its probabilities wrong.",
    "Its accuracy was measured against labels that may hold errors themselves.",
)


def model_folder(folder: Path) -> Path:
    """The folder that holds the card: the one given, or ``model`` in it; BenchmarkError if neither does."""
    for candidate in (folder, folder / FOLDER):
        if (candidate / CARD).is_file():
            return candidate
    problem = f"holds no {CARD}" if folder.is_dir() else "is no folder" if folder.exists() else "does not exist"
    raise BenchmarkError(f"{folder} {problem}; give the folder of an exported model, with {CARD} and {WEIGHTS}")


def read_card(folder: Path) -> tuple[dict[str, Any], Design]:
    """A card that somebody wrote, and the design in it.

    Raises:
        BenchmarkError: no JSON object, of another schema, or a design that cannot be; one line.
    """
    path = folder / CARD
    try:
        if path.stat().st_size > LARGEST_CARD:
            raise BenchmarkError(f"{path} is larger than {LARGEST_CARD:,} bytes, so it is not read")
        card = json.loads(path.read_bytes())
    except OSError as error:
        raise BenchmarkError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise BenchmarkError(f"{path} is not JSON: {str(error)[:200]}") from error
    if not isinstance(card, dict):
        raise BenchmarkError(f"{path} must hold a JSON object")
    if card.get("schema") != SCHEMA or type(card.get("schema")) is not int:
        raise BenchmarkError(f"{path} has schema {str(card.get('schema'))[:40]}, this version reads {SCHEMA}; export the model again")
    return card, Design.from_dict(card.get("model"), str(path))


def check_weights(card: Mapping[str, Any], folder: Path) -> None:
    """Refuse weights that are not those which the card was written for: a file cut short, or of another model.

    Raises:
        BenchmarkError: no such file, or another.
    """
    path, told = folder / WEIGHTS, card.get("weights")
    if not path.is_file():
        raise BenchmarkError(f"{path} {'is no file' if path.exists() else 'does not exist'}; copy the whole folder of the model")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not isinstance(told, Mapping) or told.get("sha256") != found:
        raise BenchmarkError(f"{path} is not the file that {folder / CARD} describes; copy the whole folder of the model again")


def readme(card: Mapping[str, Any]) -> str:
    """The card for people, as Markdown in which no foreign text is markup."""
    from reports.escape import markdown

    def said(value: Any) -> str:
        if isinstance(value, Mapping):
            return ", ".join(f"{markdown(str(name))} {said(item)}" for name, item in value.items() if item not in (None, ""))
        return ", ".join(map(said, value)) if isinstance(value, (list, tuple)) else markdown(str(value))

    design, accuracy = card["model"], card["accuracy"]
    height, width, channels = design["shape"]
    lines = [f"# {said(card['title'])}", "", f"Classes: {said(design['classes'])}.", ""]
    lines += [
        f"Input: {'grey' if channels == 1 else 'colour'} images, brought to {height} × {width} px. Backbone: {said(design['backbone'])}."
    ]
    if str(design["features"]).startswith("timm:"):
        lines += [f"It takes features ({said(design['features'])}), whose network is not part of this folder."]
    lines += ["", f"Trained on: {said(card['trained_on'])}.", ""]
    between = f" ({100 * accuracy['low']:.1f} to {100 * accuracy['high']:.1f})" if {"low", "high"} <= set(accuracy) else ""
    lines += [
        f"Accuracy: {100 * accuracy['value']:.1f} %{between} of {accuracy['samples']} held-out images, against {said(accuracy['labels'])}.",
        "",
    ]
    lines += [f"Intended use: {said(card['intended_use'])}", "", "Limits:", ""]
    lines += [f"- {said(limit)}" for limit in card["limits"]]
    lines += ["", f"Licence: {said(card['licence'])}.", "", "Use:", "", "```"]
    lines += ["python -m benchmark predict model images/ --out forecasts.csv", "```"]
    return "\n".join(lines) + "\n"
