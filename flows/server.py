"""A Prefect server of our own, for schedules.

The engine that Prefect starts by itself for a run has no scheduler: a schedule served on it never
fires. So `uad deploy` starts `prefect server start` on the loopback interface, with its database
under UAD_HOME, unless PREFECT_API_URL names a server.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

import httpx
import psutil
from filelock import FileLock, Timeout

from uad.errors import FlowError
from uad.network import http_get, spare_loopback
from uad.storage.atomic_writes import write_file
from uad.storage.paths import damage_of, prefect_dir

PORT = 4200
"""Prefect's own port; if it is in use, another free one is taken."""
START_SECONDS = 300.0


@dataclass(frozen=True)
class Server:
    """Where it listens."""

    url: str
    pid: int

    @property
    def api_url(self) -> str:
        """For PREFECT_API_URL."""
        return f"{self.url}/api"


def running() -> Server | None:
    """The server that a `uad deploy` of this UAD_HOME keeps, if one does."""
    lock = _lock()
    try:
        lock.acquire()
    except Timeout:
        return _recorded()
    lock.release()
    return None


@contextmanager
def own_server(port: int | None = None) -> Iterator[Server]:
    """Run a server with its state under UAD_HOME until the block ends.

    Args:
        port: None means Prefect's own port, or a free one where that is in use.

    Raises:
        FlowError: this UAD_HOME has one already, or it does not start.
    """
    lock = _lock()
    try:
        lock.acquire()
    except Timeout as exc:
        raise FlowError(_taken()) from exc
    try:
        end_orphan()
        server, process = _start(_port(port))
        try:
            if not answers(process, f"{server.api_url}/health", START_SECONDS):
                raise FlowError(why_not_started("server", _log()))
            yield server
        finally:
            stop(process)
            _record().unlink(missing_ok=True)
    finally:
        lock.release()


def why_not_started(what: str, log: Path) -> str:
    """What a person is told when Prefect's engine or server does not start."""
    database = prefect_dir() / "prefect.db"
    if damage := damage_of(database):
        return (
            f"Prefect's {what} did not start, because its database {database} is damaged "
            f"({damage}). Put a backup in its place, or move it away: it holds the runs' history "
            "and the schedules, no images and no models."
        )
    return f"Prefect's {what} did not start. Its log is {log}"


def _port(wanted: int | None) -> int:
    """Raises FlowError where the port asked for is taken."""
    chosen = free_port(PORT if wanted is None else wanted)
    if wanted is not None and chosen != wanted:
        raise FlowError(
            f"port {wanted} is in use: choose another with --port, or stop the program that uses it"
        )
    return chosen


def reachable(api_url: str) -> None:
    """Raise FlowError unless Prefect answers at `api_url`; Prefect itself would try for long."""
    url = api_url.rstrip("/")
    try:
        answer = http_get(f"{url}/health", timeout=5.0)
        if _is_page(answer) and not _is_page(http_get(f"{url}/api/health", timeout=5.0)):
            raise FlowError(
                f"{api_url} is the address of Prefect's page, not of its API: set "
                f"PREFECT_API_URL={url}/api"
            )
    except (httpx.HTTPError, httpx.InvalidURL) as exc:
        raise FlowError(
            f"no Prefect server answers at {api_url}: start it with `prefect server start`, or "
            "correct or unset PREFECT_API_URL"
        ) from exc
    if _is_page(answer):
        raise FlowError(
            f"the server at {api_url} is not Prefect's API: PREFECT_API_URL ends in /api, for "
            "example http://127.0.0.1:4200/api; correct or unset it"
        )


def _is_page(answer: httpx.Response) -> bool:
    """Whether the answer is an error or an HTML page, and not the API's health."""
    is_html = answer.headers.get("content-type", "").startswith("text/html")
    return is_html or answer.status_code == httpx.codes.NOT_FOUND


def _start(port: int) -> "tuple[Server, subprocess.Popen[bytes]]":
    environment = {"PREFECT_SERVER_LOGGING_LEVEL": "WARNING", **os.environ}
    environment |= {
        "PREFECT_HOME": str(prefect_dir()),
        # Its page calls the API in these variables; by default the server on port 4200.
        "PREFECT_SERVER_API_HOST": LOOPBACK,
        "PREFECT_SERVER_API_PORT": str(port),
    }
    spare_loopback(environment)
    if (pages := _pages()) is not None:
        environment.setdefault("PREFECT_UI_STATIC_DIRECTORY", str(pages))
    for name in ("PREFECT_UI_API_URL", "PREFECT_SERVER_UI_API_URL"):
        environment.pop(name, None)
    environment.pop("PREFECT_API_URL", None)
    command = ["-m", "prefect", "server", "start", "--host", LOOPBACK, "--port", str(port)]
    with _log().open("wb") as log:
        # In a session of its own: Ctrl-C reaches the runs first, and the server after them.
        process = subprocess.Popen(
            [sys.executable, *command],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    server = Server(f"http://{LOOPBACK}:{port}", process.pid)
    write_file(_record(), json.dumps(asdict(server)))
    return server, process


def _pages() -> Path | None:
    """Where Prefect's pages are built if its code's folder is not writable."""
    found = find_spec("prefect")
    if found is None or found.origin is None:
        return None
    code = Path(found.origin).parent / "server"
    return None if os.access(code, os.W_OK) else prefect_dir() / "ui"


def end_orphan() -> None:
    """Stop the server of a killed `uad deploy`: two servers on one database disturb each other."""
    server = _recorded()
    if server is None or not psutil.pid_exists(server.pid):
        return
    with suppress(psutil.Error):
        process = psutil.Process(server.pid)
        if "prefect" in process.cmdline() and "server" in process.cmdline():
            process.send_signal(signal.SIGTERM)
            process.wait(STOP_SECONDS)


def _recorded() -> Server | None:
    try:
        return Server(**json.loads(_record().read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _taken() -> str:
    server = _recorded()
    where = f" with its server at {server.url}" if server else ""
    join = f"set PREFECT_API_URL={server.api_url} to schedule on it as well, or " if server else ""
    return (
        f"a `uad deploy` of this UAD_HOME is running already{where}: {join}run "
        "`prefect server start` and set PREFECT_API_URL for all of them"
    )


def _lock() -> FileLock:
    return FileLock(prefect_dir() / "server.lock", timeout=0)


def _record() -> Path:
    return prefect_dir() / "server.json"


def _log() -> Path:
    return prefect_dir() / "server.log"


LOOPBACK = "127.0.0.1"
STOP_SECONDS = 15.0


def answers(process: "subprocess.Popen[bytes]", url: str, seconds: float) -> bool:
    """Wait until `url` answers with success; False if the process ends or time is up before."""
    deadline = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(httpx.HTTPError):
            if http_get(url, timeout=2.0).is_success:
                return True
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.1)
    return False


def stop(
    process: "subprocess.Popen[bytes]",
    number: signal.Signals = signal.SIGTERM,
    seconds: float = STOP_SECONDS,
) -> None:
    """Ask the process to end, and end it if it does not within `seconds`."""
    process.send_signal(number)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def free_port(wanted: int = 0) -> int:
    """`wanted` on the loopback interface if nobody listens there, else a free port."""
    with socket.socket() as probe:
        try:
            probe.bind((LOOPBACK, wanted))
        except OSError:
            probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])
