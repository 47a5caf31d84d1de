"""Which places of files a store is believed: the login goes to its own host only, and no file is written just anywhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmark.cli import main
from benchmark.errors import BenchmarkError
from benchmark.tracking import sync
from benchmark.tracking.places import check_place
from benchmark.tracking.record import read_record

pytest.importorskip("mlflow")
Writer = Callable[..., Path]
Copies = Callable[[Any, Path], list[Any]]
SERVER, SECURE, DATABASE, FILE = "http://tracking:5000", "https://me:pw12@tracking/x", "postgresql://me:pw12@db/x", "sqlite:////r/mlflow.db"


@pytest.mark.parametrize(
    ("files", "stores"),
    [
        ("mlflow-artifacts:/0/r1/artifacts", (SERVER, SECURE)),
        ("mlflow-artifacts://tracking:5001/0/r1/artifacts", (SERVER, SECURE)),
        ("mlflow-artifacts://elsewhere/0/r1/artifacts", ()),
        ("http://tracking:5001/a", (SERVER,)),
        ("https://TRACKING/a", (SERVER, SECURE)),
        ("http://elsewhere:5000/a", ()),
        ("https://tracking@elsewhere/a", ()),
        ("https://elsewhere\\@tracking/a", ()),
        ("https://tracking.elsewhere/a", ()),
        ("https://track\ning/a", ()),
        ("https://[::1/a", ()),
        ("s3://bucket/0/r1/artifacts", (SERVER, SECURE, DATABASE, FILE)),
        ("abfss://c@account.dfs.core.windows.net/0", (SERVER, SECURE, DATABASE, FILE)),
        ("hdfs://name/0", (SERVER, SECURE, DATABASE, FILE)),
        ("file:///r/mlartifacts/r1/artifacts", (DATABASE, FILE)),
        ("file:///another/host/mlartifacts/r1/artifacts", (DATABASE, FILE)),
        ("/r/mlartifacts/r1/artifacts", (DATABASE, FILE)),
        ("r/mlartifacts/r1/artifacts", ()),
        ("file:///r/mlartifacts/r2/artifacts", ()),
        ("file:///r/mlartifacts/r1/artifacts/..", ()),
        ("file:///r/../mlartifacts/r1/artifacts", ()),
        ("file:///r/%2e%2e/mlartifacts/r1/artifacts", ()),
        ("file:///home/me/.ssh", ()),
        ("runs:/r1/artifacts", ()),
        ("sftp://tracking/a", ()),
        ("", ()),
    ],
)
def test_places(files: str, stores: tuple[str, ...]) -> None:
    for store in (SERVER, SECURE, DATABASE, FILE):
        if store in stores:
            check_place(files, store, "r1")
        else:
            with pytest.raises(BenchmarkError, match=r"its files lie at .*, which is not part of this store"):
                check_place(files, store, "r1")


def test_an_address_is_shown_without_its_login_and_on_one_line() -> None:
    with pytest.raises(BenchmarkError) as caught:
        check_place("https://me:hunter22@elsewhere/\x1b[31m\n" + "a" * 999, SERVER, "r1")
    said = str(caught.value)
    assert "hunter22" not in said and "\x1b" not in said and "\n" not in said and len(said) < 400


def test_a_sync_writes_nothing_there_and_leaves_no_half_copy(
    tmp_path: Path, write_run: Writer, copies: Copies, capsys: pytest.CaptureFixture[str]
) -> None:
    """Somebody else has an experiment of this name, whose files lie in a folder of his own; other data sets are mirrored."""
    from mlflow.tracking import MlflowClient

    runs, theirs = tmp_path / "runs", tmp_path / "theirs"
    refused, other = write_run(runs, 0), write_run(runs, 0, name="other")
    client = MlflowClient(f"sqlite:///{tmp_path / 'shared.db'}")
    client.create_experiment(read_record(refused).experiment, artifact_location=theirs.as_uri())
    capsys.readouterr()
    assert main(["sync", "--runs", str(runs), "--tracking-uri", f"sqlite:///{tmp_path / 'shared.db'}"]) == 1
    printed = capsys.readouterr()
    assert printed.out == "1 runs mirrored, 0 were already, 1 failed\n"
    assert printed.err.startswith(f"failed  {refused.name}: its files lie at {theirs.as_uri()}/") and printed.err.count("\n") == 1
    assert not theirs.exists() and copies(client, refused) == [] and len(copies(client, other)) == 1


def test_two_folders_may_share_an_experiment(tmp_path: Path, write_run: Writer) -> None:
    """Its files lie where its first driver has put them."""
    here, there = tmp_path / "here", tmp_path / "there"
    write_run(here, 0), write_run(there, 1)
    uri = f"sqlite:///{tmp_path / 'shared.db'}"
    assert [sync(folder, uri).mirrored for folder in (here, there)] == [1, 1]
    assert len(list((here / "mlartifacts").glob("*/artifacts/result.json"))) == 2 and not (there / "mlartifacts").exists()
