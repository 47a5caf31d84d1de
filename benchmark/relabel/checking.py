"""What makes an answer unusable; all problems are gathered before anything is refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from benchmark.errors import BenchmarkError, unknown_name

MOST_SHOWN = 20
"""More problems than these are only counted."""


class RefusedError(BenchmarkError):
    """Answers that cannot be merged.

    Attributes:
        problems: one line each.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        several = f" (and {len(self.problems) - 1} more)" if len(self.problems) > 1 else ""
        super().__init__(f"nothing was imported: {self.problems[0]}{several}")

    def lines(self) -> list[str]:
        """What to print: how many problems there are, then at most :data:`MOST_SHOWN` of them, then how many are left."""
        shown = [f"  {problem}" for problem in self.problems[:MOST_SHOWN]]
        rest = len(self.problems) - len(shown)
        count = f"{len(self.problems)} problem{'s' * (len(self.problems) != 1)}"
        return [f"nothing was imported, the labels are as they were; {count}:", *shown, *([f"  … and {rest} more"] if rest else [])]


class Problems:
    """Gathers problems."""

    def __init__(self) -> None:
        self._found: list[str] = []

    def add(self, text: str) -> None:
        """Add one line; what a file holds may not steer the terminal."""
        self._found.append("".join(c if c.isprintable() else "?" for c in " ".join(text.split())))

    def refuse_any(self) -> None:
        """Raise :class:`RefusedError` if there are any."""
        if self._found:
            raise RefusedError(self._found)


@dataclass(frozen=True)
class Export:
    """What answers are checked against.

    Attributes:
        set: name of the export.
        classes: K names.
        given: index → class name of each exported sample.
    """

    set: str
    classes: tuple[str, ...]
    given: Mapping[int, str]


@dataclass(frozen=True)
class Answer:
    """What one person said of one sample, as the file has it.

    Attributes:
        where: place in the file, for messages.
        set, index, given: as text.
        labels: the classes chosen; one, or it is a problem.
        who, when: empty where the file does not say.
        source, sha256: name and digest of the file.
    """

    where: str
    set: str
    index: str
    given: str
    labels: tuple[str, ...]
    who: str = ""
    when: str = ""
    source: str = ""
    sha256: str = ""


def matching(export: Export, answers: Sequence[Answer], file: str, problems: Problems) -> list[Answer]:
    """The answers that are for this export and name one of its classes.

    Args:
        export: what was asked.
        answers: of one file.
        file: its name, for messages.
        problems: takes what does not fit; answers for another export are one problem, however many they are.
    """
    for name, count in Counter(answer.set for answer in answers if answer.set != export.set).items():
        problems.add(f"{file} has {count} answers for set '{name[:40]}'; this export is set {export.set}: give the --export they belong to")
    found = []
    for answer in answers:
        if answer.set == export.set:
            problem = _problem(export, answer)
            if problem is None:
                found.append(answer)
            else:
                problems.add(problem)
    return found


def _problem(export: Export, answer: Answer) -> str | None:
    index = int(answer.index) if answer.index.isascii() and answer.index.isdigit() and len(answer.index) < 19 else -1
    if index not in export.given:
        return f"{answer.where}: index '{answer.index[:40]}' is not in the export"
    if answer.given != export.given[index]:
        return f"{answer.where}: the given label is '{answer.given[:60]}'; it was exported as '{export.given[index]}'"
    if len(answer.labels) != 1:
        return f"{answer.where}: {len(answer.labels)} classes are chosen ({', '.join(answer.labels)[:100]}); expected one"
    if answer.labels[0] not in export.classes:
        return f"{answer.where}: {unknown_name('class', answer.labels[0][:60], export.classes)}"
    return None


def contradictions(answers: Sequence[Answer], problems: Problems) -> list[Answer]:
    """One answer for each sample; those who agree are named together.

    Args:
        answers: of all files, each for a sample of the export.
        problems: takes answers of different classes for the same sample.
    """
    by_index: dict[int, list[Answer]] = {}
    for answer in answers:
        by_index.setdefault(int(answer.index), []).append(answer)
    found = []
    for index, several in by_index.items():
        first = several[0]
        other = next((answer for answer in several if answer.labels != first.labels), None)
        if other is not None:
            who = "two annotators contradict each other" if first.who != other.who else "two answers contradict each other"
            said = " and ".join(f"'{answer.labels[0]}' ({answer.who}, {answer.where})" for answer in (first, other))
            problems.add(f"index {index}: {who}: {said}")
            continue
        found.append(replace(first, who=", ".join(dict.fromkeys(answer.who for answer in several))))
    return found
