"""The samples to look at: likely wrong ones by what is confused with what, doubtful ones, and hard ones apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmark.clean.answer import Answer
from benchmark.clean.verdict import NOISY
from benchmark.html_page import image, text
from reports.clean_page.reading import Selection
from reports.clean_page.words import chance, name, named, share

__all__ = ["Pictures", "figure", "gallery"]

Pictures = Mapping[int, tuple[str, bytes]]
"""Sample → media type and content; a sample without a picture is not in it."""
SMALLEST_GROUP = 3
"""Pictures of a pair of classes that get a heading of their own."""
MOST_GROUPS = 30


def gallery(answer: Answer, chosen: Selection, pictures: Pictures) -> str:
    """The three sections, those that are empty with a sentence."""
    parts = [_likely(answer, chosen, pictures)]
    if chosen.doubtful:
        words = (
            "The rest of what you asked to look at: more suspicious than other labels, and yet more likely right than wrong. "
            "The most suspicious come first."
        )
        parts.append(_section("doubtful", "Worth a look, but may be right", words, answer, [("", chosen.doubtful)], pictures))
    if chosen.hard:
        words = (
            "Their labels are probably right, but the images are hard to learn: unusual, unclear, or between two classes. "
            "Do not remove them: a model learns most from these. The hardest come first."
        )
        parts.append(_section("hard", "Hard, but probably right", words, answer, [("", chosen.hard)], pictures))
    return "\n".join(parts)


def _likely(answer: Answer, chosen: Selection, pictures: Pictures) -> str:
    groups = _by_pair(answer, chosen.likely)
    lines = []
    if chosen.likely:
        lines.append("Grouped by what is confused with what, the most frequent first; within a group the surest first.")
    else:
        lines.append("No label of those to look at is more likely wrong than right.")
    beyond = int((answer.verdict.state == NOISY).sum()) - len(chosen.likely)
    if beyond > 0:
        lines.append(f"{named(beyond, 'more label')} {'is' if beyond == 1 else 'are'} likely wrong and not shown; labels.csv has them.")
    return _section("likely", "Likely wrong", " ".join(lines), answer, groups, pictures, _legend(answer))


def _by_pair(answer: Answer, samples: Sequence[int]) -> list[tuple[str, tuple[int, ...]]]:
    """HTML of a heading and its samples; pairs with few samples stand together at the end, without one's own heading."""
    pairs: dict[tuple[int, int], list[int]] = {}
    for i in samples:
        pairs.setdefault((int(answer.scores.given[i]), int(answer.verdict.suggested[i])), []).append(i)
    sizes = sorted(pairs, key=lambda pair: (-len(pairs[pair]), pair))
    large = [pair for pair in sizes if len(pairs[pair]) >= SMALLEST_GROUP][:MOST_GROUPS]
    found = [(_pair(answer, *pair, len(pairs[pair])), tuple(pairs[pair])) for pair in large]
    rest = [i for i in samples if (int(answer.scores.given[i]), int(answer.verdict.suggested[i])) not in large]
    if rest:
        found.append((f"{'Other pairs' if found else 'All pairs'} <small>{named(len(rest), 'label')}</small>", tuple(rest)))
    return found


def _pair(answer: Answer, given: int, suggested: int, many: int) -> str:
    if given == suggested:
        return f"labelled {name(answer.classes[given])}, no better class known <small>{named(many, 'label')}</small>"
    return (
        f'labelled <span class="wrong">{name(answer.classes[given])}</span>, looks like '
        f'<span class="right">{name(answer.classes[suggested])}</span> <small>{named(many, "label")}</small>'
    )


def _legend(answer: Answer) -> str:
    """What the small bars below the pictures say."""
    if not answer.scores.methods:
        return ""
    names = ", ".join(name(method) for method in answer.scores.methods)
    return (
        '<p class="legend"><span class="votes" aria-hidden="true"><i class="yes" style="--v:95%"></i><i style="--v:45%"></i></span> '
        f"one bar for each method, from the left {names}: the taller, the more suspicious it finds the label next to all others; "
        "a red bar: it calls the label wrong. The number behind the class that a picture looks like says how sure the models are of it.</p>"
    )


def _section(
    kind: str, title: str, words: str, answer: Answer, groups: Sequence[tuple[str, Sequence[int]]], pictures: Pictures, above: str = ""
) -> str:
    many = sum(len(samples) for _, samples in groups)
    parts = [f'<section class="kind" id="{kind}" aria-labelledby="h{kind}">', f'<h2 id="h{kind}">{title} <small>{many:,}</small></h2>']
    parts += [f"<p>{text(words)}</p>", above]
    for heading, samples in groups:
        shown = "\n".join(figure(answer, i, kind, pictures.get(i)) for i in samples)
        parts.append('<div class="group">' + (f"<h3>{heading}</h3>" if heading else "") + f'<div class="pictures">\n{shown}\n</div></div>')
    return "\n".join([*filter(None, parts), "</section>"])


def figure(answer: Answer, i: int, kind: str, picture: tuple[str, bytes] | None, note: str = "") -> str:
    """One sample: its picture, what it is labelled, what it looks like, how likely the label is wrong, and who says so.

    Args:
        kind: ``likely``, ``doubtful``, ``hard`` or ``copy``, which the page's filters know.
        note: HTML of a line more.
    """
    path, verdict = answer.paths[i], answer.verdict
    given, suggested = answer.classes[answer.scores.given[i]], answer.classes[verdict.suggested[i]]
    same = answer.scores.given[i] == verdict.suggested[i]
    if picture is None:
        shown = '<div class="blank">no picture</div>'
    else:
        sharp = "" if picture[0] == "image/png" else 'class="smooth" '
        shown = image(*picture, f"{path}, labelled {given}", f'{sharp}loading="lazy" decoding="async"')
    looks = f'{name(suggested)} <small class="sure">{share(verdict.confidence[i])}</small>'
    lines = [
        f'<div class="said"><span>labelled</span> <b{"" if same else " class=wrong"}>{name(given)}</b></div>',
        f'<div class="said"><span>looks like</span> <b{"" if same else " class=right"}>{looks}</b></div>',
        f'<div class="chance" style="--p:{100 * verdict.wrong[i]:.0f}%"><b>{text(chance(verdict.wrong[i]))}</b> likely wrong</div>',
        _votes(answer, i),
        ""
        if answer.scores.true is None
        else f'<div class="said"><span>truly</span> <b>{name(answer.classes[answer.scores.true[i]])}</b></div>',
        note,
        f'<div class="path">{name(path)}</div>',
    ]
    return f'<figure class="sample" data-i="{i}" data-kind="{kind}">{shown}<figcaption>{"".join(lines)}</figcaption></figure>'


def _votes(answer: Answer, i: int) -> str:
    scores = answer.scores
    if not scores.methods:
        return ""
    marks = zip(scores.methods, scores.suspicion[:, i].tolist(), scores.flagged[:, i].tolist(), strict=True)
    bars, told = [], []
    for method, value, flagged in marks:
        bars.append(f'<i{" class=yes" if flagged else ""} style="--v:{100 * value:.0f}%"></i>')
        told.append(f"{method} {share(value)}{' wrong' if flagged else ''}")
    words = f"{int(scores.flagged[:, i].sum())} of {len(scores.methods)} methods call it wrong"
    label = text(f"{words}; rank among all labels: {', '.join(told)}")
    count = f"<small>{int(scores.flagged[:, i].sum())} of {len(scores.methods)}</small>"
    votes = f'<span class="votes" role="img" aria-label="{label}" title="{label}">{"".join(bars)}</span>'
    return f'<div class="said">{votes} {count}</div>'
