"""`--promote ask`: the run pauses in Prefect until a person resumes it with a decision."""

import os
from uuid import UUID

from prefect import runtime, task
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.exceptions import FlowPauseTimeout
from prefect.flow_runs import pause_flow_run
from prefect.input import RunInput
from prefect.settings import get_current_settings
from prefect.states import Running

from flows.engine import ENGINE
from flows.logs import logger
from flows.tracking import REGISTRY
from uad.errors import ConfigError
from uad.registry import ModelRegistry
from uad.registry.gate import GateVerdict
from uad.storage.names import ModelVersionNumber, ProductName

LOOK_SECONDS = 2
"""How often a paused run checks whether it was resumed."""
WAIT_HOURS = 12.0
"""Less than the day between two nightly runs, because a waiting run takes a place."""


class Decision(RunInput):
    """The form in Prefect's page of the paused run."""

    promote: bool
    who: str = ""
    why: str = ""


def require_server() -> None:
    """Refuse to start a run that nobody could resume.

    Raises:
        ConfigError: Prefect runs as an engine of this process alone.
    """
    if get_current_settings().api.url in (None, os.environ.get(ENGINE)):
        raise ConfigError(
            "`--promote ask` needs a Prefect server, on which you resume the paused run: run "
            "`uad deploy` with the same UAD_HOME, or set PREFECT_API_URL, or use `--promote "
            "never`"
        )


def ask(
    product: ProductName,
    version: ModelVersionNumber,
    verdict: GateVerdict,
    wait_hours: float = WAIT_HOURS,
) -> bool:
    """Pause the run with the gate's table; whether the version became champion.

    Without an answer in time the version stays challenger; `uad promote` can still make it
    champion.
    """
    text = verdict.markdown(f"{product} version {version}")
    form = Decision.with_initial_data(description=text, promote=verdict.decision == "promote")
    logger.info("%s version %s waits for a decision on this run's page", product, version)
    seconds = max(1, round(wait_hours * 3600))
    try:
        decision = pause_flow_run(form, timeout=seconds, poll_interval=LOOK_SECONDS)
    except FlowPauseTimeout:
        _go_on()
        logger.info(
            "nobody decided within %g hours: version %s waits as challenger", wait_hours, version
        )
        return False
    return carry_out(product, version, verdict, decision.promote, decision.who, decision.why)


def _go_on() -> None:
    """Prefect fails a run that ends while it is paused."""
    with get_client(sync_client=True) as client:
        state: State[None] = Running(message="nobody decided in time")
        client.set_flow_run_state(UUID(str(runtime.flow_run.id)), state, force=True)


@task(name="carry out", task_run_name="decision on {product} version {version}", **REGISTRY)
def carry_out(
    product: ProductName,
    version: ModelVersionNumber,
    verdict: GateVerdict,
    promote: bool,
    who: str = "",
    why: str = "",
) -> bool:
    """Move the alias as the person decided; the audit names the person.

    Raises:
        RegistryError: another version became champion since the verdict they saw.
    """
    registry = ModelRegistry()
    champion = registry.champion(product)
    if champion is not None and champion.version == version:  # meanwhile, by `uad promote`
        return True
    if not promote:
        logger.info("%s version %s stays challenger: %s", product, version, why or "no reason")
        return False
    reason = f"{why or 'approved'}; gate: {verdict.reason}"
    registry.promote(product, version, reason=reason, actor=who or None, expected=verdict.champion)
    return True
