"""Where the registry is, and how its failures become errors.

Without MLFLOW_TRACKING_URI it is an SQLite file under UAD_HOME, made on first use; no server.
"""

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from filelock import FileLock

from uad.errors import NotInstalledError, RegistryError, RegistryUnreachableError
from uad.errors.extras import cure
from uad.network import http_get, spare_loopback
from uad.storage.names import place_of
from uad.storage.paths import disk_error, mlflow_dir

if TYPE_CHECKING:
    from mlflow import MlflowClient

DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "1",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # MLflow's own defaults keep a caller waiting 4 minutes for a server that is down.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}
_FILE_SIGNS = ("readonly", "read-only", "unable to open", "disk is full", "disk I/O error")
_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
BROKEN = ("INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE")
PROBE_SECONDS = 4.0
LOCK_SECONDS = 120.0


@dataclass(frozen=True)
class Connection:
    """A client and the two facts that differ between a server and a database of our own."""

    uri: str
    client: "MlflowClient"
    artifact_root: Path | None
    """Where new experiments keep artifacts; None: the server decides."""

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Held by one process of this machine at a time; `name` is a product's.

        Raises:
            RegistryError: another process held it for too long.
        """
        folder = (self.artifact_root or mlflow_dir() / "artifacts").parent / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(place_of(folder, name, suffix=".lock"), timeout=LOCK_SECONDS)
        try:
            lock.acquire()
        except TimeoutError as exc:
            raise RegistryError(
                f"another promotion of '{name}' has held {lock.lock_file} for "
                f"{LOCK_SECONDS:.0f} s: end that process, then try again"
            ) from exc
        try:
            yield
        finally:
            lock.release()


class RegistryClient:
    """Opens the registry on first use and tells its failures as RegistryError."""

    def __init__(self, uri: str | None = None, *, create: bool = True) -> None:
        """`uri`: None means MLFLOW_TRACKING_URI, else an SQLite database under UAD_HOME.

        `create`: make an SQLite database that is not there; else it counts as unreachable.
        """
        self.uri = uri or tracking_uri()
        self._create = create

    @cached_property
    def _connection(self) -> Connection:
        return connect(self.uri)

    @property
    def is_new(self) -> bool:
        """Whether it is a database that nobody has made yet; nothing is in it."""
        file = _sqlite_file(self.uri)
        return file is not None and not _has_tables(self.uri)

    @contextmanager
    def _open(self) -> Iterator[Connection]:
        if not self._create:
            refuse_missing(self.uri)
        connection = self._connection
        with translated(self.uri):
            yield connection


def tracking_uri() -> str:
    """MLFLOW_TRACKING_URI, or the embedded SQLite database under UAD_HOME."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{mlflow_dir() / 'mlflow.db'}"


def refuse_missing(uri: str) -> None:
    """Refuse an SQLite database that is not there, empty or damaged, and touch nothing.

    Raises:
        RegistryUnreachableError: it cannot be used.
    """
    if urlsplit(uri).scheme.startswith("sqlite") and not _has_tables(uri):
        raise unreachable(uri, "the database is missing or empty")


def connect(uri: str) -> Connection:
    """Open the registry at `uri`, making an SQLite database that does not exist yet.

    Raises:
        RegistryUnreachableError: nothing answers there; known after seconds, not minutes.
        RegistryError: the address is of no kind that MLflow's registry has.
    """
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    spare_loopback()
    scheme = urlsplit(uri).scheme
    if scheme.startswith("sqlite"):
        # A connection that is kept would go on reading a file that was replaced.
        os.environ.setdefault("MLFLOW_SQLALCHEMYSTORE_POOLCLASS", "NullPool")
    if scheme in ("", "file"):
        raise RegistryError(
            f"MLflow keeps no registry in the folder {uri}: set MLFLOW_TRACKING_URI to "
            "sqlite:///FILE or http://HOST:PORT, or unset it for the database under UAD_HOME"
        )
    if scheme in ("http", "https"):
        _probe(uri)
    elif not scheme.startswith("sqlite"):
        _probe_database(uri)
    from mlflow import MlflowClient

    # After the import, which sets a level of its own.
    logging.getLogger("mlflow").setLevel(os.environ.get("MLFLOW_LOGGING_LEVEL", "WARNING"))
    logging.getLogger("alembic").setLevel(logging.WARNING)
    root = _artifact_root(uri)
    with translated(uri):
        if scheme.startswith("sqlite") and root is not None:
            _initialise(uri, root)
        return Connection(uri, MlflowClient(uri, uri), root)


@contextmanager
def translated(uri: str) -> Iterator[None]:
    """Turn MLflow's, the network's and the database's errors into RegistryError."""
    from mlflow.exceptions import MlflowException
    from requests.exceptions import RequestException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except MlflowException as exc:
        message = _first_line(exc)
        if is_silence(str(exc)):
            raise unreachable(uri, "it does not answer") from exc
        if "out-of-date database schema" in message:
            raise RegistryError(
                f"the database {uri} was made by another MLflow: back it up, then run "
                f"`mlflow db upgrade {uri}`"
            ) from exc
        if "(sqlite3." in message or exc.error_code in BROKEN:
            raise unreachable(uri, message) from exc
        raise RegistryError(f"the registry at {uri} refused the request: {message}") from exc
    except RequestException as exc:
        raise unreachable(uri, _first_line(exc)) from exc
    except ModuleNotFoundError as exc:
        raise NotInstalledError(f"for the registry at {uri} {cure(exc.name or 'it')}") from exc
    except SQLAlchemyError as exc:
        raise _of_database(uri, _first_line(exc)) from exc
    except OSError as exc:
        raise RegistryError(
            f"the registry at {uri} cannot read or write its files: {disk_error(exc)}"
        ) from exc


def is_silence(message: str) -> bool:
    """Whether MLflow says that a server did not answer."""
    return any(sign in message for sign in ("Max retries exceeded", "timed out", "Timeout"))


def _of_database(uri: str, reason: str) -> RegistryError:
    if uri.startswith("sqlite") and any(sign in reason for sign in _FILE_SIGNS):
        return RegistryUnreachableError(
            f"the registry's database {_sqlite_file(uri)} cannot be read or written ({reason}): "
            "check its access rights and the free space on its disk"
        )
    return unreachable(uri, reason)


def unreachable(uri: str, reason: str) -> RegistryUnreachableError:
    """The error if the registry does not answer."""
    return RegistryUnreachableError(
        f"cannot reach the registry at {uri} ({reason}): start it, or correct or unset "
        "MLFLOW_TRACKING_URI; for a slow server raise MLFLOW_HTTP_REQUEST_TIMEOUT "
        "and MLFLOW_HTTP_REQUEST_MAX_RETRIES"
    )


def _probe(uri: str) -> None:
    """Any HTTP answer will do; MLflow's own retries would wait much longer."""
    import httpx

    insecure = os.environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() == "true"
    verify = False if insecure else os.environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH", True)
    try:
        http_get(f"{uri.rstrip('/')}/health", timeout=PROBE_SECONDS, verify=verify)
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as exc:
        raise unreachable(uri, _first_line(exc) or type(exc).__name__) from exc


def _probe_database(uri: str) -> None:
    """MLflow would try to connect for two minutes."""
    try:
        parts = urlsplit(uri)
        kind = parts.scheme.partition("+")[0]
        port = parts.port or _PORTS.get(kind)
        if parts.hostname and port:
            socket.create_connection((parts.hostname, port), timeout=PROBE_SECONDS).close()
    except (OSError, ValueError) as exc:
        raise unreachable(uri, _first_line(exc) or type(exc).__name__) from exc


def _artifact_root(uri: str) -> Path | None:
    if urlsplit(uri).scheme in ("http", "https") or "databricks" in uri:
        return None
    file = _sqlite_file(uri)
    return mlflow_dir() / "artifacts" if file is None else file.parent / "artifacts"


def _sqlite_file(uri: str) -> Path | None:
    """The file of `sqlite:///FILE?...`; in FILE `#` and `%` are as any other letter."""
    scheme, separator, rest = uri.partition(":///")
    file = rest.partition("?")[0]
    return Path(file).absolute() if scheme.startswith("sqlite") and separator and file else None


def _initialise(uri: str, root: Path) -> None:
    """Make the tables; two processes at once on a new file would break each other."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    root.parent.mkdir(parents=True, exist_ok=True)
    lock = root.parent / ".initialise.lock"
    if lock.exists() and not os.access(lock, os.W_OK):  # another user's, who made the tables
        return
    with FileLock(lock):
        if not _has_tables(uri):
            store = SqlAlchemyStore(uri, (root / "Default").as_uri())  # type: ignore[no-untyped-call]
            store.engine.dispose()


def _has_tables(uri: str) -> bool:
    import sqlite3

    file = _sqlite_file(uri)
    if file is None or not file.is_file():
        return False
    database = sqlite3.connect(file)
    try:
        query = "SELECT count(*) FROM sqlite_master WHERE name = 'model_versions'"
        return bool(database.execute(query).fetchone()[0])
    except sqlite3.DatabaseError as exc:
        raise RegistryUnreachableError(
            f"The registry's database {file} is damaged ({exc}). Put a backup of it in its place."
        ) from exc
    finally:
        database.close()


def named_in_file(uri: str, product: str) -> bool | None:
    """Whether the SQLite database at `uri` names the product; None: it is no such file.

    Raises:
        RegistryUnreachableError: the file is damaged.
    """
    import sqlite3

    file = _sqlite_file(uri)
    if file is None:
        return None
    if not _has_tables(uri):
        return False
    query = "SELECT count(*) FROM registered_models WHERE name = ?"
    with closing(sqlite3.connect(file)) as database:
        return bool(database.execute(query, (product,)).fetchone()[0])


def _first_line(exc: Exception) -> str:
    return str(exc).strip().split("\n", 1)[0][:300]
