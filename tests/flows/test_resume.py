import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from prefect import flow

from flows.resume import MOST_STARTS, begin_again, place, revive_lost
from flows.retrain import retrain
from flows.worker import recover
from uad.registry import ModelRegistry
from uad.storage.paths import checkpoints_dir

LONG = 40
"""Epochs; some seconds."""


@flow(name="retrain")
def standing_in() -> None:
    """Has the chain's name."""


def test_a_killed_retraining_goes_on_in_the_same_run_from_its_checkpoint(
    full_chain: dict[str, Any],
    normals: Path,
    registry: ModelRegistry,
    prefect_api: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    from mlflow import MlflowClient

    config = {**full_chain["config"], "training": {"epochs": LONG, "min_steps": 0}}
    parameters = {**full_chain, "config": config, "data": str(normals)}
    command = f"from flows.retrain import retrain; retrain(**{parameters!r})"
    process = subprocess.Popen(
        [sys.executable, "-c", command],
        env={**os.environ, "PREFECT_API_URL": prefect_api},
        stderr=subprocess.DEVNULL,
    )
    client = MlflowClient(registry.uri)
    while process.poll() is None and not logged_epochs(client):
        wait_a_moment(process)
    process.send_signal(signal.SIGKILL)
    assert process.wait(60) == -signal.SIGKILL
    [cut_off] = runs(client)
    before = logged_epochs(client)

    outcome = retrain(**parameters)

    assert f"goes on with a retraining that was stopped: MLflow run {outcome.run_id}" in caplog.text
    [run] = runs(client)
    epochs = logged_epochs(client)
    assert cut_off.info.status == "RUNNING"
    assert run.info.status == "FINISHED"
    assert run.info.run_id == outcome.run_id
    assert 0 < len(before) < LONG
    assert sorted(epochs) == list(range(1, LONG + 1))  # each once: none was trained a second time
    assert not list(checkpoints_dir().glob("*/*.safetensors"))


def runs(client: Any) -> list[Any]:
    experiment = client.get_experiment_by_name("parts")
    return list(client.search_runs([experiment.experiment_id])) if experiment else []


def logged_epochs(client: Any) -> list[int]:
    """The epochs whose loss stands in the run, in the order in which they were logged."""
    history = [
        metric
        for run in runs(client)
        for metric in client.get_metric_history(run.info.run_id, "train_loss")
    ]
    return [metric.step for metric in history]


def wait_a_moment(process: "subprocess.Popen[bytes]") -> None:
    try:
        process.wait(0.05)
    except subprocess.TimeoutExpired:
        return


@pytest.fixture
def flow_run(prefect_api: str) -> Any:
    """A run of a deployment that began."""
    from prefect.client.orchestration import get_client
    from prefect.deployments.runner import RunnerDeployment
    from prefect.states import Running

    deployment = RunnerDeployment.from_flow(standing_in, name="crashing").apply()
    assert not isinstance(deployment, str)
    with get_client(sync_client=True) as client:
        run = client.create_flow_run_from_deployment(deployment)
        client.set_flow_run_state(run.id, Running(), force=True)
        yield client.read_flow_run(run.id)
        client.delete_flow_run(run.id)


def state_of(flow_run: Any) -> str:
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        state = client.read_flow_run(flow_run.id).state
    return state.name if state and state.name else ""


def test_a_run_that_crashed_is_scheduled_again_but_not_for_ever(flow_run: Any) -> None:
    from prefect.client.orchestration import get_client
    from prefect.states import Crashed, Running, Scheduled

    begin_again(standing_in, flow_run, Crashed(message="killed"))
    assert state_of(flow_run) == "AwaitingRetry"
    with get_client(sync_client=True) as client:
        for _ in range(MOST_STARTS - 1):
            client.set_flow_run_state(flow_run.id, Scheduled(), force=True)
            client.set_flow_run_state(flow_run.id, Running(), force=True)
    begin_again(standing_in, flow_run, Crashed(message="killed"))
    assert state_of(flow_run) == "Running"


def test_runs_of_a_killed_deploy_are_scheduled_again_when_it_starts_anew(flow_run: Any) -> None:
    revive_lost()
    assert state_of(flow_run) == "AwaitingRetry"


@pytest.fixture
def pool_run(prefect_api: str) -> Any:
    """A run of a work pool that its worker began, and the client that looks at it."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.states import Running

    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name="lines", type="process"))
        client.send_worker_heartbeat("lines", place())
        flow_id = client.create_flow(standing_in)
        deployment = client.create_deployment(flow_id, "pooled", work_pool_name="lines")
        run = client.create_flow_run_from_deployment(deployment)
        client.set_flow_run_state(run.id, Running(), force=True)
        yield client, run
        client.delete_work_pool("lines")


def test_a_worker_marks_the_runs_of_the_one_before_it_and_begins_retrainings_again(
    pool_run: Any, prefect_api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, run = pool_run
    monkeypatch.setenv("PREFECT_API_URL", prefect_api)
    assert recover("lines") == [run.name]
    assert state_of(run) == "Crashed"
    follower = next(each for each in client.read_flow_runs() if "start-2" in each.tags)
    assert follower.deployment_id == run.deployment_id
    assert recover("lines") == []  # nothing of it is lost now


def test_a_worker_leaves_the_runs_alone_that_another_may_have(
    pool_run: Any, prefect_api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, run = pool_run
    monkeypatch.setenv("PREFECT_API_URL", prefect_api)
    client.send_worker_heartbeat("lines", "another machine")
    assert recover("lines") == []
    assert state_of(run) == "Running"
