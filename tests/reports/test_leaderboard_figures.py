"""Figures of a leaderboard: what they draw is what the summaries say, whoever has named the methods."""

from __future__ import annotations

import itertools
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest

from reports.board import Board, Chapter, Provenance
from reports.columns import COLUMNS_OF
from reports.leaderboard_figures import MOST_FIGURES, Drawn, draw_all, figures, looks_of
from reports.leaderboard_noise import sections
from reports.leaderboard_parts import Spec, conditions, cut, pages, shorten, spoken, words
from reports.leaderboard_ranks import clique_levels
from reports.leaderboard_trade import front, shelves
from reports.overall import Omnibus as Friedman
from reports.overall import Overall, Standing
from reports.style import RC, looks
from reports.tables import Comparison, Entry, Group, Summary

COLUMNS, COMPACT = COLUMNS_OF["classification"]
ACCURACY = COLUMNS[0]
Values = Mapping[str, float]


def entry(method: str, accuracy: float, *, seconds: float = 10.0, rank: float | None = 1.0, n: int = 3, incomplete: bool = False) -> Entry:
    """Last is 0.1 below, the last k 0.08 below, the best 0.02 above the chosen epoch; intervals reach 0.01 down and 0.02 up."""
    shift = {"last": -0.1, "last_k": -0.08, "selected": 0.0, "best": 0.02}
    values = {f"{rule}/accuracy": Summary(accuracy + by, 0.01, n, accuracy + by - 0.01, accuracy + by + 0.02) for rule, by in shift.items()}
    values["cost/seconds"] = Summary(seconds, 1.0, n, seconds - 1, seconds + 1)
    return Entry(method, method.partition(":")[0], tuple(range(n)), incomplete, rank, values)


def group(entries: Iterable[Entry], noise: str = "symmetric:0.2", dataset: str = "digits", protocol: str = "quick", n: int = 3) -> Group:
    family, _, rate = noise.partition(":")
    known = 0.0 if noise == "none" else float(rate) if rate else None
    return Group(dataset, noise, protocol, tuple(range(n)), (), True, tuple(entries), {}, (), family, known)


def ranked(accuracies: Values, noise: str = "symmetric:0.2", dataset: str = "digits", **more: Any) -> Group:
    order = sorted(accuracies, key=lambda name: -accuracies[name])
    return group([entry(name, accuracies[name], rank=float(place)) for place, name in enumerate(order, 1)], noise, dataset, **more)


def comparison(groups: Sequence[Group], overall: Overall | None = None) -> Comparison:
    return Comparison(ACCURACY, COLUMNS, COMPACT, "ce", tuple(groups), (), "classification", overall)


def standings(averages: Values, **more: Any) -> Overall:
    rows = [Standing(name, name, 0.8, 0.7, 0.9, average, 0, 0) for name, average in sorted(averages.items(), key=lambda item: item[1])]
    usual: dict[str, Any] = {"groups": (0,), "left_out": {}, "ranks": dict.fromkeys(averages, (1.0,)), "friedman": None}
    usual |= {"posthoc": "nemenyi", "pairs": {}, "critical_difference": None, "cliques": (), "too_few": "too few to test: 1 condition of 6"}
    return Overall(standings=tuple(rows), **{**usual, **more})


def chapter(groups: Sequence[Group], overall: Overall | None = None) -> Chapter:
    return Chapter("classification", comparison(groups, overall), {}, {})


def board(*chapters: Chapter) -> Board:
    return Board("leaderboard", chapters, Provenance("", "", "", (), {}, {}))


def specs(groups: Sequence[Group], overall: Overall | None = None) -> dict[str, Spec]:
    return {spec.stem.removeprefix("classification-"): spec for spec in figures(chapter(groups, overall))}


def drawn(spec: Spec) -> Any:
    with matplotlib.rc_context(RC):
        figure = spec.draw()
        figure.draw_without_rendering()
    return figure


CE, HSA = {"none": 0.9, "symmetric:0.2": 0.7, "symmetric:0.4": 0.5}, {"none": 0.88, "symmetric:0.2": 0.8, "symmetric:0.4": 0.72}
RATES = [ranked({"ce": CE[noise], "hsa": HSA[noise]}, noise) for noise in CE]


# --------------------------------------------------------------------------------------------------------------- noise


def test_lines_over_the_noise_rate_are_the_means() -> None:
    spec = specs(RATES)["noise"]
    last, chosen = drawn(spec).axes
    assert [axis.get_ylabel().replace("\n", " ") for axis in (last, chosen)] == [
        "accuracy, last epoch",
        "accuracy, epoch chosen by noisy validation",
    ]
    assert last.get_title(loc="left") == "digits · symmetric" and chosen.get_xlabel() == "noise rate (%)"
    hsa, ce = chosen.lines  # hsa is ahead: ranks 2, 1, 1 against 1, 2, 2
    np.testing.assert_allclose(ce.get_xdata(), [0, 0.2, 0.4])
    np.testing.assert_allclose(ce.get_ydata(), [0.9, 0.7, 0.5])
    np.testing.assert_allclose(hsa.get_ydata(), [0.88, 0.8, 0.72])
    np.testing.assert_allclose(last.lines[1].get_ydata(), [0.8, 0.6, 0.4])
    band = chosen.collections[1].get_paths()[0].vertices
    assert band[:, 1].min() == pytest.approx(0.49) and band[:, 1].max() == pytest.approx(0.92)
    assert last.get_ylim() == chosen.get_ylim() and chosen.get_ylim()[0] < 0.4
    assert [label.get_text() for label in chosen.get_xticklabels()] == ["0", "20", "40"]
    assert "n = 3 seeds" in spec.caption and "95 % bootstrap" in spec.caption
    assert "at a rate of 40 %, hsa has 62.0 % and ce has 40.0 %" in spec.alt


def test_colours_are_those_of_the_whole_board() -> None:
    both = board(chapter(RATES), chapter([ranked({"ce": 0.5, "mine": 0.6}), ranked({"ce": 0.5, "mine": 0.6}, "symmetric:0.4")]))
    dealt = looks_of(both)
    assert dealt == looks(["ce", "hsa", "mine"])
    for part in both.chapters:
        spec = next(spec for spec in figures(part, dealt) if "noise" in spec.stem)
        figure = drawn(spec)
        names = [text.get_text() for text in figure.legends[0].get_texts()]
        assert [line.get_color() for line in figure.axes[0].lines] == [dealt[name].colour for name in names]


def test_many_methods_have_bars_and_several_figures() -> None:
    names = ["ce", *(f"m{number:02}" for number in range(23))]
    levels = {name: 0.9 - 0.01 * place for place, name in enumerate(reversed(names))}  # ce is last
    found = specs([ranked(levels, "none"), ranked(levels, "symmetric:0.2")])
    pages_of = [found[f"noise-{number}"] for number in (1, 2, 3)]
    legends = [[text.get_text() for text in drawn(spec).legends[0].get_texts()] for spec in pages_of]
    assert [len(names) for names in legends] == [10, 10, 9]
    assert all("ce" in names for names in legends) and legends[0][-1] == "15 others"
    assert {name for names in legends for name in names} >= set(names)
    assert "Grey: the 15 methods that the other figures name." in pages_of[0].caption
    axis = drawn(pages_of[0]).axes[1]
    bars = [line for line in axis.lines if line.get_label() == "interval"]
    assert len(bars) == 9
    np.testing.assert_allclose(bars[0].get_ydata()[:2], [levels["m22"] - 0.01, levels["m22"] + 0.02])


@pytest.mark.parametrize(
    "noises", [("none", "symmetric:0.3"), ("none", "symmetric:0.2", "symmetric:0.4"), ("none", "symmetric:0.1", "symmetric:0.4")]
)
def test_methods_stand_apart_by_less_than_a_tenth_of_the_axis(noises: tuple[str, ...]) -> None:
    """A third of the axis would tell of rates that nobody has run."""
    levels = {f"m{number}": 0.9 - 0.01 * number for number in range(9)}
    axis = drawn(specs([ranked(levels, noise) for noise in noises])["noise"]).axes[1]
    starts = [line.get_xdata()[0] for line in axis.lines if line.get_label() != "interval"]
    ends = [line.get_xdata()[-1] for line in axis.lines if line.get_label() != "interval"]
    top = float(noises[-1].partition(":")[2])
    assert len(set(starts)) == 9 and max(starts) == pytest.approx(-min(starts)) and max(starts) <= 0.05 * top
    assert max(ends) - top <= 0.05 * top


def test_the_baseline_may_be_a_setting_of_its_plugin() -> None:
    names = [f"m{number:02}" for number in range(12)] + ["ce:lr=0.1"]
    levels = {name: 0.9 - 0.01 * place for place, name in enumerate(names)}
    spec = specs([ranked(levels, "none"), ranked(levels, "symmetric:0.2")])["noise-1"]
    assert [text.get_text() for text in drawn(spec).legends[0].get_texts()] == [*names[:6], "ce:lr=0.1", "6 others"]


def test_the_clean_condition_belongs_to_every_noise_of_its_data() -> None:
    both = {"ce": 0.5, "hsa": 0.6}
    made = [
        ranked(both, "none"),
        ranked(both, "symmetric:0.2"),
        ranked(both, "asymmetric:0.3"),
        ranked(both, "human"),
        ranked(both, "pairflip:0.2", "tissue"),
    ]
    found = sections(comparison(made))
    assert [(section.title, [part.noise for part in section.groups]) for section in found] == [
        ("digits · symmetric", ["none", "symmetric:0.2"]),
        ("digits · asymmetric", ["none", "asymmetric:0.3"]),
    ]
    other = [*RATES, replace(RATES[1], protocol="long")]
    assert [section.title for section in sections(comparison(other))] == ["digits · symmetric"]


def test_a_method_without_all_seeds_has_no_point() -> None:
    made = [*RATES[:2], group([entry("ce", 0.5), entry("hsa", 0.99, n=2, rank=None, incomplete=True)], "symmetric:0.4")]
    lines = {len(line.get_xdata()) for line in drawn(specs(made)["noise"]).axes[0].lines}
    assert lines == {2, 3}


# --------------------------------------------------------------------------------------------------- costs and epochs


def test_the_front_holds_what_nothing_beats() -> None:
    points = {"slow": (9.0, 0.8), "fast": (1.0, 0.5), "even": (4.0, 0.8), "twin": (1.0, 0.5), "bad": (4.0, 0.7)}
    assert front(points, ACCURACY) == ["fast", "twin", "even"]
    assert front(points, replace(ACCURACY, higher_is_better=False)) == ["fast", "twin"]


def test_costs_are_means_over_the_conditions() -> None:
    def cell(noise: str, ce: float, hsa: float, elr: float) -> Group:
        return group([entry("ce", ce, seconds=10 * ce), entry("hsa", hsa, seconds=40), entry("elr", elr, seconds=80)], noise)

    spec = specs([cell("none", 0.9, 0.8, 0.7), cell("symmetric:0.4", 0.5, 0.8, 0.7)])["cost"]
    (axis,) = drawn(spec).axes
    points = {line.get_color(): (line.get_xdata()[0], line.get_ydata()[0]) for line in axis.lines if len(line.get_xdata()) == 1}
    dealt = looks(["ce", "hsa", "elr"])
    for name, point in {"ce": (7.0, 0.7), "hsa": (40.0, 0.8), "elr": (80.0, 0.7)}.items():
        assert points[dealt[name].colour] == pytest.approx(point)
    (line,) = [line for line in axis.lines if line.get_drawstyle() == "steps-post"]
    np.testing.assert_allclose(line.get_xydata(), [[7, 0.7], [40, 0.8], [80, 0.8]])
    assert axis.get_xscale() == "log" and sorted(text.get_text() for text in axis.texts) == ["ce", "hsa"]
    assert "2 conditions a panel, each over n = 3 seeds" in spec.caption and "the front is ce, hsa" in spec.alt


def test_who_lacks_a_condition_is_left_out_by_name() -> None:
    made = [ranked({"ce": 0.9, "hsa": 0.8, "<elr>": 0.7}), ranked({"ce": 0.9, "hsa": 0.8}, "symmetric:0.4")]
    (shelf,) = shelves(comparison(made), ("selected/accuracy",))
    assert shelf.absent == ("<elr>",) and set(shelf.means["selected/accuracy"]) == {"ce", "hsa"}
    assert "they lack a condition: digits: <elr>." in specs(made)["cost"].caption


def test_every_rule_for_the_epoch_is_a_dot() -> None:
    spec = specs(RATES)["rules"]
    figure = drawn(spec)
    (axis,) = figure.axes
    rules = {line.get_label(): line.get_xdata() for line in axis.lines if line.get_linestyle() == "None"}
    assert list(rules) == ["last epoch", "mean of the last k epochs", "epoch chosen by noisy validation", "best epoch†"]
    hsa, ce = 0.8, 0.7  # means over three conditions
    for label, by in zip(rules, (-0.1, -0.08, 0.0, 0.02), strict=True):
        np.testing.assert_allclose(rules[label], [hsa + by, ce + by])
    assert [label.get_text() for label in axis.get_yticklabels()] == ["hsa", "ce"]
    assert "† chosen with the truth" in spec.caption and "n = 3 seeds" in spec.caption and "12.0 points" in spec.alt


def test_names_of_few_methods_do_not_touch_below_a_long_title() -> None:
    made = [ranked({"ce": 0.7, "hsa": 0.8, "elr": 0.6}, noise, "tissue_slides:0.2:features=texture") for noise in CE]
    figure = drawn(specs(made)["rules"])
    boxes = [label.get_window_extent() for label in figure.axes[0].get_yticklabels()]
    assert len(boxes) == 3 and all(upper.y0 >= lower.y1 for upper, lower in itertools.pairwise(boxes))


def test_metrics_are_written_as_people_write_them() -> None:
    assert words("selected/auroc") == "AUROC, epoch chosen by noisy validation"
    assert [spoken(name) for name in ("dice", "balanced_accuracy", "macro_f1")] == ["Dice", "balanced accuracy", "macro F1"]


# --------------------------------------------------------------------------------------------------------------- ranks


def test_the_heat_map_shows_every_rank() -> None:
    made = [ranked({"ce": 0.9, "hsa": 0.8, "elr": 0.7}), ranked({"ce": 0.5, "hsa": 0.8}, "symmetric:0.4"), ranked({"ce": 0.5}, "none")]
    spec = specs(made, standings({"hsa": 1.5, "ce": 1.52}, groups=(0, 1)))["ranks"]
    (axis,) = drawn(spec).axes
    texts = [text.get_text() for text in axis.texts if text.get_text()]
    assert sorted(texts) == sorted(["2", "1", "1.5", "1", "2", "1.5", "3", "–", "–"])
    assert [label.get_text() for label in axis.get_yticklabels()] == ["hsa", "ce", "elr"]
    assert [label.get_text() for label in axis.get_xticklabels()] == ["symmetric:0.2", "symmetric:0.4", "average rank among the 2 complete"]
    assert len(axis.patches) == 2 and all(patch.get_hatch() for patch in axis.patches)
    assert "2 conditions of digits · quick" in spec.caption and "n = 3 seeds" in spec.caption and "Hatched" in spec.caption
    assert "is first in 1 of them" in spec.alt


def test_averages_of_all_methods_are_called_so() -> None:
    (axis,) = drawn(specs(RATES, standings({"hsa": 1.25, "ce": 1.75}, groups=(0, 1, 2)))["ranks"]).axes
    assert [label.get_text() for label in axis.get_xticklabels()][-1] == "average rank"
    shades = [tuple(colour) for colour in axis.collections[0].get_facecolors()]
    assert shades[0] == shades[5] != shades[4]  # of hsa and ce, in four columns: rank 2, 1, 1, 1.25, 1, 2, 2, 1.75


def test_other_metrics_and_ends() -> None:
    """Ranked by an error: it joins the rows over noise, and the front falls."""
    ece = next(column for column in COLUMNS if column.key == "selected/ece")

    def with_error(one: Group, errors: Values) -> Group:
        return replace(one, entries=tuple(replace(e, values={**e.values, ece.key: Summary(errors[e.method], 0.1, 3)}) for e in one.entries))

    made = [with_error(one, {"ce": 0.3, "hsa": 0.1 * place}) for place, one in enumerate(RATES, 1)]
    found = {spec.stem.rpartition("-")[2]: spec for spec in figures(replace(chapter(made), comparison=replace(comparison(made), rank=ece)))}
    axes = drawn(found["noise"]).axes
    assert [axis.get_ylabel().replace("\n", " ") for axis in axes][2] == "ECE, epoch chosen by noisy validation"
    np.testing.assert_allclose(axes[2].lines[0].get_ydata(), [0.1, 0.2, 0.3])
    assert axes[2].get_ylim() != axes[0].get_ylim() == axes[1].get_ylim()
    assert "the front is ce, hsa" not in found["cost"].alt and "hsa" in found["cost"].alt and "Accuracy" in found["rules"].caption


def test_long_heat_maps_are_several() -> None:
    names = {f"m{number:02}": 0.9 - number / 100 for number in range(26)}
    made = [ranked(names, f"symmetric:{number / 100}") for number in range(1, 26)]
    found = [spec for stem, spec in specs(made).items() if stem.startswith("ranks")]
    assert len(found) == 4 and found[0].title == "Ranks in every condition (1 of 4)"
    cells = [sum(text.get_text().isdigit() for text in drawn(spec).axes[0].texts) for spec in found]
    assert sum(cells) == 26 * 25


def test_critical_differences_are_drawn_where_they_were_tested() -> None:
    averages = {"hsa": 1.25, "elr": 2.0, "ce": 2.75}
    tested = {
        "cliques": (("hsa", "elr"), ("elr", "ce")),
        "critical_difference": 1.1,
        "too_few": "",
        "friedman": Friedman("Friedman", 9.0, 0.0004),
    }
    spec = specs([ranked(averages)], standings(averages, **tested))["cd"]
    (axis,) = drawn(spec).axes
    bars = [line.get_xdata() for line in axis.lines if line.get_linewidth() == 3.2]
    np.testing.assert_allclose(bars, [[1.25, 2.0], [2.0, 2.75]], atol=0.03)
    texts = [text.get_text() for text in axis.texts]
    assert {"hsa", "1.25", "elr", "2.00", "ce", "2.75", "CD = 1.10"} <= set(texts)
    assert "p < 0.001" in spec.caption and "Nemenyi" in spec.caption and "n = 3 seeds" in spec.caption and "2 bars" in spec.alt
    spec = specs([ranked(averages)], standings(averages, cliques=tested["cliques"], critical_difference=1.1))["cd"]
    (axis,) = drawn(spec).axes
    assert not [line for line in axis.lines if line.get_linewidth() == 3.2] and not any("CD" in text.get_text() for text in axis.texts)
    assert "too few to test" in spec.caption and "too few" in spec.alt and "Nemenyi" not in spec.caption


def test_names_of_forty_methods_do_not_touch() -> None:
    averages = {f"method_{number:02}": 1 + number * 0.9 for number in range(40)}
    (axis,) = drawn(specs([ranked(averages)], standings(averages))["cd"]).axes
    boxes = [text.get_window_extent() for text in axis.texts if text.get_text().startswith("method") or "." in text.get_text()]
    assert len(boxes) == 80
    assert not any(one.overlaps(other) for place, one in enumerate(boxes) for other in boxes[:place])


def test_bars_that_touch_stand_on_levels() -> None:
    assert clique_levels([(1, 2), (2, 3), (2.5, 4), (3.5, 5), (6, 7)]) == [0, 1, 0, 1, 0]
    assert clique_levels([]) == []


# --------------------------------------------------------------------------------------------------------------- files

EVIL = ["$x$ <script>", "_a\nb\x07", "方法 مرحبا", "x" * 80, "x" * 79 + "y", "", "a\\b{c}%#_^~&\"'"]


def write(folder: Path, groups: Sequence[Group], overall: Overall | None = None) -> list[Drawn]:
    return draw_all(board(chapter(groups, overall)), folder)


def test_foreign_names_are_text_and_files_stay_the_same(tmp_path: Path) -> None:
    levels = {name: 0.9 - place / 100 for place, name in enumerate(["ce", *EVIL])}
    made = [ranked(levels, noise, "d<b>$1$</b>\n" * 9) for noise in ("none", "symmetric:0.2")]
    overall = standings({name: 1.0 + place for place, name in enumerate(levels)})
    found = write(tmp_path / "one", made, overall)
    assert [one.name.removeprefix("classification-") for one in found] == ["cd", "ranks", "noise", "cost", "rules"]
    for one in found:
        root = ElementTree.parse(one.svg).getroot()
        texts = {"".join(element.itertext()) for element in root.iter("{http://www.w3.org/2000/svg}text")}
        assert {"$x$ <script>", "_a b", "方法 مرحبا", "(no name)", "a\\b{c}%#_^~&\"'"} <= texts, one.name
        assert sum(text.startswith("xxx") and "…" in text and len(text) == 30 for text in texts) == 2
        assert not list(root.iter("{http://www.w3.org/2000/svg}script"))
        assert "x" * 79 + "y" in one.caption and "\n" not in one.caption + one.alt + one.title
        assert "3 seeds" in one.caption and one.alt.endswith(".") and one.task == "classification"
        assert one.png.read_bytes().startswith(b"\x89PNG") and one.svg.stat().st_size < 300_000
    again = write(tmp_path / "two", made, overall)
    assert [one.svg.read_bytes() for one in found] == [one.svg.read_bytes() for one in again]
    assert [one.png.read_bytes() for one in found] == [one.png.read_bytes() for one in again]


def test_file_names_are_safe_and_unique(tmp_path: Path) -> None:
    parts = [Chapter(task, comparison(RATES), {}, {}) for task in ("../Bags of <b>", "classification", "classification", "")]
    found = draw_all(board(*parts), tmp_path)
    names = [one.name for one in found]
    assert len(set(names)) == len(names) == 16 and all(set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-") for name in names)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(f"{name}.{kind}" for name in names for kind in ("svg", "png"))


BARE = replace(RATES[0], entries=tuple(replace(one, values={}, rank=None) for one in RATES[0].entries))


@pytest.mark.parametrize(
    ("groups", "kinds"),
    [
        ([], set()),
        ([BARE, BARE], set()),
        ([replace(RATES[0], entries=())], set()),
        ([ranked({"ce": 0.5})], set()),
        ([ranked({"ce": 0.5}, "none"), ranked({"ce": 0.4})], {"noise"}),
        (RATES[:1], {"ranks", "cost", "rules"}),
        ([replace(one, rate=None) for one in RATES], {"ranks", "cost", "rules"}),
        ([replace(one, solvable=False, entries=tuple(replace(e, rank=None) for e in one.entries)) for one in RATES], {"noise"}),
    ],
)
def test_nothing_empty_is_drawn(groups: Sequence[Group], kinds: set[str], tmp_path: Path) -> None:
    found = write(tmp_path, groups)
    assert {one.name.removeprefix("classification-") for one in found} == kinds
    assert draw_all(board(), tmp_path) == []


def test_one_seed_has_no_interval() -> None:
    def alone(one: Group) -> Group:
        entries = tuple(
            replace(e, values={key: Summary(value.mean, None, 1) for key, value in e.values.items()}, seeds=(0,)) for e in one.entries
        )
        return replace(one, seeds=(0,), entries=entries)

    spec = specs([alone(one) for one in RATES])["noise"]
    assert "n = 1 seed)" in spec.caption and "bootstrap" not in spec.caption
    assert not drawn(spec).axes[0].collections


def test_hundreds_of_figures_are_not_drawn() -> None:
    made = [ranked({"ce": 0.5, "hsa": 0.6}, noise, f"set {number}") for number in range(100) for noise in ("none", "symmetric:0.2")]
    found = list(figures(chapter(made)))
    noise = [spec for spec in found if "noise" in spec.stem]
    assert len(noise) == MOST_FIGURES and "5 more figures of this kind are not drawn" in noise[-1].caption
    (rules,) = [spec for spec in found if "rules" in spec.stem]  # one panel over all
    assert drawn(rules).axes[0].get_title(loc="left") == "all conditions"


@pytest.mark.slow
def test_fifty_conditions_of_twenty_methods(tmp_path: Path) -> None:
    names = ["ce", *(f"method_{number:02}" for number in range(19))]
    made = [
        ranked({name: 0.9 - rate / 2 - 0.01 * ((7 * place + number) % 20) for place, name in enumerate(names)}, noise, f"set {number}")
        for number in range(10)
        for rate, noise in [(0.0, "none"), *((rate, f"symmetric:{rate}") for rate in (0.1, 0.2, 0.4, 0.6))]
    ]
    found = write(tmp_path, made, standings({name: 1.0 + place for place, name in enumerate(names)}, groups=tuple(range(50))))
    assert len(found) == 1 + 3 + 4 + 2 + 1
    assert max(one.svg.stat().st_size for one in found) < 310_000


# --------------------------------------------------------------------------------------------------------------- parts


def test_cut_names_stay_apart() -> None:
    names = ["short", "a" * 40, "a" * 39 + "b", "a" * 20 + "c" + "a" * 19]
    found = cut(names, 12)
    assert found["short"] == "short" and found["a" * 40] == "aaaaaaaa…aaa" and found["a" * 39 + "b"] == "aaaaaaaa…aab"
    assert len(set(found.values())) == 4 and all(len(text) <= 12 for text in found.values())
    assert shorten("0123456789", 10) == "0123456789" and shorten("0123456789a", 10) == "012345…89a"


def test_labels_leave_out_what_all_share() -> None:
    assert conditions(RATES) == (["none", "symmetric:0.2", "symmetric:0.4"], "digits · quick")
    assert conditions(RATES[:1]) == (["none"], "digits · quick")  # one alone has a name, too


def test_pages_are_of_nearly_equal_length() -> None:
    assert [len(page) for page in pages(range(25), 12)] == [8, 9, 8] and pages([], 3) == []
    assert [len(page) for page in pages(range(24), 12)] == [12, 12]
