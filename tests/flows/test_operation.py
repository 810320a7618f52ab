import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from prefect import flow, task
from prefect.states import Failed

from flows.server import end_orphan, own_server, reachable, running
from flows.tracking import REGISTRY, EpochLog, closing_run, unreachable
from uad.errors import BusyError, DataError, FlowError, RegistryUnreachableError
from uad.models.parts import EpochMetrics
from uad.operations.training import only_retraining
from uad.registry import ModelRegistry, RunTracker
from uad.storage.paths import locks_dir, prefect_dir


def test_a_registry_that_did_not_answer_is_asked_again_and_bad_data_is_not(
    prefect_api: str,
) -> None:
    asked = []

    @task(**{**REGISTRY, "retry_delay_seconds": 0})
    def ask() -> str:
        asked.append(1)
        if len(asked) < 3:
            raise RegistryUnreachableError("no answer")
        return "answer"

    @flow
    def asking() -> str:
        return ask()

    assert asking() == "answer"
    assert len(asked) == 3
    assert not unreachable(None, None, Failed(data=DataError("no images")))


def test_a_lock_names_who_holds_it_and_goes_with_its_process(uad_home: Path) -> None:
    with only_retraining("cookie"):
        with (
            pytest.raises(BusyError, match=rf"process {os.getpid()}"),
            only_retraining("cookie"),
        ):
            pass
        with only_retraining("bottle"):
            pass
    killed = (
        "import os, signal\n"
        "from uad.operations.training import only_retraining\n"
        "with only_retraining('cookie'):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", killed], check=False, timeout=60)
    assert list(locks_dir().glob("*.json"))
    with only_retraining("cookie"):
        pass


@pytest.mark.parametrize(
    ("error", "status"),
    [(DataError("no images"), "FAILED"), (KeyboardInterrupt(), "KILLED"), (None, "FINISHED")],
)
def test_a_run_in_mlflow_ends_as_the_flow_ended(
    registry: ModelRegistry, error: BaseException | None, status: str
) -> None:
    from mlflow import MlflowClient

    run_id = RunTracker().start_run("cookie")
    with contextlib.suppress(DataError, KeyboardInterrupt), closing_run(run_id):
        if error is not None:
            raise error
    assert MlflowClient(registry.uri).get_run(run_id).info.status == status


class Server:
    """Takes epochs while it is up."""

    def __init__(self) -> None:
        self.up, self.logged = True, list[int]()

    def log_epoch(self, run_id: str, epoch: EpochMetrics) -> None:
        if not self.up:
            raise RegistryUnreachableError("no answer")
        assert run_id == "run"
        self.logged.append(epoch.epoch)


def test_a_training_goes_on_while_the_registry_is_down_and_no_epoch_is_lost(
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = Server()
    log = EpochLog(server, "run")
    for epoch, server.up in ((1, True), (2, False), (3, False), (4, True)):
        log(EpochMetrics(epoch, {"train_loss": 1.0}))
    assert server.logged == [1, 2, 3, 4]
    assert "epoch 2 is not logged yet" in caplog.text


def test_state_lies_under_uad_home_and_a_users_server_is_respected(uad_home: Path) -> None:
    shown = "import os; from flows import environment; environment.prepare();"
    shown += "from prefect.settings import get_current_settings as s;"
    shown += "print(s().home, s().api.url, s().server.ephemeral.startup_timeout_seconds)"
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PREFECT")}

    def run(**given: str) -> list[str]:
        command = [sys.executable, "-c", shown]
        done = subprocess.run(
            command, env=clean | given, capture_output=True, text=True, check=True, timeout=120
        )
        return done.stdout.split()

    assert run() == [str(uad_home / "prefect"), "None", "300"]
    home, url, _ = run(PREFECT_API_URL="http://prefect:4200/api")
    assert url == "http://prefect:4200/api"
    assert home != str(uad_home / "prefect")
    assert run(PREFECT_HOME=str(uad_home))[0] == str(uad_home)


def test_a_second_deploy_of_one_home_is_told_how_to_join_the_first(
    prefect_api: str, prefect_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert running() is None
    monkeypatch.setenv("UAD_HOME", str(prefect_home))
    server = running()
    assert server is not None
    assert server.api_url == prefect_api
    with pytest.raises(FlowError, match=f"PREFECT_API_URL={prefect_api}"), own_server():
        pass


def test_the_server_of_a_killed_deploy_is_ended_before_another_starts(uad_home: Path) -> None:
    orphan = subprocess.Popen(
        [sys.executable, "-c", "import signal; signal.pause()", "prefect", "server"]
    )
    record = {"url": "http://127.0.0.1:4299", "pid": orphan.pid}
    (prefect_dir() / "server.json").write_text(json.dumps(record))
    end_orphan()
    assert not psutil.pid_exists(orphan.pid)
    orphan.wait(60)


def test_a_server_that_does_not_answer_is_named_with_the_cure() -> None:
    with pytest.raises(FlowError, match=r"127\.0\.0\.1:9/api.*prefect server start"):
        reachable("http://127.0.0.1:9/api")
