"""When trying again can help: the registry did not answer. Bad data stays bad."""

from typing import Any, TypedDict

from uad.errors import RegistryUnreachableError

DELAYS_SECONDS = [5.0, 30.0, 120.0]


class Retries(TypedDict):
    """Arguments of `prefect.task`."""

    retries: int
    retry_delay_seconds: list[float]
    retry_condition_fn: Any


def unreachable(task: Any, task_run: Any, state: Any) -> bool:  # noqa: ARG001 - Prefect's signature
    """Whether a failed task's error was a registry that did not answer."""
    return isinstance(state.data, RegistryUnreachableError)


REGISTRY: Retries = {
    "retries": len(DELAYS_SECONDS),
    "retry_delay_seconds": DELAYS_SECONDS,
    "retry_condition_fn": unreachable,
}
