"""Published figures beside ours: a small table of sources, and which of its rows a group's method can be held against.

The table is ``published.csv``, a figure a line. Data and noise are settings as on the command line, ``method_params`` the values that
were used where a default would be another thing (several values where they come to the same), ``percent`` is as printed. What is said
to be recomputed comes from a public log and not from a paper. Figures that nobody has opened the source of are not in it, nor are

- methods that are not here: CAL, CORES*, ProMix, UNICON, C2D, PES, T-Revision, VolMinNet, CUFIT, Joint Optimization, INCV, OUSM;
- noise that is not here: LNMBench's instance-dependent noise, which a private network drew, and CIFAR-10N's transition matrices;
- rates at which the true label is no longer the most frequent one: LNMBench's 0.9 with nine classes;
- BadLabel's asymmetric figures of PGDF, whose released command trains on the symmetric labels, and Chaoyang's with foundation models,
  of which neither the address nor the epoch is known.

A network of the literature that has no name here (``8-layer CNN``) keeps its own, and is held against nothing.
"""

from __future__ import annotations

import csv
import dataclasses
import functools
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.errors import BenchmarkError
from benchmark.grammar import Setting, parse_settings

if TYPE_CHECKING:
    from benchmark.registry import Registry
    from reports.rows import Row
    from reports.tables import Summary

__all__ = ["Figure", "Published", "figures", "published_for"]

logger = logging.getLogger(__name__)

FILE = Path(__file__).with_name("published.csv")
DIGITS = 6
"""Of a share: 91.7 % is 0.917 and not the float next to it."""
LOCATED = ("path",)
"""Parameters of a data set that say where it lies and not what it is."""
TOLD = "noise_rate"
"""The parameter by which a method is told how many labels are wrong."""


@dataclass(frozen=True)
class Published:
    """A figure that someone else has printed for the same data, noise, method and backbone.

    Attributes:
        key: of our metric that it is held against, e.g. ``last/accuracy``.
        value: share in [0, 1]. sd: over ``n`` runs, None where unknown.
        source: where it is printed. protocol: how it was made, in a few words.
        difference: our mean minus it; None where we have no such number.
    """

    key: str
    value: float
    sd: float | None
    n: int | None
    source: str
    protocol: str
    difference: float | None = None


@dataclass(frozen=True)
class Figure:
    """A line of the table: a figure and what it is a figure of.

    Attributes:
        method_params: parameter → the values that are what was published; the default where a parameter is not named.
        pretrained: the backbone started from weights of other data.
    """

    dataset: Setting
    noise: Setting
    method: str
    method_params: Mapping[str, tuple[Any, ...]]
    backbone: str
    pretrained: bool
    published: Published


@functools.cache
def figures() -> tuple[Figure, ...]:
    """All lines of the table, read once."""
    with FILE.open(encoding="utf-8", newline="") as file:
        return tuple(_figure(line) for line in csv.DictReader(file))


def published_for(rows: Sequence[Row], values: Mapping[str, Summary]) -> tuple[Published, ...]:
    """The figures that the runs of one method on one data set with one noise under one protocol can be held against.

    Data (with their size and share), noise model, method (with all parameters), backbone and its pretraining must be the same; epochs,
    optimiser and split need not be, and ``protocol`` of a figure says what they were. How a method comes to know the noise rate does not
    count: the published ones were told it.

    Args:
        rows: from :func:`reports.rows.flatten_all`; the first says what they all are.
        values: column key → our mean, from which the difference is taken.
    """
    if not rows:
        return ()
    spec = rows[0]["spec"]
    names = (*(str(spec[kind]["name"]) for kind in ("dataset", "noise", "method")), str(spec["protocol"].get("backbone")))
    pretrained = bool(spec["protocol"].get("pretrained"))
    matching = [one.published for one in _index().get(names, ()) if one.pretrained == pretrained and _is_of(one, spec)]
    return tuple(dataclasses.replace(one, difference=_difference(one, values)) for one in matching)


def _difference(one: Published, values: Mapping[str, Summary]) -> float | None:
    ours = values[one.key].mean if one.key in values else None
    return None if ours is None else ours - one.value


@functools.cache
def _index() -> dict[tuple[str, ...], list[Figure]]:
    index: dict[tuple[str, ...], list[Figure]] = {}
    for figure in figures():
        index.setdefault((figure.dataset.name, figure.noise.name, figure.method, figure.backbone), []).append(figure)
    return index


def _is_of(figure: Figure, spec: Mapping[str, Any]) -> bool:
    try:
        data = {key: value for key, value in spec["dataset"]["params"].items() if key not in LOCATED}
        noise = dict(spec["noise"]["params"])
        if data != _parameters("dataset", str(figure.dataset)) or noise != _parameters("noise", str(figure.noise)):
            return False
        accepted = {key: (value,) for key, value in _parameters("method", figure.method).items()} | dict(figure.method_params)
    except BenchmarkError as error:  # a plugin that cannot be imported here: the report goes without the figure
        logger.warning("figures of others for %s are left out: %s", figure.method, error)
        return False
    params = dict(spec["method"]["params"])
    if TOLD in accepted and TOLD in params:
        told = params[TOLD]
        accepted[TOLD] += (told,) if isinstance(told, str) else (noise.get("rate"),)
    return params.keys() == accepted.keys() and all(value in accepted[key] for key, value in params.items())


@functools.cache
def _parameters(kind: str, text: str) -> dict[str, Any]:
    """Every parameter of a setting, as they stand in the spec of a run with it."""
    from benchmark import params as hyper
    from benchmark.data import options as data_options

    (setting,) = parse_settings(text, what=f"{FILE.name}, {kind}")
    cls = _registry().load(kind, setting.name)
    values: dict[str, Any] = dict(setting.options)
    if setting.argument is not None:
        values[cls.argument] = setting.argument
    own, common = data_options.separate(values) if kind == "dataset" else (values, {})
    params = dataclasses.asdict(hyper.resolve(cls.Params, own, setting.name))
    options = data_options.changed(data_options.read_options(common, setting.name))
    return {key: value for key, value in (params | options).items() if kind != "dataset" or key not in LOCATED}


@functools.cache
def _registry() -> Registry:
    from benchmark.registry import Registry

    return Registry()


def _figure(line: Mapping[str, str]) -> Figure:
    (dataset,) = parse_settings(line["dataset"], what=FILE.name)
    (noise,) = parse_settings(line["noise"], what=FILE.name)
    epochs = f"{line['epochs']} epochs, " if line["epochs"] else ""
    published = Published(
        key=line["metric"],
        value=_share(line["percent"]),
        sd=_share(line["sd"]) if line["sd"] else None,
        n=int(line["n"]) if line["n"] else None,
        source=line["source"],
        protocol=epochs + line["protocol"],
    )
    params = {key: tuple(values) for key, values in json.loads(line["method_params"] or "{}").items()}
    return Figure(dataset, noise, line["method"], params, line["backbone"], line["pretrained"] == "true", published)


def _share(percent: str) -> float:
    return round(float(percent) / 100, DIGITS)
