"""Seconds of fine-tuning and AUROC of tiles over the share of negatives, from histories made by hand."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest

from benchmark.errors import BenchmarkError
from reports.style import RC
from reports.tuning_cost import Cost, Method, costs_of, draw, in_words, write_figure

TWO = Method("hnm", {0.1: Cost([0.2, 0.4], [0.6, 0.8]), 1.0: Cost([2.0, 4.0], [0.9, 0.9])})
ALL = Method("its", {1.0: Cost([3.0], [])})


class Store:
    """Rows of finished runs, with a history each."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.rows = folder, list[dict[str, Any]]()

    def run(self, method: str, *epochs: Any, share: Any = None, auroc: float | None = 0.9, **more: Any) -> Path:
        """A run whose epochs of fine-tuning took so long, in two stages, after ten seconds on bags; returns its folder."""
        key, params = f"{len(self.rows):016x}", {"rank_k": 10} | ({} if share is None else {"neg_ratio": share})
        row = {"run_key": key, "method": method, "protocol": "quick", "instances/auroc": auroc, "identity": {"cell": "cell"}}
        self.rows.append({**row, "spec": {"method": {"name": method.partition(":")[0], "params": params}}, **more})
        lines = [("mil-0", 10.0), *((f"finetune-{number // 2}", seconds) for number, seconds in enumerate(epochs)), ("train", 20.0)]
        folder = self.folder / key
        folder.mkdir()
        text = "".join(json.dumps({"stage": stage, "seconds": seconds}) + "\n" for stage, seconds in lines)
        (folder / "history.jsonl").write_text(text)
        return folder

    def costs(self) -> list[Method]:
        return costs_of(self.rows, self.folder.joinpath)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


# ------------------------------------------------------------------------------------------------------------------- runs


def test_the_median_epoch_of_fine_tuning_by_hand(store: Store) -> None:
    """Of 1, 2, 9 and of 3, 5, whatever the stages on bags took."""
    store.run("hnm:neg_ratio=1.0", 7.0, share=1.0, auroc=None)
    store.run("hnm:neg_ratio=0.1", 9.0, 1.0, 2.0, share=0.1, auroc=0.7)
    store.run("hnm:neg_ratio=0.1", 3.0, 5.0, share=0.1, auroc=0.8)
    assert store.costs() == [Method("hnm", {0.1: Cost([2.0, 4.0], [0.7, 0.8]), 1.0: Cost([7.0], [])})]
    assert list(store.costs()[0].costs) == [0.1, 1.0]


def test_a_method_without_the_share_takes_all_negatives(store: Store) -> None:
    store.run("its2clr", 6.0)
    store.run("hnm:neg_ratio=0.05", 1.0, share=0.05)
    assert store.costs() == [Method("hnm", {0.05: Cost([1.0], [0.9])}), Method("its2clr", {1.0: Cost([6.0], [0.9])})]


def test_one_share_is_nothing_to_compare(store: Store) -> None:
    store.run("its2clr", 6.0)
    store.run("hnm:neg_ratio=1.0", 6.0, share=1.0)
    store.run("abmil")
    assert store.costs() == []
    store.run("hnm", 6.0, share=0.2, identity={"cell": "of other data"})
    assert store.costs() == []


def test_runs_without_a_history_or_without_fine_tuning_are_left_out(store: Store) -> None:
    store.run("hnm", 1.0, share=0.2)
    (store.run("its2clr", 6.0) / "history.jsonl").unlink()
    assert store.costs() == []
    store.run("abmil")
    assert store.costs() == []
    store.run("its2clr", 8.0)
    assert store.costs()[1].costs == {1.0: Cost([8.0], [0.9])}


def test_lines_and_shares_that_are_none(store: Store) -> None:
    folder = store.run("hnm", 1.0, "9", None, True, -1.0, float("nan"), 10**400, 3.0, share=0.2)
    with (folder / "history.jsonl").open("a") as file:
        file.write('[1]\n{"stage": "finetune-x", "seconds": 50}\n{"stage": ["finetune-0"]}\n{"stage": "finetune-9", "seconds": 60}')
    store.run("its2clr", 6.0)
    for share in (0.0, -0.5, 1.5, float("nan"), "0.5", True, [0.5], 10**400):
        store.run("odd", 1.0, share=share)
    store.rows[1]["spec"]["method"]["params"] = None
    assert [(method.name, dict(method.costs)) for method in store.costs()] == [
        ("hnm", {0.2: Cost([2.0], [0.9])}), ("its2clr", {1.0: Cost([6.0], [0.9])}),
    ]  # fmt: skip


def test_a_history_that_cannot_be_read_is_one_line(store: Store) -> None:
    store.run("its2clr", 6.0)
    file = store.run("hnm", 1.0, share=0.2) / "history.jsonl"
    file.unlink()
    file.mkdir()
    with pytest.raises(BenchmarkError, match=r"history\.jsonl cannot be read \(Is a directory\); run the cell again$"):
        store.costs()


def test_names_lose_the_share_and_stay_apart(store: Store) -> None:
    for name, share, more in (
        ("hnm:neg_ratio=0.1:rank_weight=0.0", 0.1, {"rank_weight": 0.0}),
        ("hnm:neg_ratio=1.0:rank_weight=0.0", 1.0, {"rank_weight": 0.0}),
        ("hnm:neg_ratio=0.1 #a1b2", 0.1, {}),
        ("hnm", 0.2, {}),
        ("hnm:neg_ratio=0.5", 0.5, {"of": "another version"}),
    ):
        store.run(name, 1.0, share=share)
        store.rows[-1]["spec"]["method"]["params"].update(more)
    found = {method.name: list(method.costs) for method in store.costs()}
    assert sorted(found.values()) == [[0.1, 0.2], [0.1, 1.0], [0.5]] and found.pop("hnm:rank_weight=0.0") == [0.1, 1.0]
    assert len(found) == 2 and all(re.fullmatch(r"hnm #[0-9a-f]{4}", name) for name in found)  # two versions


def test_cells_are_never_mixed(store: Store) -> None:
    for cell, protocol in (("a", "quick"), ("b", "paper"), ("c", "alone")):
        for share in (0.1, 1.0)[: 1 if cell == "c" else 2]:
            store.run(f"hnm:neg_ratio={share}", 1.0, share=share, identity={"cell": cell}, protocol=protocol)
    assert [(method.name, list(method.costs)) for method in store.costs()] == [("hnm · paper", [0.1, 1.0]), ("hnm · quick", [0.1, 1.0])]


# ----------------------------------------------------------------------------------------------------------------- figure


def bars(ax: Any, number: int) -> np.ndarray:
    """(points, 2) ends of a method's bars."""
    return np.array([segment[:, 1] for segment in ax.containers[number].lines[2][0].get_segments()])


def test_points_bars_and_axes() -> None:
    with matplotlib.rc_context(RC):
        figure = draw([TWO])
    seconds, auroc = figure.axes
    assert seconds.get_xscale() == "log" and [label.get_text() for label in seconds.get_xticklabels()] == ["0.1", "1"]
    (times, aurocs) = (ax.containers[0].lines[0] for ax in (seconds, auroc))
    np.testing.assert_allclose(times.get_xydata(), [[0.1, 0.3], [1.0, 3.0]])
    np.testing.assert_allclose(aurocs.get_ydata(orig=False), [0.7, 0.9])
    assert times.get_color() == aurocs.get_color()
    np.testing.assert_allclose(bars(seconds, 0), [[0.3 - 0.02**0.5, 0.3 + 0.02**0.5], [3 - 2**0.5, 3 + 2**0.5]])  # n − 1
    np.testing.assert_allclose(bars(auroc, 0), [[0.7 - 0.02**0.5, 0.7 + 0.02**0.5], [0.9, 0.9]])
    assert seconds.get_ylabel() == "time an epoch of fine-tuning (s)" and auroc.get_ylabel() == "AUROC of test tiles"
    assert seconds.get_ylim()[0] < 0 < seconds.get_ylim()[1]
    caption = " ".join(figure.get_supxlabel().split())
    assert caption == "Points: means over seeds (n = 2); bars: ± 1 sample sd. Time: a run's median epoch of fine-tuning."


def test_bars_end_where_no_value_can_be() -> None:
    with matplotlib.rc_context(RC):
        figure = draw([Method("hnm", {0.1: Cost([0.0, 0.2], [0.7, 1.0])})])
    np.testing.assert_allclose(bars(figure.axes[0], 0), [[0, 0.1 + 0.02**0.5]])
    np.testing.assert_allclose(bars(figure.axes[1], 0), [[0.85 - 0.045**0.5, 1]])


def test_methods_at_the_same_share_stand_beside_each_other() -> None:
    with matplotlib.rc_context(RC):
        figure = draw([TWO, ALL])
    (hnm, its) = (container.lines[0] for container in figure.axes[0].containers)
    low, left = hnm.get_xdata()
    (right,) = its.get_xdata()
    assert low == 0.1 and left < 1 < right and left * right == pytest.approx(1)
    assert figure.axes[1].containers[1].lines[0].get_xdata().size == 0  # not known
    assert (hnm.get_color(), hnm.get_marker()) != (its.get_color(), its.get_marker())
    caption = " ".join(figure.get_supxlabel().split())
    assert "(n = 1 to 2)" in caption and caption.endswith("Methods stand beside each other at the same share.")


def test_one_seed_without_the_truth_of_tiles() -> None:
    with matplotlib.rc_context(RC):
        figure = draw([ALL])
    assert len(figure.axes) == 1 and "bars" not in figure.get_supxlabel() and "(n = 1)" in figure.get_supxlabel()


def test_labels_of_near_shares_do_not_touch() -> None:
    with matplotlib.rc_context(RC):
        figure = draw([Method("hnm", {share: Cost([1.0], []) for share in (0.01, 0.011, 0.1, 0.12, 1.0)})])
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["0.01", "0.1", "1"]


def test_what_is_told_of_the_figure() -> None:
    assert in_words([TWO, ALL]) == (
        "Seconds an epoch of fine-tuning and AUROC of test tiles over neg_ratio. "
        "hnm: 0.3 s and AUROC 70.0 % at 0.1, 3 s and AUROC 90.0 % at 1; its: 3 s at 1"
    )


def test_names_are_plain_text_and_files_the_same(tmp_path: Path) -> None:
    methods = [Method("_a<b>$x$\n", TWO.costs), ALL]
    paths = write_figure(methods, tmp_path)
    assert [path.name for path in paths] == ["tuning_cost.svg", "tuning_cost.png"]
    svg = paths[0].read_text()
    for text in ("_a&lt;b&gt;$x$", "its", "neg_ratio, share of the negative tiles (log)"):
        assert f">{text}<" in svg, text
    before = [path.read_bytes() for path in paths]
    assert [path.read_bytes() for path in write_figure(methods, tmp_path)] == before


@pytest.mark.parametrize("methods", [[], [Method("hnm", {})]])
def test_nothing_to_draw_is_one_line(methods: list[Method], tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match="no run has fine-tuned"):
        write_figure(methods, tmp_path)
    assert list(tmp_path.iterdir()) == []
