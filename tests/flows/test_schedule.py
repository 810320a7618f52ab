import signal
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prefect import flow

from flows.schedule import Schedule, cancel_overdue, local_timezone
from tests.flows.conftest import deployed, read_until
from uad.cli import main
from uad.errors import ConfigError
from uad.registry import ModelRegistry

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def test_a_cron_line_is_read_in_its_time_zone() -> None:
    times = Schedule(cron="0 3 * * *", timezone="Europe/Berlin").next(2, NOON)
    assert [time.astimezone(UTC) for time in times] == [
        datetime(2026, 11, 25, 2, tzinfo=UTC),
        datetime(2026, 11, 26, 2, tzinfo=UTC),
    ]


def test_an_interval_begins_at_once() -> None:
    assert Schedule(interval_seconds=60).next(2, NOON) == [NOON, NOON + timedelta(minutes=1)]


@pytest.mark.parametrize(
    ("interval", "cron", "zone"),
    [
        (None, None, "UTC"),
        (60, "0 3 * * *", "UTC"),
        (0, None, "UTC"),
        (None, "at three", "UTC"),
        (None, "0 3 * * *", "Mars/Olympus"),
    ],
)
def test_a_schedule_that_makes_no_sense_is_refused(
    interval: float | None, cron: str | None, zone: str
) -> None:
    with pytest.raises(ConfigError):
        Schedule(interval, cron, zone).next(1)


def test_a_wrong_schedule_is_refused_before_anything_starts(
    uad_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["deploy", "--name", "parts", "--data", "parts", "--cron", "at three"])
    assert stopped.value.code == 1
    assert "is not a schedule" in capsys.readouterr().err
    assert not (uad_home / "prefect" / "server.json").exists()


def test_the_time_zone_of_the_machine_is_one_that_exists(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", ":Asia/Tokyo")
    assert local_timezone() == "Asia/Tokyo"
    monkeypatch.setenv("TZ", "nowhere")
    assert local_timezone() == "UTC"


@flow
def overdue() -> None:
    """Does what every scheduled run does first."""
    cancel_overdue()


def test_of_missed_runs_one_is_made_up_for_and_the_others_are_cancelled(prefect_api: str) -> None:
    from prefect.client.orchestration import get_client
    from prefect.deployments.runner import RunnerDeployment
    from prefect.flow_engine import run_flow
    from prefect.states import Scheduled

    deployment = RunnerDeployment.from_flow(overdue, name="missed").apply()
    assert not isinstance(deployment, str)
    with get_client(sync_client=True) as client:
        runs = [
            client.create_flow_run_from_deployment(
                deployment,
                state=Scheduled(scheduled_time=datetime.now(UTC) + timedelta(hours=hour)),
            )
            for hour in (-3, -2, -1, 1)
        ]
        run_flow(overdue, flow_run=client.read_flow_run(runs[0].id))
        states = [client.read_flow_run(run.id).state for run in runs]
    assert [state.name if state else None for state in states] == [
        "Completed",
        "Cancelled",
        "Cancelled",
        "Scheduled",
    ]


@pytest.fixture
def deploy(
    prefect_api: str, normals: Path, registry: ModelRegistry
) -> Iterator["subprocess.Popen[str]"]:
    with deployed(prefect_api, normals, "--interval", "5") as process:
        yield process


def test_the_first_run_of_an_interval_comes_at_once(prefect_api: str, normals: Path) -> None:
    with deployed(prefect_api, normals, "--interval", "86400") as process:
        seen = read_until(process, "Flow run", "Finished in state Completed()")
    assert any("registered: models:/parts/1" in line for line in seen), "".join(seen)


def test_an_interval_schedule_fires_and_ends_cleanly(
    deploy: "subprocess.Popen[str]", registry: ModelRegistry
) -> None:
    """The guard against versions of Prefect's dependencies that silently stop its schedules."""
    seen = read_until(deploy, "Flow run", "Finished in state Completed()")  # the one at once
    seen += read_until(deploy, "Flow run", "Finished in state Completed()")
    deploy.send_signal(signal.SIGINT)
    assert deploy.stdout is not None
    rest = deploy.stdout.read()

    assert any("registered: models:/parts/1" in line for line in seen), "".join(seen)
    assert deploy.wait(60) == 0, rest
    assert "Stopped" in rest
    assert scheduled_runs() == 1
    champion = registry.champion("parts")
    assert champion is not None
    assert champion.version == "1"


def scheduled_runs() -> int:
    """How many finished runs of the chain were made by the scheduler, not by hand."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowFilter, FlowRunFilter

    finished: dict[str, Any] = {"state": {"type": {"any_": ["COMPLETED"]}}}
    named: dict[str, Any] = {"name": {"any_": ["retrain"]}}
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(
            flow_filter=FlowFilter.model_validate(named),
            flow_run_filter=FlowRunFilter.model_validate(finished),
        )
    return sum(run.auto_scheduled for run in runs)
