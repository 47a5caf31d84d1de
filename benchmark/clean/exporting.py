"""The networks that a run has kept, with a card, as a folder that stands for itself; byte for byte the same for the same run and card."""

from __future__ import annotations

import hashlib
import json
import math
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.clean import weights as weight_file
from benchmark.clean.card import CARD, FOLDER, INTENDED_USE, LIMITS, README, SCHEMA, WEIGHTS, readme
from benchmark.errors import BenchmarkError, unknown_name
from benchmark.files import TEMPORARY, atomic_write_bytes, atomic_write_text
from benchmark.store import MODEL, RESULT

__all__ = ["SAYABLE", "export_model"]

SAYABLE = ("title", "trained_on", "accuracy", "intended_use", "limits", "licence", "notes")
"""What a caller may say in the card; all else comes from the run."""
DIGITS = 6
Z = 1.959964
"""Of the normal distribution, for 95 %."""


def export_model(run_folder: Path, out: Path, card: Mapping[str, Any]) -> Path:
    """Write ``out/model/`` with weights.safetensors, card.json and README.md; a model that lies there is replaced as a whole.

    Args:
        run_folder: of a finished run that has kept its networks.
        out: the folder above; made if need be.
        card: what the caller says, of :data:`SAYABLE`: ``trained_on`` (name → value) is added to what the run says,
            ``accuracy`` replaces it (``value``, ``samples``, ``labels`` in words, perhaps ``low`` and ``high``), the others replace the
            defaults.

    Returns:
        ``out/model``.

    Raises:
        BenchmarkError: a run without networks or result, a word that a card does not have, or something else in that place.
    """
    for name in card:
        if name not in SAYABLE:
            raise unknown_name("entry of a model's card", name, SAYABLE)
    if "accuracy" in card and not {"value", "samples", "labels"} <= set(card["accuracy"]):
        raise BenchmarkError("the accuracy of a model's card needs value, samples and labels (in words)")
    target = out / FOLDER
    if target.exists() and not (target / CARD).is_file():
        raise BenchmarkError(f"{target} exists and holds no {CARD}; it is not overwritten, choose another folder")
    result = _result(run_folder)
    if not (run_folder / MODEL).is_file():
        raise BenchmarkError(f"run {run_folder} has kept no networks ({MODEL}); run it again with keep_model")
    tensors, design = weight_file.read(run_folder / MODEL)
    if design is None:
        raise BenchmarkError(f"{run_folder / MODEL} does not say how its networks are built; run the cell again")
    weight_file.build(design, tensors, str(run_folder / MODEL))
    data = weight_file.contents(tensors)
    scale, bias = (tensors[name].double().numpy() for name in (weight_file.SCALE, weight_file.BIAS))
    text = {
        "schema": SCHEMA,
        "title": "Image classifier",
        "model": design.to_dict(),
        "input": _input(design.features, scale, bias),
        "accuracy": _accuracy(run_folder),
        "intended_use": INTENDED_USE,
        "limits": list(LIMITS),
        "licence": "as the images that it was trained on; the code is Apache-2.0",
        **{name: value for name, value in card.items() if name != "trained_on"},
        "trained_on": {**_trained_on(result), **dict(card.get("trained_on", {}))},
        "run": {name: result[name] for name in ("run_key", "code_hash")},
        "versions": {"benchmark": result["host"]["benchmark"], "python": result["host"]["python"], **result["host"]["versions"]},
        "date": result["finished"],
        "weights": {"file": WEIGHTS, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()},
    }
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{FOLDER}.", suffix=TEMPORARY, dir=out) as temporary:
        made, former = Path(temporary) / "new", Path(temporary) / "old"
        made.mkdir()
        atomic_write_bytes(made / WEIGHTS, data)
        atomic_write_text(made / CARD, json.dumps(text, indent=1, sort_keys=True, allow_nan=False) + "\n")
        atomic_write_text(made / README, readme(text))
        if target.exists():
            target.rename(former)
        made.rename(target)
    return target


def _result(folder: Path) -> dict[str, Any]:
    """A finished run's result; BenchmarkError if there is none."""
    try:
        result = json.loads((folder / RESULT).read_bytes())
        needed = (result["status"], result["run_key"], result["code_hash"], result["finished"], result["spec"], result["data"])
        assert needed
        assert {"benchmark", "python", "versions"} <= set(result["host"])
    except OSError as error:
        raise BenchmarkError(f"{folder} holds no finished run ({error.strerror or error})") from error
    except Exception as error:  # whatever a foreign file lacks
        raise BenchmarkError(f"{folder / RESULT} is no result of a run; run the cell again") from error
    if result["status"] != "done":
        raise BenchmarkError(f"run {folder} has no model: it ended as {result['status']} ({result.get('reason')})")
    return dict(result)


def _trained_on(result: Mapping[str, Any]) -> dict[str, Any]:
    """Which data and how; names without paths, because a model travels and its maker's folders do not concern anybody."""
    spec, data = result["spec"], result["data"]
    return {
        "data": spec["dataset"]["name"],
        "images": data["n_train"],
        "class_counts": data["train_class_counts"],
        "method": spec["method"]["name"],
        "noise": spec["noise"]["name"],
        "epochs": spec["protocol"]["epochs"],
        "pretrained": spec["protocol"]["pretrained"],
        "seed": spec["seed"],
    }


def _accuracy(folder: Path) -> dict[str, Any]:
    """Of the last epoch's networks, which are the ones kept, with its 95 % interval (Wilson 1927)."""
    from reports.run_files import read_arrays

    arrays = read_arrays(folder / "predictions.npz", ("test_last_k", "test_labels"))
    right = arrays["test_last_k"][-1].argmax(axis=1) == arrays["test_labels"]
    labels = "the labels of the run's test part, as they were given to it"
    n, share = len(right), float(right.mean())
    middle, half = (share + Z**2 / (2 * n)) / (1 + Z**2 / n), Z * math.sqrt(share * (1 - share) / n + (Z / (2 * n)) ** 2) / (1 + Z**2 / n)
    numbers = {"value": share, "low": max(0.0, middle - half), "high": min(1.0, middle + half)}
    return {**{name: round(number, DIGITS) for name, number in numbers.items()}, "samples": n, "labels": labels}


def _input(features: str, scale: np.ndarray, bias: np.ndarray) -> dict[str, Any]:
    """How files become what the networks take, in words, and the normalisation of pixels in [0, 1]."""
    words = "upright by EXIF, 8 bits, without alpha; the shorter side scaled (bicubic), the centre cut out"
    if features:
        return {"preprocessing": words, "normalisation": "of each feature, in the weights file: features * scale + bias"}
    mean, std = -bias / scale / 255, 1 / scale / 255
    numbers = {"mean": [round(float(x), DIGITS) for x in mean], "std": [round(float(x), DIGITS) for x in std]}
    return {"preprocessing": words, "normalisation": {**numbers, "of": "pixels / 255"}}
