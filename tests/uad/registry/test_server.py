"""Against a real `mlflow server` that keeps the artifacts itself."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from uad.bundle import read_bundle
from uad.detector import load_detector
from uad.errors import RegistryUnreachableError
from uad.live import BundleStore, Follower
from uad.registry import ModelRegistry
from uad.types import EpochMetrics

pytestmark = pytest.mark.slow


class Server:
    """A process that can be ended and started again on the same data."""

    def __init__(self, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.folder = folder
        self.uri = f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        options = {
            "--backend-store-uri": f"sqlite:///{self.folder / 'server.db'}",
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
        deadline = time.monotonic() + 120
        while True:
            try:
                httpx.get(f"{self.uri}/health")
                return
            except httpx.TransportError:
                assert time.monotonic() < deadline
                time.sleep(0.2)

    def stop(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(30)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    folder = tmp_path / "server"
    folder.mkdir()
    made = Server(folder)
    made.start()
    yield made
    made.stop()


def test_the_whole_life_of_a_product_on_a_server(
    server: Server,
    random_bundle: Callable[[int], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    registry = ModelRegistry()
    run = registry.start_run("cookie", params={"a": {"b": 1}})
    registry.log_epoch(run, EpochMetrics(1, {"train_loss": 0.5}))
    first = registry.register(random_bundle(1), "cookie", run_id=run)
    second = registry.register(random_bundle(2), "cookie")
    assert (first.version, second.version) == ("1", "2")
    assert read_bundle(registry.fetch(first, tmp_path / "into"))
    assert (server.folder / "artifacts").is_dir()

    registry.promote("cookie", "1")
    follower = Follower(
        "models:/cookie@champion", registry, BundleStore(tmp_path / "store"), load_detector
    )
    assert follower.poll()
    registry.promote("cookie", "2")
    assert follower.poll()
    assert follower.status().serving == "2"
    assert registry.rollback("cookie").to_version == "1"
    assert [move.to_version for move in registry.history("cookie")] == ["1", "2", "1"]

    server.stop()
    begin = time.monotonic()
    assert not follower.poll()
    with pytest.raises(RegistryUnreachableError, match=server.uri):
        ModelRegistry().products()
    assert time.monotonic() - begin < 15
    assert follower.status().serving == "2"
    server.start()
    assert follower.poll()
    assert follower.status().serving == "1"
