"""Retraining on a schedule: deployments of the chain, and the process that serves them."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from prefect.deployments.runner import RunnerDeployment
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.types.entrypoint import EntrypointType

from flows.resume import revive_lost
from flows.retrain import retrain
from flows.schedule import Schedule
from flows.server import own_server, reachable


def deployment(product: str, schedule: Schedule, parameters: dict[str, Any]) -> RunnerDeployment:
    """`retrain/<product>` on a schedule; `parameters` are the chain's, as JSON holds them."""
    return RunnerDeployment.from_flow(
        retrain,
        name=product,
        schedule=schedule.prefect(),
        parameters={"product": product, "skip_unchanged": True, **parameters},
        description=f"Retrain {product}: ingest, fine-tune, evaluate, register, promote.",
        tags=["uad"],
        # By its module's name: found from any working directory.
        entrypoint_type=EntrypointType.MODULE_PATH,
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


def serve_until_stopped(deployments: Sequence[RunnerDeployment]) -> None:
    """Run what the schedules ask for, one run at a time, until Ctrl-C or SIGTERM.

    Schedules stay active when this process ends: a second process may serve them too, and a crash
    could not pause them either. Of the runs missed meanwhile one is made up for; see
    `cancel_overdue`.
    """
    from prefect import serve

    serve(*deployments, pause_on_shutdown=False, print_starting_message=False, limit=1)
