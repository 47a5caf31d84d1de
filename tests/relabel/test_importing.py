"""Answers into labels: nothing is merged twice, nothing is lost, and whatever is wrong is told before anything changes."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock

from benchmark.errors import BenchmarkError
from benchmark.noise_file import read as read_label_file
from benchmark.relabel import history as history_module
from benchmark.relabel import importing as module
from benchmark.relabel.checking import RefusedError
from benchmark.relabel.export import export
from benchmark.relabel.history import answered, read_history
from benchmark.relabel.importing import Imported, import_answers

Rows = list[dict[str, str]]


class Round:
    """An export of five samples and where its answers go."""

    def __init__(self, toy: Any, root: Path, name: str = "out", top: int = 5) -> None:
        self.toy, self.root, self.out, self.labels = toy, root, root / name, root / "labels.csv"
        export(toy.run, toy.registry, toy.root / "cache", self.out, top)
        self.rows: Rows = list(csv.DictReader(io.StringIO((self.out / "answers.csv").read_bytes().decode("utf-8-sig"), newline="")))
        self.index = [int(row["index"]) for row in self.rows]
        self.given = [toy.given(index) for index in self.index]

    def other(self, place: int) -> str:
        """A class that is not the given one."""
        return str(self.toy.classes[(self.toy.classes.index(self.given[place]) + 1) % 3])

    def fill(self, answers: dict[int, str], name: str = "anna.csv", **cells: str) -> Path:
        """A copy of the table with answers at some places."""
        rows = [dict(row) for row in self.rows]
        for place, answer in answers.items():
            rows[place] |= {"answer": answer, **cells}
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
        (self.root / name).write_bytes(text.getvalue().encode())
        return self.root / name

    def take(self, *files: Path, **settings: Any) -> Imported:
        return import_answers(files, self.out, self.labels, **settings)

    def refused(self, *files: Path, **settings: Any) -> list[str]:
        """The problems of an import; nothing may have changed, and nothing been left behind."""
        before = {path: path.read_bytes() for path in self.root.rglob("*") if path.is_file()}
        with pytest.raises(RefusedError) as raised:
            self.take(*files, **settings)
        assert {path: path.read_bytes() for path in self.root.rglob("*") if path.is_file()} == before
        assert all(len(problem.splitlines()) == 1 for problem in raised.value.problems)
        return list(raised.value.problems)

    def label(self, index: int) -> str:
        with self.labels.open(newline="", encoding="utf-8") as file:
            return {int(row["index"]): row["label"] for row in csv.DictReader(file)}[index]


@pytest.fixture
def first(finish: Callable[..., Any], tmp_path: Path) -> Round:
    return Round(finish(), tmp_path)


def test_answers_change_and_confirm_and_the_rest_stays(first: Round) -> None:
    file = first.fill({0: first.other(0), 2: first.given[2]}, annotator="anna")
    done = first.take(file, when="2025-01-31T12:00:00+01:00")
    assert (done.new, done.changed, done.replaced, done.already, done.unanswered) == (2, 1, 0, 0, 3)
    data = first.toy.data
    everything = sorted([*data.indices["train"].tolist(), *data.indices["val"].tolist()])
    found = read_label_file(first.labels)
    assert found.index.tolist() == everything and done.labels == len(everything)
    expected = {index: first.toy.given(index) for index in everything} | {first.index[0]: first.other(0)}
    assert list(found.label) == [expected[index] for index in everything]
    one, two = read_history(first.labels)
    assert (one.index, one.path, one.before, one.after) == (first.index[0], "", first.given[0], first.other(0))
    assert (one.who, one.when, one.set, one.source) == ("anna", "2025-01-31T12:00:00+01:00", first.rows[0]["set"], "anna.csv")
    assert one.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert (two.before, two.after) == (first.given[2], first.given[2])
    assert answered(first.labels) == {first.index[0], first.index[2]}


def test_the_same_file_again_changes_nothing(first: Round) -> None:
    file = first.fill({0: first.other(0), 1: first.given[1]})
    first.take(file)
    labels, history = first.labels.read_bytes(), (first.root / "labels.history.jsonl").read_bytes()
    done = first.take(file)
    assert (done.new, done.already, done.unanswered, done.repaired) == (0, 2, 3, False)
    assert (first.labels.read_bytes(), (first.root / "labels.history.jsonl").read_bytes()) == (labels, history)


def test_several_files_are_one_import(first: Round) -> None:
    anna = first.fill({0: first.other(0), 1: first.given[1]}, annotator="anna")
    ben = first.fill({0: first.other(0), 3: first.other(3)}, "ben.csv")
    done = first.take(anna, ben, annotator="ben", when="2025-01-31")
    assert (done.new, done.changed) == (3, 2)
    assert [(change.who, change.source, change.when) for change in read_history(first.labels)] == [
        ("anna, ben", "anna.csv", "2025-01-31T00:00:00+00:00"),
        ("anna", "anna.csv", "2025-01-31T00:00:00+00:00"),
        ("ben", "ben.csv", "2025-01-31T00:00:00+00:00"),
    ]


def test_what_spreadsheets_change_does_not_matter(first: Round) -> None:
    content = first.fill({0: first.other(0)}).read_bytes().decode()
    content = content.replace("\r\n", "\n").replace("\n", "\r\n").replace(",", ";")
    (first.root / "anna.csv").write_bytes(b"\xef\xbb\xbf" + content.encode())
    assert first.take(first.root / "anna.csv").new == 1
    assert read_history(first.labels)[0].who == "unknown"


def task(row: dict[str, str], given: str, choices: list[str], who: Any = 1, **annotation: Any) -> dict[str, Any]:
    result = [{"type": "choices", "from_name": "label", "to_name": "image", "value": {"choices": choices}}]
    data = {"set": row["set"], "index": int(row["index"]), "given": given}
    return {"id": 9, "data": data, "annotations": [{"result": result, "completed_by": who, **annotation}]}


def write(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_an_export_of_label_studio(first: Round) -> None:
    tasks = [
        task(first.rows[0], first.given[0], [first.other(0)], {"id": 3, "email": "anna@example.org"}, created_at="2021-03-09T22:16:08Z"),
        task(first.rows[1], first.given[1], [first.given[1]], created_at="nonsense"),
        task(first.rows[2], first.given[2], [first.other(2)], was_cancelled=True),
    ]
    done = first.take(write(first.root / "ls.json", tasks), when="2025-01-31")
    assert (done.new, done.changed, done.unanswered) == (2, 1, 1)
    assert [(change.who, change.when) for change in read_history(first.labels)] == [
        ("anna@example.org", "2021-03-09T22:16:08+00:00"),
        ("user 1", "2025-01-31T00:00:00+00:00"),
    ]


def test_all_problems_are_told_at_once(first: Round) -> None:
    file = first.fill({0: "adenom", 1: first.other(1), 2: first.given[2], 3: first.other(3)})
    lines = file.read_text(encoding="utf-8").splitlines()
    lines[2] = lines[2].replace(f",{first.index[1]},", ",9999,")
    lines[4] = lines[4].replace(first.rows[3]["set"], "s000000000000")
    file.write_text("\n".join(lines), encoding="utf-8")
    other = first.fill({2: first.other(2)}, "ben.csv", annotator="ben")
    problems = first.refused(file, other, first.root / "none.csv", annotator="anna")
    mine = first.rows[0]["set"]
    assert problems == [
        f"anna.csv has 1 answers for set 's000000000000'; this export is set {mine}: give the --export they belong to",
        "anna.csv, line 2: unknown class 'adenom'; did you mean 'adenoma'?; known: " + ", ".join(sorted(first.toy.classes)),
        "anna.csv, line 3: index '9999' is not in the export",
        "none.csv cannot be read: No such file or directory",
        f"index {first.index[2]}: two annotators contradict each other: '{first.given[2]}' (anna, anna.csv, line 4) "
        f"and '{first.other(2)}' (ben, ben.csv, line 4)",
    ]


def test_another_given_label(first: Round) -> None:
    first.rows[0]["given"] = first.other(0)
    assert first.refused(first.fill({0: first.other(0)})) == [
        f"anna.csv, line 2: the given label is '{first.other(0)}'; it was exported as '{first.given[0]}'"
    ]


def test_a_sample_that_is_answered_twice(first: Round) -> None:
    first.rows.append(dict(first.rows[0]))
    assert first.take(first.fill({0: first.other(0), 5: first.other(0)})).new == 1
    first.labels = first.root / "others.csv"
    (problem,) = first.refused(first.fill({0: first.other(0), 5: first.given[0]}))
    assert problem == (
        f"index {first.index[0]}: two answers contradict each other: '{first.other(0)}' (unknown, anna.csv, line 2) "
        f"and '{first.given[0]}' (unknown, anna.csv, line 7)"
    )


def test_files_without_answers(first: Round) -> None:
    assert first.refused(first.fill({})) == ["anna.csv has no answer: 5 are empty; expected a class in at least one"]
    assert first.refused(first.out / "label-studio.json") == [
        "label-studio.json has no answer: 5 are empty; expected a class in at least one"
    ]
    (problem,) = first.refused(write(first.root / "x.json", [{"image": "a.png", "label": "b"}]))
    assert "x.json is no export of Label Studio" in problem
    (problem,) = first.refused(write(first.root / "y.json", [task(first.rows[0], first.given[0], ["a", "b"])]))
    assert problem == "y.json, task 9: 2 classes are chosen (a, b); expected one"
    (problem,) = first.refused(
        write(first.root / "z.json", [{"data": {}, "annotations": task(first.rows[0], "", ["\x1b[31m"])["annotations"]}])
    )
    assert problem.startswith("z.json has 1 answers for set ''")


def test_no_more_than_twenty_problems_are_shown(finish: Callable[..., Any], tmp_path: Path) -> None:
    many = Round(finish(), tmp_path, top=99)
    n = len(many.rows)
    file = many.fill(dict.fromkeys(range(n), "\x1b[31mpolyp"))
    with pytest.raises(RefusedError) as raised:
        many.take(file)
    lines = raised.value.lines()
    assert lines[0] == f"nothing was imported, the labels are as they were; {n} problems:"
    assert len(lines) == 22 and lines[21] == f"  … and {n - 20} more"
    assert "'?[31mpolyp'" in lines[1]  # what a file holds does not steer the terminal


def test_an_answer_that_was_given_before_stands_unless_it_is_replaced(first: Round) -> None:
    one = first.fill({0: first.other(0)}, annotator="anna")
    first.take(one, when="2025-01-31")
    two = first.fill({0: first.given[0], 1: first.other(1)}, "ben.csv", annotator="ben")
    assert first.refused(two) == [
        f"ben.csv, line 2: index {first.index[0]} is '{first.given[0]}' here and '{first.other(0)}' in the history "
        "(anna, 2025-01-31, anna.csv); --replace takes the new answers"
    ]
    done = first.take(two, replacing=True)
    assert (done.new, done.changed, done.replaced) == (2, 2, 1)
    assert first.label(first.index[0]) == first.given[0]
    assert [(c.before, c.after) for c in read_history(first.labels) if c.index == first.index[0]] == [
        (first.given[0], first.other(0)),
        (first.other(0), first.given[0]),
    ]
    assert first.take(one).already == 1  # its answer was applied, and has been replaced since
    assert first.label(first.index[0]) == first.given[0]


class Killed(BaseException):
    """What no handler stops."""


def test_a_kill_between_history_and_labels_loses_nothing(first: Round, monkeypatch: pytest.MonkeyPatch) -> None:
    file = first.fill({0: first.other(0), 1: first.other(1)})

    def kill(*_: object) -> bool:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(module, "write_labels", kill)
        with pytest.raises(Killed):
            first.take(file)
    assert not first.labels.exists() and len(read_history(first.labels)) == 2
    done = first.take(file)
    assert (done.new, done.already, done.repaired) == (0, 2, True)
    assert [first.label(index) for index in first.index[:2]] == [first.other(0), first.other(1)]


@pytest.mark.parametrize("whole", [0, 1])
def test_a_kill_within_the_history_is_taken_up(first: Round, whole: int) -> None:
    file = first.fill({0: first.other(0), 1: first.other(1)})
    first.take(file)
    path, expected = first.root / "labels.history.jsonl", first.labels.read_bytes()
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:whole]) + lines[whole][:40])
    first.labels.unlink()
    done = first.take(file)
    assert (done.new, done.already) == (2 - whole, whole)
    assert first.labels.read_bytes() == expected and len(read_history(first.labels)) == 2


def test_a_broken_history_is_not_built_upon(first: Round) -> None:
    file = first.fill({0: first.other(0)})
    first.take(file)
    path = first.root / "labels.history.jsonl"
    path.write_bytes(b'{"index": 1}\n' + path.read_bytes())
    with pytest.raises(BenchmarkError, match=r"labels\.history\.jsonl, line 1 is no change of a label; restore the file from a copy"):
        first.take(file)


def test_labels_changed_by_hand_are_put_right(first: Round) -> None:
    file = first.fill({0: first.other(0)})
    first.take(file)
    expected = first.labels.read_bytes()
    first.labels.write_bytes((first.out / "given.csv").read_bytes())  # as they were at first
    assert first.labels.read_bytes() != expected
    assert first.take(file).repaired and first.labels.read_bytes() == expected


def test_two_imports_at_a_time(first: Round, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_module, "PATIENCE_S", 0.05)
    file = first.fill({0: first.other(0)})
    with FileLock(first.root / ".labels.csv.lock"), pytest.raises(BenchmarkError, match=r"another import into .*labels\.csv is going on"):
        first.take(file)
    assert not first.labels.exists()
    assert first.take(file).new == 1


def test_a_second_round_builds_on_the_first(first: Round, finish: Callable[..., Any]) -> None:
    first.take(first.fill({0: first.other(0), 1: first.given[1]}))
    toy = finish(noise=f"file:{first.labels}")
    second = Round(toy, first.root, "second")
    assert second.index == first.index and second.given == [first.other(0), *first.given[1:]]
    assert second.rows[0]["set"] != first.rows[0]["set"]
    other = next(name for name in toy.classes if name not in (first.given[0], first.other(0)))
    (problem,) = second.refused(second.fill({0: other}))
    assert "--replace takes the new answers" in problem
    done = second.take(second.fill({0: second.given[0], 1: second.given[1], 2: second.other(2)}))
    assert (done.new, done.already, done.changed) == (1, 2, 1)
    done = second.take(second.fill({0: other}), replacing=True)
    assert (done.new, done.replaced) == (1, 1)
    last = read_history(second.labels)[-1]
    assert (last.before, last.after, last.set) == (first.other(0), other, second.rows[0]["set"])
    again = first.take(first.fill({0: first.other(0), 1: first.given[1]}))  # the first round's file once more
    assert (again.new, again.already) == (0, 2)


def test_labels_of_another_run_are_refused(first: Round, finish: Callable[..., Any], tmp_path: Path) -> None:
    first.take(first.fill({0: first.other(0)}))
    labels = {
        int(i): label
        for part in ("train", "val")
        for i, label in zip(first.toy.data.indices[part], first.toy.data.labels[part], strict=True)
    }
    moved = [index for index in sorted(labels) if index != first.index[0]][:2]
    (tmp_path / "other.csv").write_text("index,label\n" + "".join(f"{i},{(y + (i in moved)) % 3}\n" for i, y in labels.items()))
    other = Round(finish(noise=f"file:{tmp_path / 'other.csv'}"), first.root, "other")
    old, new = first.toy.classes[labels[moved[0]]], first.toy.classes[(labels[moved[0]] + 1) % 3]
    with pytest.raises(BenchmarkError) as raised:
        other.take(other.fill({1: other.other(1)}, "mine.csv"))
    assert str(raised.value) == (
        f"{first.labels} holds other labels than the run was given: 2 differ, index {moved[0]} first, '{old}' where the run had '{new}'; "
        "choose another --labels"
    )


def test_labels_of_other_data_or_of_unknown_origin_are_refused(first: Round) -> None:
    file = first.fill({0: first.other(0)})
    first.labels.write_text("index,path,label\n0,,adenoma\n")
    with pytest.raises(BenchmarkError, match=r"labels\.csv exists, and no labels\.history\.jsonl beside it; choose another --labels"):
        first.take(file)
    first.labels.unlink()
    first.take(file)
    path = first.root / "labels.history.jsonl"
    path.write_text(path.read_text().replace(json.loads(path.read_text())["content"], "0" * 16))
    with pytest.raises(BenchmarkError, match=r"labels\.csv holds labels of other data than run [0-9a-f]{16} had"):
        first.take(file)
    with pytest.raises(BenchmarkError, match=r"--labels labels\.txt: the file's name must end in \.csv"):
        import_answers([file], first.out, Path("labels.txt"))
    with pytest.raises(BenchmarkError, match=r"there is no folder .*no$"):
        import_answers([file], first.out, first.root / "no" / "labels.csv")
    with pytest.raises(BenchmarkError, match="'yesterday' is no time; write 2025-01-31"):
        first.take(file, when="yesterday")
    with pytest.raises(BenchmarkError, match=r"none has no answers: there is no none\.history\.jsonl beside it"):
        answered(Path("none"))


def test_an_export_that_was_tampered_with(first: Round) -> None:
    file = first.fill({0: first.other(0)})
    given, manifest = first.out / "given.csv", first.out / "export.json"
    was = given.read_bytes(), manifest.read_bytes()
    given.write_bytes(was[0] + b"99,,adenoma\n")
    with pytest.raises(BenchmarkError, match=r"given\.csv has changed since the export; make it again with relabel export"):
        first.take(file)
    given.write_bytes(was[0])
    values = json.loads(was[1])
    values["samples"][0]["index"] = 10**6
    manifest.write_text(json.dumps(values))
    with pytest.raises(BenchmarkError, match=r"export\.json and given\.csv beside it are not of one export"):
        first.take(file)
    for content in ("[]", "{", json.dumps(values | {"samples": 3}), json.dumps({"schema": 1})):
        manifest.write_text(content)
        with pytest.raises(BenchmarkError, match=r"export\.json is not what relabel export wrote"):
            first.take(file)
    manifest.write_text(json.dumps(values | {"schema": 9}))
    with pytest.raises(BenchmarkError, match=r"export\.json is of schema 9; expected 1"):
        first.take(file)
    with pytest.raises(BenchmarkError, match=r"plugins holds no export: there is no export\.json in it"):
        import_answers([file], first.root / "plugins", first.labels)


def test_paths_of_the_data_set_are_kept(finish: Callable[..., Any], tmp_path: Path) -> None:
    from PIL import Image

    for i in range(12):
        path = tmp_path / "tiles" / "ab"[i % 2] / f"{i:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8), i, dtype=np.uint8)).save(path)
    data = f"folder:{tmp_path / 'tiles'}"
    here = Round(finish(data=data, noise="none"), tmp_path)
    here.toy = finish(data=data, noise="none")
    other = {"a": "b", "b": "a"}[here.given[0]]
    here.take(here.fill({0: other}))
    paths = here.toy.data.arrays.paths
    assert read_history(here.labels)[0].path == paths[here.index[0]]
    with here.labels.open(newline="") as file:
        assert all(row["path"] == paths[int(row["index"])] for row in csv.DictReader(file))
    again = finish(data=f"{data}:label_file={here.labels}", noise="none")
    changed = [
        i
        for i in range(12)
        if i not in again.data.indices["test"] and again.given(i) != again.data.arrays.classes[again.data.arrays.labels[i]]
    ]
    assert changed == [here.index[0]] and again.given(here.index[0]) == other
