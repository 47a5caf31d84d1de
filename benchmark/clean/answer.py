"""All that ``clean`` has to say, whatever the format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmark.clean.audit import Audit
from benchmark.clean.raters import Raters
from benchmark.clean.scores import Scores
from benchmark.clean.verdict import Verdict

__all__ = ["Answer"]


@dataclass(frozen=True)
class Answer:
    """The result for one set of images.

    Attributes:
        source: what was read. classes: K names. paths: n, relative to ``base``.
        base: the folder that paths start from.
        scores, verdict, audit: see there. raters: None where there is one label a sample.
        budget: how many labels the person wants to look at; target: the precision asked for.
        model: folder of the exported model, None without one. model_accuracy: on held-out samples, against labels judged right.
        provenance: what was run, in words → value: command, version, methods, backbone, seconds, hardware, commit.
        runs: method → keys of its runs (as they are, with known wrong labels).
        left_out: method that was asked and does not count → why, in words.
        by_answers: share of wrong labels by the raters' answers alone, where these explain the labels; it needs no images, and takes the
            raters to err on their own.
    """

    source: str
    classes: tuple[str, ...]
    paths: tuple[str, ...]
    base: Path
    scores: Scores
    verdict: Verdict
    audit: Audit
    raters: Raters | None
    budget: int
    target: float
    model: Path | None
    model_accuracy: float | None
    provenance: Mapping[str, str]
    runs: Mapping[str, tuple[str, ...]]
    left_out: Mapping[str, str] = field(default_factory=dict)
    by_answers: float | None = None
