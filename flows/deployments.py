"""Retraining on a schedule: deployments of the chain, and the process that serves them."""

import asyncio
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from prefect.deployments.runner import RunnerDeployment
from prefect.events import DeploymentEventTrigger
from prefect.events.schemas.events import ResourceSpecification
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.types.entrypoint import EntrypointType

from flows import drift as drifting
from flows import watch as watching
from flows.resume import revive_lost
from flows.retrain import retrain
from flows.schedule import Schedule
from flows.server import own_server, reachable

COMMON: dict[str, Any] = {
    "tags": ["uad"],
    # By its module's name: found from any working directory.
    "entrypoint_type": EntrypointType.MODULE_PATH,
}


def deployment(
    product: str, schedule: Schedule | None, parameters: dict[str, Any]
) -> RunnerDeployment:
    """`retrain/<product>` on a schedule, and whenever its folder changed or its scores drifted.

    Args:
        product: the registered model's name.
        schedule: None means on events only.
        parameters: the chain's, as JSON holds them.
    """
    return RunnerDeployment.from_flow(
        retrain,
        name=product,
        schedule=schedule.prefect() if schedule else None,
        triggers=[
            _trigger(product, watching.EVENT, {"reason": watching.REASON}),
            # The cause may be drift or defects, so a person decides whether the result serves.
            _trigger(product, drifting.EVENT, {"promote": "never", "reason": drifting.REASON}),
        ],
        parameters={"product": product, "skip_unchanged": True, **parameters},
        description=f"Retrain {product}: ingest, fine-tune, evaluate, register, promote.",
        **COMMON,
    )


def watch_deployment(
    product: str, data: str, every_seconds: float, settle_seconds: float = 0.0
) -> RunnerDeployment:
    """`watch/<product>`: looks at the folder `data` and announces new images.

    It waits until the run would take all of them: `settle_seconds` is that run's.
    """
    settled = max(watching.SETTLED_SECONDS, settle_seconds)
    return RunnerDeployment.from_flow(
        watching.watch,
        name=product,
        interval=every_seconds,
        parameters={"product": product, "data": data, "settled_seconds": settled},
        description=f"Look for new images of {product}.",
        **COMMON,
    )


def drift_deployment(product: str, every_seconds: float) -> RunnerDeployment:
    """`drift/<product>`: checks the scores of the last two intervals, at least of one day."""
    return RunnerDeployment.from_flow(
        drifting.drift,
        name=product,
        interval=every_seconds,
        parameters={"product": product, "hours": max(24.0, 2 * every_seconds / 3600)},
        description=f"Compare the scores of {product} with its calibration.",
        **COMMON,
    )


def _trigger(product: str, event: str, parameters: dict[str, Any]) -> DeploymentEventTrigger:
    return DeploymentEventTrigger(
        name=f"retrain {product} on {event}",
        expect={event},
        match=ResourceSpecification({"prefect.resource.id": f"uad.product.{product}"}),
        parameters=parameters,
    )


@contextmanager
def scheduler(port: int | None = None) -> Iterator[str]:
    """The address of a Prefect API that schedules: PREFECT_API_URL, or a server of our own.

    Raises:
        FlowError: nothing answers there, or no server can be started here.
    """
    given = os.environ.get("PREFECT_API_URL")
    if given:
        reachable(given)
        yield given
        return
    with own_server(port) as server, temporary_settings({PREFECT_API_URL: server.api_url}):
        os.environ["PREFECT_API_URL"] = server.api_url  # for the runs, which are processes
        try:
            revive_lost()
            yield server.api_url
        finally:
            del os.environ["PREFECT_API_URL"]


def serve_until_stopped(
    deployments: Sequence[RunnerDeployment], at_once: RunnerDeployment | None = None
) -> None:
    """Run what schedules and events ask for until Ctrl-C or SIGTERM.

    `at_once` is run now too: an interval's first time has passed before Prefect's scheduler looks,
    so it would first run one interval later.

    As many runs at a time as there are deployments, so a check of the scores does not wait for a
    training. Two retrainings of one product never overlap: the second one waits.

    Schedules stay active when this process ends: a second process may serve them too, and a crash
    could not pause them either. If runs were missed, one of them is run; see `cancel_overdue`.
    """
    from prefect import serve
    from prefect.client.orchestration import get_client

    if at_once is not None:
        made = asyncio.run(at_once.aapply())
        with get_client(sync_client=True) as client:
            client.create_flow_run_from_deployment(made)
    with _own_temporary_folder():
        serve(
            *deployments,
            pause_on_shutdown=False,
            print_starting_message=False,
            limit=len(deployments),
        )


@contextmanager
def _own_temporary_folder() -> Iterator[None]:
    """For this process and the runs it starts: Prefect leaves a folder there each time."""
    before, variable = tempfile.tempdir, os.environ.get("TMPDIR")
    with tempfile.TemporaryDirectory(prefix="uad-deploy-", ignore_cleanup_errors=True) as folder:
        tempfile.tempdir = os.environ["TMPDIR"] = folder
        try:
            yield
        finally:
            tempfile.tempdir = before
            os.environ.pop("TMPDIR")
            if variable is not None:
                os.environ["TMPDIR"] = variable
