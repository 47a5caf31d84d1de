"""What the page says first, in words for people who know their images and not the literature."""

from __future__ import annotations

import math

from benchmark.clean.answer import Answer
from benchmark.clean.rater_voice import VOICE
from benchmark.clean.verdict import SelfCheck
from benchmark.html_page import text
from reports.clean_page.reading import MOST_SAMPLES, expected_wrong, worth_a_look
from reports.clean_page.words import between, how_many, named, share

__all__ = ["TOGETHER", "UNEXPLAINED", "raters_note", "summary"]

UNEXPLAINED = (
    "The labels are not what most raters say, or most have no rater, so the check changes a label but not what the raters said of it, "
    "and their disagreement gives it away: the check, and what follows from it, look better than they are."
)
TOGETHER = (
    "The check changes labels and the raters' answers with them, as if each rater erred on their own; where several err together, on the "
    "same hard images, their errors are harder to find than it says, and more labels are wrong."
)


def raters_note(answer: Answer) -> str:
    """How far the check can be believed where several raters contribute to the answer; empty where none does."""
    if answer.verdict.check.kind == VOICE:
        return TOGETHER
    return UNEXPLAINED if VOICE in answer.verdict.weights else ""


def summary(answer: Answer) -> str:
    """The answer, how far to trust it, what needs care, and what to do next."""
    said, tiles, trust = (part.replace(" %", "&nbsp;%") for part in (_answer(answer), _tiles(answer), _trust(answer.verdict.check)))
    parts = [said, tiles, _care(answer), f'<div class="both">{trust}\n{_next(answer)}</div>']
    return '<section class="answer" id="answer" aria-label="The answer">\n' + "\n".join(filter(None, parts)) + "\n</section>"


def _answer(answer: Answer) -> str:
    rate, n = answer.verdict.noise_rate, len(answer.paths)
    about = f"About <b>{share(rate.value)}</b> of the labels are wrong: some <b>{how_many(rate.value * n)}</b> of {n:,}"
    inside = f" (95 % interval: {between(rate)}, or {between(rate, n)} labels)" if between(rate) else ""
    none = " It may be that hardly any is: the interval reaches down to none." if rate.low * n < 1 <= rate.high * n else ""
    asked = worth_a_look(answer)
    expected = expected_wrong(answer, asked)
    spread = f" ({between(expected, 1)})" if between(expected, 1) else ""
    wrong = f"about <b>{how_many(expected.value)}</b>{spread} of them are expected to be wrong"
    look = f"Look first at the <b>{named(asked, 'label')}</b>{' below' * (asked <= MOST_SAMPLES)}: {wrong}"
    chance = f"; among as many picked at random it would be about {how_many(asked * rate.value)}" if asked < n else ""
    return f'<p class="lede">{about}{inside}.{none} {look}{chance}.</p>'


def _tiles(answer: Answer) -> str:
    verdict, n = answer.verdict, len(answer.paths)
    flagged, asked = int(verdict.flagged.sum()), worth_a_look(answer)
    expected = expected_wrong(answer, asked)
    tiles = [
        (share(verdict.noise_rate.value), "of the labels are wrong", between(verdict.noise_rate)),
        (f"{asked:,}", "labels are worth a look", f"of {n:,}"),
        (how_many(expected.value), "wrong ones expected among them", between(expected, 1)),
    ]
    if verdict.precision is not None:
        near = f"{share(verdict.precision.value)} of these are expected to be"
        tiles.append((f"{flagged:,}", "are called wrong", near))
    else:
        tiles.append(("none", "is called wrong", f"no set of labels is {share(answer.target)} sure"))
    shown = "".join(f"<div><dt>{text(title)}<small>{text(below)}</small></dt><dd>{text(value)}</dd></div>" for value, title, below in tiles)
    return f'<dl class="tiles">{shown}</dl>'


def _care(answer: Answer) -> str:
    """What is wrong for certain, or spoils numbers; each a link to where it is shown."""
    twins, audit = answer.audit.twins, answer.audit
    clash, near = (sum(t.conflict and t.exact == exact for t in twins) for exact in (True, False))
    leaks = sum(twin.leak for twin in twins)
    found: list[tuple[str, str]] = []
    if answer.verdict.check.by_chance:
        weak = "The labels that were changed on purpose were found no more often than by chance, for all one can tell"
        found.append(("answer", f"{weak}: do not act on the numbers of this page."))
    if raters_note(answer):
        found.append(("answer", raters_note(answer)))
    if clash:
        have = "group of identical images has" if clash == 1 else "groups of identical images have"
        found.append(("copies", f"{clash:,} {have} different labels: in each, at least one label is wrong for certain."))
    if near:
        found.append(("copies", f"{named(near, 'group')} of images that look alike {'has' if near == 1 else 'have'} different labels."))
    if leaks:
        where = f"{named(leaks, 'group')} of copies {'lies' if leaks == 1 else 'lie'} in more than one part or group of the data"
        found.append(("copies", f"{where}: accuracies measured on these parts are too high."))
    if audit.unreadable:
        was = "was" if len(audit.unreadable) == 1 else "were"
        found.append(("copies", f"{named(len(audit.unreadable), 'file')} could not be read and {was} left out."))
    lines = "".join(f'<li><a href="#{place}">{text(line)}</a></li>' for place, line in found)
    return f'<div class="note care"><h2>Needs care</h2><ul>{lines}</ul></div>' if found else ""


def _trust(check: SelfCheck) -> str:
    means = f"For this check {named(check.changed, 'label')} were changed on purpose and the whole search was run again. "
    if not math.isfinite(check.found.value) or not math.isfinite(check.precision.value):
        said = "It called none of them wrong, so nothing can be said of what it finds: trust only your own eyes."
        return f'<div class="trust"><h2>How far to trust this</h2><p>{text(means + said)}</p></div>'
    found, missed, false = (round(100 * value) for value in (check.found.value, 1 - check.found.value, 1 - check.precision.value))
    means += (
        f"It found about {found} of every 100 of them and missed {missed}; of every 100 labels that it called wrong, about {false} "
        f"{'was' if false == 1 else 'were'} right. "
    )
    if check.kind == VOICE:
        means += "They were changed as your raters err, with answers that fit: take your own eyes as the last word all the same."
    else:
        means += (
            "People confuse classes that look alike, which is harder to find than a random change: take these figures as what is "
            "possible at best, and your own eyes as the last word."
        )
    return f'<div class="trust"><h2>How far to trust this</h2><p><b>{text(check.sentence())}</b> {text(means)}</p></div>'


def _next(answer: Answer) -> str:
    asked = worth_a_look(answer)
    steps = [
        f"<b>Look</b> at the {named(min(asked, MOST_SAMPLES), 'picture')} below, or at the first {named(asked, 'line')} of "
        "<code>labels.csv</code>, which has every label with how likely it is wrong.",
        "<b>Decide</b>: in <code>labels.csv</code> put the right class into the last column, <code>label</code>"
        '<span class="scripted">; or press <em>right</em>, <em>wrong</em> or <em>unsure</em> below the pictures, and then <em>Save '
        "decisions</em> for <code>decisions.csv</code></span>.",
        "<b>Train again</b> with either file as the option <code>label_file</code> of your data set, and repeat this search: the share of "
        "wrong labels should have fallen.",
    ]
    if answer.model is not None:
        known = "" if answer.model_accuracy is None else f", which is right on {share(answer.model_accuracy)} of held-out samples"
        steps.append(
            f"<b>Until then</b> there is a model trained on the labels as corrected by this search{known}: "
            f"<code>{text(str(answer.model))}</code>."
        )
    items = "".join(f"<li>{step}</li>" for step in steps)
    return f'<div class="next"><h2>What to do next</h2><ol>{items}</ol></div>'
