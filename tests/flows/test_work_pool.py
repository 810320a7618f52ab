"""deploy/prefect.yaml on a process work pool, as its first lines say: a server, a worker, runs."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_URL, temporary_settings
from safetensors import safe_open

from flows.server import free_port, own_server
from tests.conftest import ROOT
from tests.flows.conftest import TINY
from uad.registry import ModelRegistry
from uad.storage.paths import checkpoints_dir, locks_dir

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

PATIENCE_SECONDS = 240.0
EPOCHS, LOST = 240, 40
"""Of a training of some seconds, and of what is done when its process is killed."""
LONG = {**TINY, "training": {"epochs": EPOCHS, "min_steps": 0}}
QUICK = {
    # A file: the server forgets at no restart who holds the deployment's only place.
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",  # noqa: E501
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_DEPLOYMENTS_CONCURRENCY_SLOT_WAIT_SECONDS": "2",
    "PREFECT_WORKER_QUERY_SECONDS": "2",
}


@contextmanager
def prefect(*words: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A command of Prefect's; it and all that it started end with the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "prefect", "--no-prompt", *words],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        started = (
            [process, *psutil.Process(process.pid).children(recursive=True)]
            if (process.poll() is None)
            else []
        )
        for each in started:
            with suppress(psutil.Error, ProcessLookupError):
                each.kill()
        process.wait(30)


def run_prefect(*words: str) -> None:
    """Run a command of Prefect's to its end."""
    with prefect(*words) as process:
        assert process.wait(PATIENCE_SECONDS) == 0


@dataclass(frozen=True)
class Pool:
    """What asks for runs of `retrain/cookie`, and looks at them."""

    client: SyncPrefectClient

    def ask(self, config: dict[str, Any]) -> FlowRun:
        """Ask for a run; the worker begins it."""
        deployment = self.client.read_deployment_by_name("retrain/cookie")
        parameters = {"teacher": "random", "config": config}
        return self.client.create_flow_run_from_deployment(deployment.id, parameters=parameters)

    def is_called(self, run: FlowRun, state: str) -> bool:
        """Whether the run's state has this name."""
        return self.client.read_flow_run(run.id).state_name == state

    def runs(self) -> list[FlowRun]:
        """All that were asked for by hand or by a run that died, in the order they began."""
        made = [run for run in self.client.read_flow_runs() if not run.auto_scheduled]
        return sorted(made, key=lambda run: str(run.start_time))


@pytest.fixture
def pool(
    uad_home: Path,
    registry: ModelRegistry,
    normals: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Pool]:
    """The commands of deploy/prefect.yaml, and its retraining without the nightly schedule."""
    for name, value in {**QUICK, "UAD_DATA": str(normals), "PYTHONPATH": str(ROOT)}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PREFECT_HOME", str(uad_home / "prefect-client"))
    with ExitStack() as stack:
        server = stack.enter_context(own_server(free_port()))
        monkeypatch.setenv("PREFECT_API_URL", server.api_url)
        stack.enter_context(temporary_settings({PREFECT_API_URL: server.api_url}))
        run_prefect("work-pool", "create", "uad", "--type", "process")
        run_prefect("deploy", "--all", "--prefect-file", "deploy/prefect.yaml")
        client = stack.enter_context(get_client(sync_client=True))
        for flow in ("watch", "drift"):  # deployed, but no part of this test
            client.delete_deployment(client.read_deployment_by_name(f"{flow}/cookie").id)
        stack.enter_context(prefect("worker", "start", "--pool", "uad", "--limit", "2"))
        yield Pool(client)


def until(condition: Callable[[], object], what: str) -> None:
    """Wait for something that other processes do."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"not seen in time: {what}"
        time.sleep(0.2)


def training() -> int | None:
    """The process that trains and has something to lose, if there is one."""
    with suppress(OSError, ValueError, KeyError):
        [file] = checkpoints_dir().glob("*/*.safetensors")
        [holder] = locks_dir().glob("retrain-*.json")
        with safe_open(file, framework="np") as stored:
            done = json.loads(stored.metadata()["facts"])["epoch"]
        return int(json.loads(holder.read_text())["pid"]) if done > LOST else None
    return None


def test_a_killed_run_is_followed_from_its_checkpoint_and_another_waits_for_its_turn(
    pool: Pool, registry: ModelRegistry
) -> None:
    from mlflow import MlflowClient

    first = pool.ask(LONG)
    until(training, "the first run trains")
    killed = training()
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    until(lambda: training() not in (None, killed), "another goes on with its training")
    second = pool.ask(TINY)
    until(lambda: pool.is_called(second, "AwaitingConcurrencySlot"), "the second run waits")
    until(lambda: not pool.is_called(second, "AwaitingConcurrencySlot"), "the first one's end")
    until(lambda: pool.is_called(second, "Completed"), "the second run's end")

    crashed, follower, last = pool.runs()
    assert [crashed.id, last.id] == [first.id, second.id]
    assert [run.state_name for run in (crashed, follower, last)] == [
        "Crashed", "Completed", "Completed",
    ]  # fmt: skip
    assert "start-2" in follower.tags
    assert follower.end_time is not None
    assert last.start_time is not None
    assert follower.end_time <= last.start_time

    client = MlflowClient(registry.uri)
    experiment = client.get_experiment_by_name("cookie")
    runs = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time"])
    assert [run.info.status for run in runs] == ["FINISHED", "FINISHED"]
    steps = [each.step for each in client.get_metric_history(runs[0].info.run_id, "train_loss")]
    assert steps[-1] == EPOCHS
    assert len(steps) < EPOCHS + LOST  # from the checkpoint, not from the beginning
    assert [version.version for version in registry.versions("cookie")] == ["2", "1"]
