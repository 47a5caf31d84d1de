"""The training samples most likely mislabelled, as a gallery that folds away."""

from __future__ import annotations

from benchmark.html_page import image, text
from reports.suspects import Gallery, Suspect

__all__ = ["gallery"]


def gallery(found: Gallery | None) -> str:
    """The samples with their labels and votes; empty without a gallery."""
    if found is None:
        return ""
    if not found.suspects:
        return f'<p class="note">{text(found.note or "no training sample stands out")}</p>'
    many = len(found.suspects)
    title = f"{many} training {'samples' if many > 1 else 'sample'} most likely mislabelled"
    voters = f"of {found.n} at seed {found.seed}, by the votes of {len(found.methods)} methods: {', '.join(found.methods)}"
    note = f"<p>{text(found.note)}</p>" if found.note else ""
    figures = "\n".join(_figure(suspect) for suspect in found.suspects)
    inner = f'<p>{text(voters)}</p>{note}<div class="pictures">\n{figures}\n</div>'
    return f'<details class="fold gallery"><summary>{title}</summary>{inner}</details>'


def _figure(suspect: Suspect) -> str:
    name = suspect.path or f"sample {suspect.index}"
    if suspect.picture is None:
        shown = '<div class="blank">no picture here</div>'
    else:
        shown = image(*suspect.picture, f"{name}, labelled {suspect.given}", 'loading="lazy" decoding="async"')
    lines = [f"labelled <b>{text(suspect.given)}</b>{_verdict(suspect.given, suspect.true)}"]
    if suspect.suggested is not None:
        lines.append(f"suggested <b>{text(suspect.suggested)}</b>{_verdict(suspect.suggested, suspect.true)}")
    if suspect.true is not None and suspect.true not in (suspect.given, suspect.suggested):
        lines.append(f"truly <b>{text(suspect.true)}</b>")
    lines.append(f"{suspect.votes} of {suspect.voters} methods; top {100 * suspect.rank:.3g} %")
    lines.append(f'<span class="path">{text(f"{suspect.index}: {suspect.path}" if suspect.path else f"index {suspect.index}")}</span>')
    return f"<figure>{shown}<figcaption>{'<br>'.join(lines)}</figcaption></figure>"


def _verdict(label: str, true: str | None) -> str:
    """Whether a label is the truth, in words as well as in colour; nothing where nobody knows."""
    if true is None:
        return ""
    return ' <span class="right">right</span>' if label == true else ' <span class="wrong">wrong</span>'
