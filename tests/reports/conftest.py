"""Results as the worker writes them, without training."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from benchmark.spec import PluginSpec, RunSpec
from benchmark.spec import protocol as named_protocol

Result = dict[str, Any]
MakeResult = Callable[..., Result]


@pytest.fixture(scope="session")
def result() -> MakeResult:
    def make(
        method: str = "ce",
        seed: int = 0,
        accuracy: float = 0.8,
        *,
        status: str = "done",
        reason: str | None = None,
        dataset: str = "cells",
        noise: str = "symmetric:0.4",
        fingerprint: str = "v1",
        oracle: list[str] | None = None,
        solvable: bool | None = True,
        corrected: bool = False,
        protocol: dict[str, Any] | None = None,
        metrics: dict[str, Any] | None = None,
        **more: Any,
    ) -> Result:
        shared = dataclasses.replace(named_protocol("quick"), **(protocol or {}))
        plugins = (PluginSpec(method.partition(":")[0], {"label": method}), PluginSpec(dataset, {}, 1, fingerprint))
        labels = {"method": method, "dataset": dataset, "noise": noise}
        spec = RunSpec(*plugins, PluginSpec("symmetric", {"rate": noise}, 1), shared, seed, labels)
        test = {"accuracy": accuracy, "balanced_accuracy": accuracy - 0.1, "macro_f1": 0.5, "auroc": 0.9, "worst_class_recall": 0.4}
        test |= {"ece": 0.05, "nll": 0.7}
        values: dict[str, Any] = {group: dict(test) for group in ("last", "last_k", "selected", "best")}
        values["detection"] = {"f1": 0.6, "average_precision": 0.7, "constant_f1": 0.25, "random_average_precision": 0.125}
        if corrected:
            values["correction"] = {"noise_before": 0.4, "noise_after": 0.1, "kept": 0.9, "recovery": 0.8}
        for key, value in (metrics or {}).items():
            group, name = key.rsplit("/", 1)
            values.setdefault(group, {})[name] = value
        return {
            "schema": 1,
            "run_key": spec.key(),
            "status": status,
            "reason": reason,
            "spec": spec.to_dict(),
            "metrics": values if status == "done" else {},
            "epochs": {"selected": 3},
            "noise": {"solvable": solvable, "realised_rate": 0.4, "transitions": [[1.0]]},
            "oracle": oracle or [],
            "diagnostics": {},
            "cost": {"seconds": 12.0, "samples_per_second": None},
            **more,
        }

    return make
