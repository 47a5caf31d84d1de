"""The harness's side of a run: it knows the truth, evaluates every epoch, and keeps what the metrics need."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmark import profiling
from benchmark.files import append_line, atomic_write_text
from benchmark.tasks.base import Task
from benchmark.training.history import SampleHistory

Evaluator = Callable[[Any], dict[str, Tensor]]
Event = Callable[[dict[str, Any]], None]


class RunObserver:
    """Writes history.jsonl and keeps the probabilities of the last k, the selected and the best epoch.

    Args:
        path: history.jsonl.
        images: part (``val``, ``test``) → (m, C, H, W) uint8 on the device (or (m, D) features), or the same by rows.
        labels: part → (m,) int64 (or masks); noisy for ``val``, true for ``test``.
        wrong: (n,) bool, True = the training label is wrong.
        history: the run's training history, for the fit to wrong and to right labels.
        last_k: how many of the last epochs to keep.
        tick: called after every epoch with its line (progress, lease).
        task: how forecasts are scored, and what is kept of them.

    The selected epoch has the highest headline metric (accuracy, of masks Dice) on the noisy validation part; ties go to the lower
    cross-entropy there, then to the earlier epoch. The best epoch has the highest on the test part, the earlier one on a tie.
    """

    def __init__(
        self,
        path: Path,
        images: dict[str, Any],
        labels: dict[str, np.ndarray],
        wrong: Tensor,
        history: SampleHistory,
        last_k: int,
        tick: Event,
        task: Task,
    ) -> None:
        self._path, self._images, self._labels, self._tick = path, images, labels, tick
        self._wrong, self._history, self._last_k, self._task = wrong, history, last_k, task
        self.lines: list[dict[str, Any]] = []
        self.earlier_seconds = 0.0  # of epochs that an attempt before this one trained
        self.last: list[tuple[int, Tensor]] = []  # (epoch, (t, K)) of the last k epochs
        self.selected: dict[str, Any] = {}
        self.best: dict[str, Any] = {}
        self.auxiliary: dict[str, Tensor] = {}
        self._attached: dict[str, Tensor] = {}  # what the task keeps beside the forecasts of the latest epoch
        self.rounds: list[tuple[int, Tensor]] = []  # (labels paid for, (t, K)) of each round of an active method

    @profiling.timed("evaluation")
    def after_epoch(self, line: dict[str, Any], predict: Evaluator | None, *, final: bool = True) -> None:
        """Complete, write and announce one line; evaluate where a predictor is given, and choose among epochs of the final stage."""
        line["time"] = datetime.now(UTC).isoformat(timespec="milliseconds")
        if predict is not None:
            test, val = self._evaluate(line, predict)
            if final:
                self._choose(line, test, val)
        self.lines.append(line)
        append_line(self._path, line)
        self._tick(line)

    @profiling.timed("evaluation")
    def after_round(self, paid: int, predict: Evaluator) -> None:
        """Keep the test probabilities of the model that so many labels bought."""
        self.rounds.append((paid, self._task.kept(_kept(predict(self._images["test"])[""]), "round")))

    def _evaluate(self, line: dict[str, Any], predict: Evaluator) -> tuple[Tensor, Tensor]:
        predicted = {part: {name: _kept(p) for name, p in predict(images).items()} for part, images in self._images.items()}
        test, val = predicted["test"].pop(""), predicted["val"].pop("")
        score, headline = self._task.score, self._task.headline
        line[f"test_{headline}"] = score(test, self._labels["test"])
        line[f"val_{headline}"] = score(val, self._labels["val"])
        nll = self._task.log_loss(val, self._labels["val"])
        line["val_nll"] = nll if np.isfinite(nll) else None
        attached = {part: {name: values.pop(name) for name in list(values) if name.startswith("_")} for part, values in predicted.items()}
        self._attached = {f"{part}_selected{name}": p for part, values in attached.items() for name, p in values.items()}
        for name, probabilities in predicted["test"].items():
            line[f"test_{headline}_{name}"] = score(probabilities, self._labels["test"])
        self.auxiliary = {name: self._task.kept(probabilities, "aux") for name, probabilities in predicted["test"].items()}
        return test, val

    def _choose(self, line: dict[str, Any], test: Tensor, val: Tensor) -> None:
        epoch, nll = int(line["epoch"]), line["val_nll"]
        given = self._history.values[epoch] if epoch < self._history.epochs else None  # a final stage may be longer
        for name, mask in (("fit_wrong", self._wrong), ("fit_right", ~self._wrong)):
            fit = float("nan") if given is None else given[mask].nanmean().item()
            line[name] = fit if np.isfinite(fit) else None
        kept, headline = self._task.kept, self._task.headline
        self.last = [*self.last, (epoch, kept(test, "last"))][-self._last_k :]
        score = (line[f"val_{headline}"], float("-inf") if nll is None else -nll)
        if not self.selected or score > tuple(self.selected["score"]):
            self.selected = {"epoch": epoch, "score": score, "test": kept(test, "selected"), "val": kept(val, "val")}
            self.selected |= self._attached
        if not self.best or line[f"test_{headline}"] > self.best["score"]:
            self.best = {"epoch": epoch, "score": line[f"test_{headline}"], "test": kept(test, "best")}

    def predictions(self) -> dict[str, np.ndarray]:
        """The arrays of predictions.npz that come from evaluation; empty where no epoch was evaluated."""
        if not self.last:
            return {}
        arrays = {
            "test_last_k": torch.stack([p for _, p in self.last]).numpy(),
            "epochs_last_k": np.array([epoch for epoch, _ in self.last]),
            "test_selected": self.selected["test"].numpy(),
            "val_selected": self.selected["val"].numpy(),
            **{name: p.numpy() for name, p in self.selected.items() if "_selected_" in name},
            "epoch_selected": np.array(self.selected["epoch"]),
            "test_best": self.best["test"].numpy(),
            "epoch_best": np.array(self.best["epoch"]),
        }
        if self.rounds:
            arrays["round_paid"] = np.array([paid for paid, _ in self.rounds])
            arrays["round_test"] = torch.stack([p for _, p in self.rounds]).numpy()
        return arrays | {f"aux_{name}": p.numpy() for name, p in self.auxiliary.items()}

    def state_dict(self) -> dict[str, Any]:
        """For checkpoints."""
        return {
            "lines": json.dumps(self.lines),
            "last": [list(item) for item in self.last],
            "selected": dict(self.selected),
            "best": dict(self.best),
            "auxiliary": dict(self.auxiliary),
            "rounds": [list(item) for item in self.rounds],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore; history.jsonl loses the lines of epochs that will be trained again."""
        self.lines = json.loads(state["lines"])
        self.earlier_seconds = sum(line["seconds"] for line in self.lines)
        self.last = [(int(epoch), p.cpu()) for epoch, p in state["last"]]
        self.selected = _to_cpu(state["selected"])
        self.best = _to_cpu(state["best"])
        self.auxiliary = _to_cpu(state["auxiliary"])
        self.rounds = [(int(paid), p.cpu()) for paid, p in state["rounds"]]
        atomic_write_text(self._path, "".join(json.dumps(line) + "\n" for line in self.lines))


def _to_cpu(state: dict[str, Any]) -> dict[str, Any]:
    return {name: value.cpu() if isinstance(value, Tensor) else value for name, value in state.items()}


def _kept(forecast: Tensor) -> Tensor:
    """On the CPU with the digits that its task needs: float64 stays, all else is float32."""
    return forecast.cpu() if forecast.dtype == torch.float64 else forecast.float().cpu()
