"""A run whose process died starts again, and its training continues from the checkpoint."""

import hashlib
import socket
from typing import TYPE_CHECKING, Any

from flows.logs import logger
from uad.storage.paths import home

if TYPE_CHECKING:
    from prefect.client.schemas import State

MOST_STARTS = 3
"""A run that died this often is not started again."""
START = "start-"
"""Tag of a run that follows one that died: `start-2`, `start-3`."""


def place() -> str:
    """This machine and state folder: only here a training can continue from its checkpoint."""
    folder = hashlib.sha256(str(home()).encode()).hexdigest()[:12]
    return f"{socket.gethostname()}-{folder}"


def begin_again(flow: Any, flow_run: Any, state: Any) -> None:
    """Hook for crashed runs: start the same work again, if a deployment can start it.

    `uad deploy` starts the same run again. A work pool's worker reports the run as crashed again
    after this hook, so there a new run with the same parameters follows it.
    """
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        run = client.read_flow_run(flow_run.id)  # the one given is from before its start
        if run.deployment_id is None or _starts(run) >= MOST_STARTS:
            return
        logger.info("%s of '%s' starts again: %s", run.name, flow.name, state.message)
        if run.work_pool_name is None:
            _reschedule(run.id, "its process died")
            return
        _follow(client, run)


def crash_lost(client: Any, run: Any, *, again: bool) -> None:
    """Mark a running run as crashed, because its process is gone; `again`: another run follows it.

    A run that a person was cancelling is cancelled.
    """
    from prefect.states import Cancelled, Crashed

    is_cancelled = run.state is not None and run.state.is_cancelling()
    message = "its worker was stopped"
    ended: State[Any] = Cancelled() if is_cancelled else Crashed(message=message)
    client.set_flow_run_state(run.id, ended, force=True)
    if again and not is_cancelled and run.deployment_id is not None and _starts(run) < MOST_STARTS:
        _follow(client, run)


def _follow(client: Any, run: Any) -> None:
    client.create_flow_run_from_deployment(
        run.deployment_id,
        parameters=run.parameters,
        tags=[f"{START}{_starts(run) + 1}"],
        idempotency_key=f"{run.id} begins again",
    )


def _starts(run: Any) -> int:
    """How often a run's work was started, in this run and those that it follows."""
    before = (int(tag.removeprefix(START)) for tag in run.tags if tag.startswith(START))
    return max(before, default=int(run.run_count))


def revive_lost() -> None:
    """Start runs again whose process is gone because their `uad deploy` was killed.

    Only for a server on which nobody else runs flows: elsewhere the runs may be alive.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowFilter, FlowRunFilter

    named = FlowFilter.model_validate({"name": {"any_": ["retrain"]}})
    under_way = {"state": {"type": {"any_": ["PENDING", "RUNNING", "CANCELLING"]}}}
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(
            flow_filter=named, flow_run_filter=FlowRunFilter.model_validate(under_way)
        )
    for run in runs:
        if run.deployment_id is not None and _starts(run) < MOST_STARTS:
            _reschedule(run.id, "the process that ran its deployment was stopped")
        else:
            _give_up(run.id)


def _reschedule(flow_run_id: Any, reason: str) -> None:
    from prefect.states import AwaitingRetry

    _set(flow_run_id, AwaitingRetry(message=f"starts again: {reason}"))


def _give_up(flow_run_id: Any) -> None:
    from prefect.states import Crashed

    _set(flow_run_id, Crashed(message="its process is gone"))


def _set(flow_run_id: Any, state: Any) -> None:
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        client.set_flow_run_state(flow_run_id, state, force=True)
