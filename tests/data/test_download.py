"""Downloads, against a server on this machine that breaks off, ignores ranges, lies and waits."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pooch
import pytest
import requests

from benchmark.data import transfer
from benchmark.data.download import Remote, content_hash, fetch, no_downloads
from benchmark.errors import BenchmarkError

CONTENT = bytes(range(256)) * 40
SHA256 = "sha256:" + hashlib.sha256(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    server: FileServer

    def do_GET(self) -> None:
        server = self.server
        server.seen.append(dict(self.headers))
        server.arrived.set()
        server.go.wait(20)
        if server.status:
            self.send_response(server.status)
            if server.location:
                self.send_header("Location", server.location)
            self.end_headers()
            return
        wanted, start = self.headers.get("Range", ""), 0
        if server.ranges and wanted and self.headers.get("If-Range", server.validator()) == server.validator():
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(server.content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(server.content)}")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(server.content) - 1}/{len(server.content)}")
        else:
            self.send_response(200)
        body = server.content[start:]
        if server.sends_length:
            self.send_header("Content-Length", str(len(body)))
        for name, value in server.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[: server.breaks.pop(0)] if server.breaks else body)

    def log_message(self, *_: Any) -> None:
        """No noise."""


class FileServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.ranges, self.sends_length = CONTENT, True, True
        self.headers = {"ETag": '"first"'}
        self.breaks: list[int] = []  # how much is sent before the connection ends, request by request
        self.status, self.location = 0, ""
        self.seen: list[dict[str, str]] = []
        self.arrived, self.go = threading.Event(), threading.Event()
        self.go.set()

    def validator(self) -> str | None:
        return self.headers.get("ETag") or self.headers.get("Last-Modified")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/set.bin"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    monkeypatch.setattr(transfer, "PAUSE_SECONDS", 0.0)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with FileServer() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.go.set()
        running.shutdown()
        thread.join()


def remote(server: FileServer, **changes: Any) -> Remote:
    return Remote(**{"url": server.url, "hash": SHA256, "size_bytes": 0, "name": "set.bin", "homepage": "https://example.org"} | changes)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


def one_line(error: pytest.ExceptionInfo[BenchmarkError]) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)


# ------------------------------------------------------------------------------------------------- what goes well


def test_a_file_comes_once_and_reports_its_progress(server: FileServer, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    path = fetch(remote(server), tmp_path / "new" / "folder", lambda *progress: told.append(progress))
    assert path == tmp_path / "new" / "folder" / "set.bin" and path.read_bytes() == CONTENT
    assert told[0] == ("downloading set.bin", 0, len(CONTENT)) and told[-1] == ("downloading set.bin", len(CONTENT), len(CONTENT))
    assert fetch(remote(server), path.parent) == path
    assert len(server.seen) == 1 and names(path.parent) == ["set.bin", "set.bin.verified"]


def test_md5_is_taken_too(server: FileServer, tmp_path: Path) -> None:
    assert fetch(remote(server, hash="md5:" + hashlib.md5(CONTENT).hexdigest()), tmp_path).read_bytes() == CONTENT


def test_bytes_are_kept_as_they_are(server: FileServer, tmp_path: Path) -> None:
    server.headers["Content-Encoding"] = "gzip"  # what some servers say of every .gz, though nothing is to be unpacked
    assert fetch(remote(server), tmp_path).read_bytes() == CONTENT
    assert server.seen[0]["Accept-Encoding"] == "identity"


def test_a_server_that_names_no_length(server: FileServer, tmp_path: Path) -> None:
    server.sends_length = False
    told: list[int] = []
    assert fetch(remote(server, size_bytes=len(CONTENT)), tmp_path, lambda _, done, total: told.append(total)).read_bytes() == CONTENT
    assert set(told) == {len(CONTENT)}


def test_the_libraries_are_loaded_only_when_something_is_fetched() -> None:
    code = "import sys, benchmark.data.download; print([m for m in ('numpy', 'requests', 'pooch', 'filelock') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


# ------------------------------------------------------------------------------------------- breaks and going on


def test_a_connection_that_breaks_off_goes_on_by_itself(server: FileServer, tmp_path: Path) -> None:
    server.breaks = [4000, 3000]
    told: list[int] = []
    assert fetch(remote(server), tmp_path, lambda _, done, total: told.append(done)).read_bytes() == CONTENT
    assert [request.get("Range") for request in server.seen] == [None, "bytes=4000-", "bytes=7000-"]
    assert [request.get("If-Range") for request in server.seen] == [None, '"first"', '"first"']
    assert told == sorted(told)


def test_half_a_download_goes_on_at_the_next_try(server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "TRIES", 1)
    server.breaks = [4000]
    with pytest.raises(
        BenchmarkError, match=r"could not be fetched: the connection .* \(0\.0 MB are here, and the next try goes on"
    ) as error:
        fetch(remote(server), tmp_path)
    assert f"download {server.url} by hand and put it at {tmp_path / 'set.bin'} (see https://example.org)" in one_line(error)
    assert (tmp_path / "set.bin.part").read_bytes() == CONTENT[:4000] and not (tmp_path / "set.bin").exists()
    assert fetch(remote(server), tmp_path).read_bytes() == CONTENT
    assert server.seen[1]["Range"] == "bytes=4000-" and names(tmp_path) == ["set.bin", "set.bin.verified"]


def test_a_server_that_ignores_ranges_starts_anew(server: FileServer, tmp_path: Path) -> None:
    server.ranges, server.breaks = False, [4000]
    assert fetch(remote(server), tmp_path).read_bytes() == CONTENT
    assert server.seen[1]["Range"] == "bytes=4000-"


def test_a_file_that_has_changed_meanwhile_starts_anew(server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "TRIES", 1)
    server.content, server.breaks = b"old" * 3000, [4000]
    with pytest.raises(BenchmarkError):
        fetch(remote(server), tmp_path)
    server.content, server.headers["ETag"] = CONTENT, '"second"'
    assert fetch(remote(server), tmp_path).read_bytes() == CONTENT


def test_a_date_vouches_where_the_tag_is_weak(server: FileServer, tmp_path: Path) -> None:
    server.headers = {"ETag": 'W/"x"', "Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT"}
    server.breaks = [4000]
    fetch(remote(server), tmp_path)
    assert server.seen[1]["If-Range"] == "Mon, 01 Jan 2024 00:00:00 GMT"


def test_a_part_is_not_continued_where_nothing_vouches_for_it(server: FileServer, tmp_path: Path) -> None:
    server.headers, server.breaks = {}, [4000]
    fetch(remote(server, hash=None), tmp_path)
    assert "Range" not in server.seen[1]


@pytest.mark.parametrize("here", [CONTENT, CONTENT + b"more"])
def test_a_part_that_is_whole_or_too_long(server: FileServer, tmp_path: Path, here: bytes) -> None:
    (tmp_path / "set.bin.part").write_bytes(here)
    (tmp_path / "set.bin.part.json").write_text(json.dumps({"url": server.url, "validator": '"first"'}))
    assert fetch(remote(server), tmp_path).read_bytes() == CONTENT
    assert len(server.seen) == (1 if here == CONTENT else 2)


def test_a_part_of_another_address_or_without_notes_starts_anew(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "set.bin.part").write_bytes(b"something else")
    (tmp_path / "set.bin.part.json").write_text("not json")
    assert fetch(remote(server), tmp_path).read_bytes() == CONTENT
    assert "Range" not in server.seen[0]


def test_what_a_killed_download_left_is_swept_up(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "set.bin.incoming").mkdir()
    (tmp_path / "set.bin.incoming" / "tmpabc").write_bytes(b"x")
    fetch(remote(server), tmp_path)
    assert names(tmp_path) == ["set.bin", "set.bin.verified"]


# ------------------------------------------------------------------------------------------------ what goes wrong


def test_a_wrong_hash_keeps_nothing(server: FileServer, tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match="another file than expected") as error:
        fetch(remote(server, hash="sha256:" + "0" * 64), tmp_path)
    line = one_line(error)
    assert "sha256:" + "0" * 64 in line and SHA256.removeprefix("sha256:") in line and server.url in line and "https://example.org" in line
    assert names(tmp_path) == []


def test_another_size_is_told_before_anything_is_downloaded(server: FileServer, tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match="it has 10240 bytes where 99 are expected"):
        fetch(remote(server, size_bytes=99), tmp_path)
    assert names(tmp_path) == []


@pytest.mark.parametrize("status", [404, 403, 416, 503])
def test_http_errors(server: FileServer, tmp_path: Path, status: int) -> None:
    server.status = status
    with pytest.raises(BenchmarkError, match=rf"could not be fetched: HTTP {status} .*by hand and put it at") as error:
        fetch(remote(server), tmp_path)
    one_line(error)
    assert names(tmp_path) == []


def test_a_refused_connection(server: FileServer, tmp_path: Path) -> None:
    server.server_close()
    with pytest.raises(BenchmarkError, match=r"could not be fetched: no connection to 127\.0\.0\.1; download .* by hand") as error:
        fetch(remote(server), tmp_path)
    one_line(error)


def test_a_server_that_does_not_answer(server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "READ_SECONDS", 0.1)
    server.go.clear()
    with pytest.raises(BenchmarkError, match=r"127\.0\.0\.1 sent nothing for 0\.1 s; download"):
        fetch(remote(server), tmp_path)


def test_a_redirect_out_of_the_web(server: FileServer, tmp_path: Path) -> None:
    server.status, server.location = 302, "file:///etc/hostname"
    with pytest.raises(BenchmarkError, match="leads to an address that is neither http nor https"):
        fetch(remote(server), tmp_path)


def test_a_redirect_out_of_encryption(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = requests.Response()
    answer.url, answer.status_code, answer._content_consumed = "http://127.0.0.1:1/set.bin", 200, True
    monkeypatch.setattr(requests, "get", lambda *_, **__: answer)
    with pytest.raises(BenchmarkError, match=r"leads to http://127\.0\.0\.1:1/set\.bin, which is not encrypted"):
        fetch(Remote("https://example.org/set.bin", SHA256, 0, "set.bin"), tmp_path)


def test_too_little_space(server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(2, 1, 1))  # type: ignore[attr-defined]
    with pytest.raises(BenchmarkError, match=r"0\.0 MB of free space where 0\.0 MB are needed; make room, choose another folder"):
        fetch(remote(server), tmp_path)


def test_a_folder_that_is_a_file(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BenchmarkError, match="choose another folder with --data-root") as error:
        fetch(remote(server), tmp_path / "file")
    one_line(error)
    assert not server.seen


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://example.org/x", "x.bin", ""])
def test_only_the_web_is_fetched(url: str) -> None:
    with pytest.raises(BenchmarkError, match="only http and https"):
        Remote(url, SHA256, 0, "x")


@pytest.mark.parametrize("name", ["../x", "a/b", "..", "", "C:x", "a\\b"])
def test_names_have_no_folders(name: str) -> None:
    with pytest.raises(BenchmarkError, match="must have no folders"):
        Remote("https://example.org/x", SHA256, 0, name)


@pytest.mark.parametrize("text", ["0" * 64, "sha256:12", "sha1:" + "0" * 40, "md5:" + "g" * 32, ""])
def test_hashes_are_whole(text: str) -> None:
    with pytest.raises(BenchmarkError, match="is not a hash; write sha256: and 64"):
        Remote("https://example.org/x", text, 0, "x")


# ------------------------------------------------------------------------------------------- files that are here


def test_a_file_put_there_by_hand_is_verified(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "set.bin").write_bytes(CONTENT)
    assert fetch(remote(server), tmp_path) == tmp_path / "set.bin" and not server.seen


def test_a_wrong_file_put_there_by_hand_is_told_and_left_alone(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "set.bin").write_bytes(b"a login page")
    with pytest.raises(BenchmarkError, match="is another file than expected") as error:
        fetch(remote(server), tmp_path)
    found = hashlib.sha256(b"a login page").hexdigest()
    assert SHA256 in one_line(error) and found in one_line(error) and server.url in one_line(error)
    assert (tmp_path / "set.bin").read_bytes() == b"a login page" and not server.seen


def test_a_verified_file_is_not_hashed_again_until_it_changes(server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = fetch(remote(server), tmp_path)
    hashed: list[str] = []
    file_hash = pooch.file_hash
    monkeypatch.setattr(pooch, "file_hash", lambda name, alg: hashed.append(name) or file_hash(name, alg=alg))
    fetch(remote(server), tmp_path)
    assert hashed == []
    path.write_bytes(CONTENT[:-1] + b"\1")
    with pytest.raises(BenchmarkError, match="another file than expected"):
        fetch(remote(server), tmp_path)
    with pytest.raises(BenchmarkError, match="another file than expected"):
        fetch(remote(server, hash="sha256:" + "1" * 64), tmp_path)
    assert hashed == [str(path)] * 2


def test_without_a_known_hash_the_first_one_holds(server: FileServer, tmp_path: Path) -> None:
    assert content_hash(remote(server, hash=None), tmp_path) == SHA256
    assert json.loads((tmp_path / "set.bin.verified").read_text())["hash"] == SHA256
    (tmp_path / "set.bin").write_bytes(b"other labels")
    with pytest.raises(BenchmarkError, match=r"put the first one back, or remove it together with set\.bin\.verified") as error:
        fetch(remote(server, hash=None), tmp_path)
    assert SHA256 in one_line(error)
    (tmp_path / "set.bin.verified").unlink()
    assert content_hash(remote(server, hash=None), tmp_path) == "sha256:" + hashlib.sha256(b"other labels").hexdigest()


def test_a_file_that_is_fetched_again_must_be_the_first_one(server: FileServer, tmp_path: Path) -> None:
    fetch(remote(server, hash=None), tmp_path).unlink()
    server.content = b"other labels"
    with pytest.raises(BenchmarkError, match="put the first one back"):
        fetch(remote(server, hash=None), tmp_path)


# ---------------------------------------------------------------------------------------------------- two at once


def test_a_second_thread_waits_and_takes_the_file(server: FileServer, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    server.go.clear()
    results: list[Path] = []
    first = threading.Thread(target=lambda: results.append(fetch(remote(server), tmp_path)))
    first.start()
    assert server.arrived.wait(10)
    waits = threading.Event()
    second = threading.Thread(target=lambda: results.append(fetch(remote(server), tmp_path, lambda text, *_: waits.set())))
    second.start()
    assert waits.wait(10)
    server.go.set()
    first.join(10)
    second.join(10)
    assert results == [tmp_path / "set.bin"] * 2 and len(server.seen) == 1
    assert "is being downloaded by another process; waiting for it" in caplog.text


def test_a_second_process_waits_and_takes_the_file(server: FileServer, tmp_path: Path) -> None:
    code = (
        "import sys, logging; from pathlib import Path; from benchmark.data.download import Remote, fetch; logging.basicConfig();"
        "print(fetch(Remote(sys.argv[1], sys.argv[2], 0, 'set.bin'), Path(sys.argv[3])).stat().st_size)"
    )
    command = [sys.executable, "-c", code, server.url, SHA256, str(tmp_path)]
    server.go.clear()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as first:
        assert server.arrived.wait(30)
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as second:
            assert second.stderr is not None and "waiting for it" in second.stderr.readline()
            server.go.set()
            assert second.communicate(timeout=30)[0] == f"{len(CONTENT)}\n"
        assert first.communicate(timeout=30)[0] == f"{len(CONTENT)}\n"
    assert len(server.seen) == 1


def test_nothing_is_fetched_where_that_is_forbidden(tmp_path: Path) -> None:
    remote = Remote("http://127.0.0.1:9/set.npz", SHA256, len(CONTENT), "set.npz")
    with no_downloads(), pytest.raises(BenchmarkError, match=r"^set.npz is not on this machine$"):
        fetch(remote, tmp_path / "sets")
    assert not (tmp_path / "sets").exists()
    (tmp_path / "set.npz").write_bytes(CONTENT)
    with no_downloads():
        assert fetch(remote, tmp_path).read_bytes() == CONTENT
