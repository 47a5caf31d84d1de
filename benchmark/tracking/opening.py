"""A client of a tracking store: silent, quick to see that nobody is there, its tables made once.

Several processes that open a new sqlite store together crash in its migration; those of a new PostgreSQL store fail over tables that
exist already. So they take turns.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from benchmark.errors import BenchmarkError
from benchmark.files import alone
from benchmark.tracking.command import masked, one_line

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

_DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",  # with MLflow's own values a dead server takes four minutes
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",  # a busy server was seen to need 15
}
_ALWAYS = {
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # two lines a run, with the password of the address, where tables and JSON go
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD": "false",  # for files of gigabytes; to ask whether a server can doubles the requests
}
_TURN = 7_205_759
"""The advisory lock of a PostgreSQL database under which its tables are made; any number that others do not use."""
_CONNECT_S = 5


def connect(uri: str) -> MlflowClient:
    """A client that has reached its store; importing MLflow takes about a second. Raises whatever MLflow and below it may raise."""
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    os.environ.update(_ALWAYS)
    from mlflow.tracking import MlflowClient

    _quiet()
    uri = _with_driver(uri)
    with _turn(uri):
        client = MlflowClient(uri)
        client.search_experiments(max_results=1)
    return client


def unreachable(location: str, error: Exception) -> BenchmarkError:
    """What to say of a store that cannot be used."""
    return BenchmarkError(f"MLflow store {masked(location, location)} cannot be used: {one_line(error, location)}")


def sqlite_file(uri: str) -> Path | None:
    """The file of a sqlite store; None for other stores."""
    scheme, _, path = uri.partition(":///")
    return Path(path.partition("?")[0]) if scheme.partition("+")[0] == "sqlite" else None


def _with_driver(uri: str) -> str:
    """The same address with the driver that is installed: SQLAlchemy 2.1 means psycopg where none is named, before it psycopg2."""
    if uri.startswith("postgresql://"):
        for driver in ("psycopg2", "psycopg"):
            if importlib.util.find_spec(driver) is not None:
                return uri.replace("postgresql://", f"postgresql+{driver}://", 1)
    return uri


@contextlib.contextmanager
def _turn(uri: str) -> Iterator[None]:
    file, scheme = sqlite_file(uri), urlsplit(uri).scheme.partition("+")[0]
    if file is not None:
        with contextlib.suppress(OSError):
            file.parent.mkdir(parents=True, exist_ok=True)
        if os.access(file.parent, os.W_OK):
            with alone(file.with_name(f"{file.name}.lock"), lambda: None):
                yield
            return
    elif scheme in ("postgresql", "mysql"):
        # MLflow tries ten times, which takes 100 seconds, whatever is wrong; this connection fails at once
        import sqlalchemy

        engine = sqlalchemy.create_engine(uri, poolclass=sqlalchemy.NullPool, connect_args={"connect_timeout": _CONNECT_S})
        with engine.connect() as connection:
            if scheme == "postgresql":
                connection.execute(sqlalchemy.text(f"SELECT pg_advisory_lock({_TURN})"))
            yield
        return
    yield


def _quiet() -> None:
    """Keep migrations and retries off the terminal, and MLflow's own tracebacks: what fails is told once, by the tracker."""
    if "MLFLOW_LOGGING_LEVEL" not in os.environ:
        logging.getLogger("mlflow").setLevel(logging.CRITICAL)
    for name in ("alembic", "urllib3.connectionpool"):
        if logging.getLogger(name).getEffectiveLevel() < logging.ERROR:
            logging.getLogger(name).setLevel(logging.ERROR)
