"""What of a run's folder a tracking store shows: parameters, curves, final numbers, tags. Nothing here knows MLflow."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeGuard

from benchmark.errors import BenchmarkError
from benchmark.files import read_lines
from benchmark.profiling.summary import FOLDER, PROFILE, read_profile
from benchmark.spec import SWEEP, TUNED, PluginSpec, RunSpec, canonical_json, is_trial

PARAM_LIMIT = 6000
"""Characters that MLflow keeps of a parameter."""
TAG_LIMIT = 5000
NAME_LIMIT = 250
EXPERIMENT_LIMIT = 256
"""Of an experiment's name; sqlite takes more, PostgreSQL refuses it."""
SYSTEM_LINES = 1000
"""Lines of ``system.jsonl`` that are mirrored at most; a longer file is thinned evenly."""
SAMPLES_LIMIT = 5_000_000
"""Bytes above which samples.parquet stays in the run's folder only."""
CUT = " … (cut)"

_ARTIFACTS = ("spec.json", "result.json", "history.jsonl", "samples.parquet", f"{FOLDER}/{PROFILE}")
_KINDS = ("method", "dataset", "noise")
_FORBIDDEN = re.compile(r"[^A-Za-z0-9_\-. ]")


@dataclass(frozen=True)
class Point:
    """One value of a curve; the timestamp is in Unix milliseconds."""

    name: str
    value: float
    timestamp: int
    step: int


@dataclass(frozen=True)
class RunRecord:
    """A committed run as a tracking store shows it.

    Attributes:
        run_key, result_sha: which run, and sha256 of its ``result.json``.
        experiment: the name of the experiment it belongs to: data set and protocol.
        name: for people.
        ok: False for a run that diverged.
        started, finished: Unix milliseconds.
        params: the whole spec, flattened.
        points: curves and final numbers; names are unique per step.
        dataset, digest: name and version of the training data.
        artifacts: the files to copy.
    """

    run_key: str
    result_sha: str
    experiment: str
    name: str
    ok: bool
    started: int
    finished: int
    params: dict[str, str]
    points: list[Point]
    tags: dict[str, str]
    dataset: str
    digest: str
    artifacts: list[Path] = field(default_factory=list)


def read_record(folder: Path) -> RunRecord:
    """Read a committed run's folder.

    Raises:
        BenchmarkError: there is no result, or it cannot be understood; one line that names the file.
    """
    path = folder / "result.json"
    try:
        raw = path.read_bytes()
        result = json.loads(raw)
        spec = result["spec"]
        if result["run_key"] != folder.name:
            raise BenchmarkError(f"{path} belongs to run {result['run_key']}")
        labels = {kind: spec.get("labels", {}).get(kind) or PluginSpec.from_dict(spec[kind]).label() for kind in _KINDS}
        started, finished = _milliseconds(result["started"]), _milliseconds(result["finished"])
        return RunRecord(
            run_key=result["run_key"],
            result_sha=hashlib.sha256(raw).hexdigest(),
            experiment=_experiment(labels["dataset"], spec["protocol"], (spec.get("labels") or {}).get(SWEEP)),
            name=_cut(f"{labels['method']} · {labels['noise']} · seed {spec['seed']}", NAME_LIMIT),
            ok=result["status"] != "diverged",
            started=started,
            finished=finished,
            params=_params(spec),
            points=_unique([*_curves(folder, started), *_system(folder), *_final(result, finished), *_profile(folder, finished)]),
            tags=_tags(result, spec, labels) | ({"named": _named(folder)} if is_trial(spec) else {}),
            dataset=_cut(labels["dataset"], 500),
            digest=_digest(spec["dataset"].get("fingerprint"), labels["dataset"]),
            artifacts=[file for name in _ARTIFACTS if _is_wanted(file := folder / name)],
        )
    except FileNotFoundError:
        raise BenchmarkError(f"{path} does not exist: the run has no result yet") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise BenchmarkError(f"{path} cannot be read: {type(error).__name__}: {error}") from error


def metric_name(*parts: Any) -> str:
    """A name that MLflow accepts: words joined by ``/``, other characters than letters, digits and ``_-. `` replaced."""
    words = [_FORBIDDEN.sub("_", word).strip() for part in parts for word in str(part).split("/")]
    return "/".join(word for word in words if word.strip(". "))[:NAME_LIMIT]


def _experiment(dataset: str, protocol: Mapping[str, Any], sweep: str | None = None) -> str:
    """Data set and protocol; the trials of a search, whose protocols differ, are together in one of their own."""
    if sweep:
        return f"{_cut(dataset, 400)} / sweep-{sweep[:80]}"
    values = {key: value for key, value in protocol.items() if key != "name"}  # as in the run's key: a name changes nothing
    digest = hashlib.sha256(canonical_json(values).encode()).hexdigest()[:8]
    return f"{_cut(dataset, EXPERIMENT_LIMIT - 92)} / {_cut(protocol['name'], 80)}-{digest}"


def _params(spec: Mapping[str, Any]) -> dict[str, str]:
    params: dict[str, Any] = {"seed": spec["seed"]}
    for kind in _KINDS:
        plugin = spec[kind]
        params[kind] = plugin["name"]
        params |= {f"{kind}.{key}": value for key, value in plugin.get("params", {}).items()}
        for key in ("version", "fingerprint"):  # with an underscore, because a plugin may have a parameter of that name
            if plugin.get(key) is not None:
                params[f"{kind}_{key}"] = plugin[key]
    params |= {f"protocol.{key}": value for key, value in spec["protocol"].items()}
    return {metric_name(key): _cut(str(value), PARAM_LIMIT) for key, value in params.items()}


def _tags(result: Mapping[str, Any], spec: Mapping[str, Any], labels: Mapping[str, str]) -> dict[str, str]:
    host = result.get("host") or {}
    oracle = result.get("oracle") or []
    tags = {
        "kind": "run",
        "run_key": result["run_key"],
        "code_hash": result.get("code_hash"),
        "status": result["status"],
        "reason": result.get("reason"),
        **labels,
        **{name: (spec.get("labels") or {}).get(name) for name in (SWEEP, TUNED)},
        "seed": spec["seed"],
        "oracle": ", ".join(map(str, oracle)),
        "git_commit": _first(host, "git_commit", "commit", "git"),
        "host": _first(host, "machine", "hostname", "host"),
        "device": host.get("device"),
    }
    tags["mlflow.source.git.commit"] = tags["git_commit"]
    return {key: _cut(str(value), TAG_LIMIT) for key, value in tags.items() if value not in (None, "")}


def _named(folder: Path) -> str:
    """Whether a command has asked for a trial by name: its spec.json, unlike its result, is no trial's then."""
    try:
        spec = RunSpec.from_dict(json.loads((folder / "spec.json").read_bytes()))
    except Exception:  # whatever a broken file makes of it
        return "false"
    return "false" if is_trial(spec.to_dict()) else "true"


def _curves(folder: Path, started: int) -> Iterator[Point]:
    """One point per number of ``history.jsonl``; without a time in the line, the start plus the seconds so far."""
    elapsed = 0.0
    for line in read_lines(folder / "history.jsonl"):
        epoch, stage, _ = line.pop("epoch", None), line.pop("stage", "train"), line.pop("epochs", None)  # the last is a constant
        if not _is_number(epoch):
            continue
        seconds = line.get("seconds")
        elapsed += seconds if _is_number(seconds) else 0.0
        moment = line.pop("time", None)
        timestamp = started + int(elapsed * 1000) if moment is None else _milliseconds(moment)
        for name, value in _numbers(line):
            yield Point(metric_name(stage, name), value, timestamp, int(epoch))


def _system(folder: Path) -> Iterator[Point]:
    """The samples that a monitor of the run left, thinned to :data:`SYSTEM_LINES`."""
    lines = [line for line in read_lines(folder / "system.jsonl") if _is_number(line.get("time"))]
    for step, line in enumerate(lines[:: math.ceil(len(lines) / SYSTEM_LINES) or 1]):
        timestamp = _milliseconds(line.pop("time"))
        for name, value in _numbers(line):
            yield Point(metric_name("system", name), value, timestamp, step)


def _final(result: Mapping[str, Any], finished: int) -> Iterator[Point]:
    cost = result.get("cost") or {}
    groups = {
        "final": result.get("metrics"),
        "epochs": result.get("epochs"),
        "noise": result.get("noise"),
        "diagnostics": result.get("diagnostics"),
        "cost": cost,
        "system": {**(result.get("host") or {}), "peak_memory_mb": cost.get("peak_memory_mb")},
    }
    for group, values in groups.items():
        for name, value in _numbers(values or {}):
            yield Point(metric_name(group, name), value, finished, 0)


def _profile(folder: Path, finished: int) -> Iterator[Point]:
    """Where the seconds of a profiled run went; its trace stays in its folder."""
    profile = read_profile(folder) or {}
    for name, value in _numbers({name: profile.get(name) for name in ("parts", "samples_per_second")}):
        yield Point(metric_name("profile", name.removeprefix("parts/")), value, finished, 0)


def _numbers(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """The finite numbers of nested objects, with keys joined by ``/``; null, NaN, text and lists are left out."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{prefix}{key}/")
        elif _is_number(value):
            yield f"{prefix}{key}", float(value)


def _unique(points: list[Point]) -> list[Point]:
    """One point for each name and step, the last: an epoch that a resumed run did again counts once."""
    return [point for point in {(point.name, point.step): point for point in points}.values() if point.name]


def _digest(fingerprint: str | None, label: str) -> str:
    if fingerprint and len(fingerprint) <= 36:
        return fingerprint
    return hashlib.sha256((fingerprint or label).encode()).hexdigest()[:36]


def _milliseconds(moment: Any) -> int:
    if _is_number(moment):
        return int(moment * 1000)
    parsed = datetime.fromisoformat(moment)
    return int((parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp() * 1000)


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_wanted(file: Path) -> bool:
    return file.is_file() and (file.name != "samples.parquet" or file.stat().st_size < SAMPLES_LIMIT)


def _first(values: Mapping[str, Any], *keys: str) -> Any:
    return next((values[key] for key in keys if values.get(key)), None)


def _cut(text: str, limit: int) -> str:
    """The text, cut, without what databases refuse: NUL, and half characters of file names that are no UTF-8."""
    text = text.replace("\0", "�").encode("utf-8", "replace").decode()
    return text if len(text) <= limit else text[: limit - len(CUT)] + CUT
