"""The table that people fill in: formulas that are none, and what spreadsheets make of a file."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.errors import BenchmarkError
from benchmark.relabel.sheet import COLUMNS, neutral, plain, read, table

ROW = {
    "set": "s1",
    "index": 7,
    "path": "=cmd()",
    "given": "-normal",
    "suggestion": None,
    "confidence": 0.25,
    "quality": -0.5,
    "reason": "@x",
}


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx"])
def test_what_a_spreadsheet_would_carry_out_is_made_neutral(text: str) -> None:
    assert neutral(text) == f"'{text}" and plain(neutral(text)) == text


@given(st.text(max_size=6) | st.text("='+-@\t\r\n", max_size=5))
def test_it_is_undone_whatever_the_text(text: str) -> None:
    assert plain(neutral(text)) == text
    assert not neutral(text).startswith(("=", "+", "-", "@", "\t", "\r"))


def test_an_apostrophe_of_the_users_own_stays() -> None:
    assert plain("'adenoma") == "'adenoma" and plain("'") == "'"


def test_the_table_has_a_mark_and_neutral_text_but_plain_numbers() -> None:
    content = table([ROW])
    assert content.startswith(b"\xef\xbb\xbfset,index,")
    (row,) = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""))
    assert tuple(row) == COLUMNS
    assert (row["path"], row["given"], row["reason"]) == ("'=cmd()", "'-normal", "'@x")
    assert (row["index"], row["confidence"], row["quality"]) == ("7", "0.25", "-0.5")
    assert row["suggestion"] == row["answer"] == row["annotator"] == row["note"] == ""


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_what_a_spreadsheet_saves_is_read(tmp_path: Path, delimiter: str, mark: bytes) -> None:
    lines = ["set,index,given,answer,note", "s1,7,'-normal, adenoma ,", ",,,,", 's1,8,adenoma,,"two', 'lines"']
    (tmp_path / "a.csv").write_bytes(mark + "\r\n".join(line.replace(",", delimiter) for line in lines).encode() + b"\r\n")
    first, second = read(tmp_path / "a.csv")
    assert first.line == 2
    assert first.cells == {"set": "s1", "index": "7", "given": "-normal", "answer": "adenoma", "note": ""}
    assert second.cells["answer"] == "" and second.cells["note"].split() == ["two", "lines"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b"index,given,answer\n1,a,b\n",
            r"a\.csv begins with index,given,answer; expected the columns set, index, given, answer, as in answers\.csv",
        ),
        (b"", r"a\.csv begins with nothing"),
        ("set,index,given,answer\ns,1,ä,b\n".encode("latin-1"), r"a\.csv is not UTF-8; save it as 'CSV UTF-8'"),
        (b"PK\x03\x04\xff\xfe", r"a\.csv is not UTF-8"),
        (b"set,index,given,answer\n" + b"x" * 200_000, r"a\.csv cannot be read: field larger than field limit"),
    ],
)
def test_what_is_no_such_table(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(BenchmarkError, match=message):
        read(tmp_path / "a.csv")


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match=r"a\.csv cannot be read: No such file"):
        read(tmp_path / "a.csv")
