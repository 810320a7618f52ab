"""Servers that tests start on loopback ports: MLflow's, and PostgreSQL where it is installed."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from flows.server import LOOPBACK, free_port

START_SECONDS = 120.0


class MlflowServer:
    """`mlflow server` that keeps the artifacts itself; it can be ended and started again."""

    def __init__(self, folder: Path, store: str | None = None) -> None:
        """`store`: address of its database; None means SQLite in `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.store = store or f"sqlite:///{folder / 'server.db'}"
        self.port = free_port()
        self.uri = f"http://{LOOPBACK}:{self.port}"

    def start(self) -> None:
        options = {
            "--backend-store-uri": self.store,
            "--artifacts-destination": str(self.folder / "artifacts"),
            "--port": str(self.port),
            "--workers": "1",
        }
        command = [part for option in options.items() for part in option]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", *command],
            env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            cwd=self.folder,
            start_new_session=True,
        )
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                httpx.get(f"{self.uri}/health")
                return
            except httpx.TransportError:
                assert self.process.poll() is None, "mlflow server ended"
                assert time.monotonic() < deadline
                time.sleep(0.2)

    def stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(30)


@contextlib.contextmanager
def mlflow_server(folder: Path, store: str | None = None) -> Iterator[MlflowServer]:
    """A server for the length of the block."""
    server = MlflowServer(folder, store)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextlib.contextmanager
def postgresql() -> Iterator[str]:
    """A PostgreSQL of this block's own; yields its address. Skips where it is not installed.

    It refuses to run as root: then it runs as the user that its package made.
    """
    pytest.importorskip("psycopg2", reason="PostgreSQL's driver is not installed: uad[postgres]")
    programs = _programs()
    user = "postgres" if os.getuid() == 0 else None
    with tempfile.TemporaryDirectory(prefix="uad-postgres-") as name:  # one that `user` can enter
        folder, port = Path(name), free_port()
        if user:
            shutil.chown(folder, user)
        run = {"user": user, "extra_groups": []} if user else {}
        data = str(folder / "data")
        subprocess.run(
            [programs / "initdb", "-D", data, "-U", "uad", "--auth=trust", "--no-sync"],
            check=True, capture_output=True, cwd=folder, **run,
        )  # fmt: skip
        process = subprocess.Popen(
            [programs / "postgres", "-D", data, "-h", LOOPBACK, "-p", str(port), "-k", name, "-F"],
            stderr=subprocess.DEVNULL, cwd=folder, **run,
        )  # fmt: skip
        try:
            _wait_for(programs / "pg_isready", port)
            yield f"postgresql://uad@{LOOPBACK}:{port}/postgres"
        finally:
            process.send_signal(signal.SIGINT)  # its fast shutdown
            process.wait(60)


def _programs() -> Path:
    """The folder of PostgreSQL's programs; Debian keeps them off PATH."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    if found := shutil.which("initdb"):
        folders.append(Path(found).resolve().parent)
    for folder in folders:
        if (folder / "pg_isready").exists():
            return folder
    pytest.skip("PostgreSQL is not installed: apt-get install postgresql")


def _wait_for(ready: Path, port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while subprocess.run([ready, "-q", "-h", LOOPBACK, "-p", str(port)], check=False).returncode:
        assert time.monotonic() < deadline
        time.sleep(0.1)
