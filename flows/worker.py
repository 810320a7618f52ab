"""A worker of a Prefect work pool that first marks the runs of a dead worker as crashed."""

import os
import sys
from typing import Any, NoReturn

from flows.resume import crash_lost, place
from flows.server import reachable
from uad.errors import FlowError


def recover(pool: str) -> list[str]:
    """Mark the runs of a stopped worker as crashed, and start retrainings again.

    This is only safe while no other worker of the pool is online. With several workers nothing is
    changed.

    Returns:
        Names of the runs.

    Raises:
        FlowError: no Prefect server is named, or it does not answer.
    """
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound

    api_url = os.environ.get("PREFECT_API_URL")
    if not api_url:
        raise FlowError("set PREFECT_API_URL to the API of the Prefect server to work for")
    reachable(api_url)
    with get_client(sync_client=True) as client:
        try:
            workers = client.read_workers_for_work_pool(pool)
        except ObjectNotFound:  # no pool yet
            return []
        if any(worker.status == "ONLINE" and worker.name != place() for worker in workers):
            return []
        lost = _under_way(client, pool)
        retrainings = {run.id for run in _under_way(client, pool, flow="retrain")}
        for run in lost:
            crash_lost(client, run, again=run.id in retrainings)
        return [str(run.name) for run in lost]


def become_worker(pool: str, limit: int | None) -> NoReturn:
    """Replace this process by Prefect's worker, under a name that the next one here recognises."""
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", pool]
    command += ["--type", "process", "--name", place(), "--with-healthcheck"]
    os.execv(command[0], [*command, *(["--limit", str(limit)] if limit else [])])


def _under_way(client: Any, pool: str, flow: str | None = None) -> list[Any]:
    from prefect.client.schemas.filters import FlowFilter, FlowRunFilter, WorkPoolFilter

    states = {"type": {"any_": ["PENDING", "RUNNING", "CANCELLING"]}}
    named = FlowFilter.model_validate({"name": {"any_": [flow]}}) if flow else None
    return list(
        client.read_flow_runs(
            flow_filter=named,
            work_pool_filter=WorkPoolFilter.model_validate({"name": {"any_": [pool]}}),
            flow_run_filter=FlowRunFilter.model_validate({"state": states}),
        )
    )
