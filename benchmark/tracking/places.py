"""Whether a run's files lie where they may be read and written: what a store says of that is not trusted.

MLflow sends the login of the tracking server to any host that an address names, and reads and writes any path of this machine.
"""

from __future__ import annotations

import re
from pathlib import PurePath
from urllib.parse import SplitResult, urlsplit

from benchmark.errors import BenchmarkError
from benchmark.tracking.command import masked

ARTIFACTS = "mlartifacts"
"""The folder, below the runs, for the files of a store without a server of its own."""

_LOCAL_STORES = ("sqlite", "postgresql", "mysql", "mssql", "file", "")
_OBJECT_STORES = ("s3", "r2", "b2", "gs", "wasbs", "abfss", "hdfs", "viewfs")
_HOST = re.compile(r"[\w.:\[\]-]*")  # of a backslash or an at sign, two libraries make two hosts
_LONGEST = 300


def is_local(uri: str) -> bool:
    """Whether a tracking URI names a database or a folder that this machine uses itself, not a server of MLflow."""
    return urlsplit(uri).scheme.partition("+")[0] in _LOCAL_STORES


def check_place(files: str, store: str, run_id: str) -> None:
    """Refuse files that are not part of the store.

    Those of a server are served by its own host, or lie in an object store, whose login is another. Those of other stores lie
    in an object store, or in a folder as the benchmark makes it, of whichever runs folder: ``…/mlartifacts/<run id>/artifacts``.

    Args:
        files: the artifact URI of a run.
        store: the tracking URI.
        run_id: MLflow's id of the run.

    Raises:
        BenchmarkError: they lie elsewhere.
    """
    try:
        place = urlsplit(files)
        allowed = place.scheme in _OBJECT_STORES or (_is_ours(files, run_id) if is_local(store) else _is_served(place, urlsplit(store)))
        allowed = allowed and files.isprintable()  # line ends within an address are nothing to one library and something to another
    except ValueError:  # an address that is none
        allowed = False
    if not allowed:
        from benchmark.failures import printable  # which imports this package

        raise BenchmarkError(f"its files lie at {printable(masked(files, store))[:_LONGEST]}, which is not part of this store")


def _is_served(place: SplitResult, store: SplitResult) -> bool:
    if not _HOST.fullmatch(place.netloc):
        return False
    if place.scheme == "mlflow-artifacts" and not place.netloc:
        return True
    schemes = ("mlflow-artifacts", "https", *(["http"] if store.scheme == "http" else []))  # the login leaves no encrypted line
    return place.scheme in schemes and place.hostname is not None and place.hostname == store.hostname


def _is_ours(files: str, run_id: str) -> bool:
    from mlflow.utils.file_utils import local_file_uri_to_path

    if urlsplit(files).scheme not in ("file", ""):
        return False
    path = PurePath(local_file_uri_to_path(files))
    return path.is_absolute() and ".." not in path.parts and path.parts[-3:] == (ARTIFACTS, run_id, "artifacts")
