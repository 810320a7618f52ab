"""One MLflow run per retraining, by its id, and the rule for retries of registry tasks.

By id, because MLflow's own active run is not seen by other threads. Trying again can help where the
registry did not answer; bad data stays bad.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol, TypedDict

from prefect import runtime, task
from prefect.cache_policies import NO_CACHE

from flows.logs import logger
from flows.resume import place
from uad.config import TrainingConfig
from uad.errors import RegistryError, RegistryUnreachableError
from uad.evaluation.data_page import page_file
from uad.models.parts import EpochMetrics
from uad.operations.inputs import EvaluationImages
from uad.registry import RunTracker
from uad.registry.types import DATASET
from uad.storage.names import DatasetAddress, ProductName, RunId

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

TRAINING_KEY = "uad.training_key"
"""Tag of runs and versions: hash of the images, settings and teacher."""
REASON = "uad.reason"
"""Tag of runs and versions: what started the run; empty for schedules and commands."""
PLACE = "uad.place"
CUT_OFF = ("RUNNING", "KILLED")
"""Status of a run whose process died, or was ended; nobody else runs it, since the product's
lock is held."""


@dataclass(frozen=True)
class Run:
    """An MLflow run of a training."""

    id: RunId
    resumed: bool
    """Whether the run was interrupted earlier and now continues."""


@task(name="open run", task_run_name="open run of {product}", **REGISTRY)
def open_run(
    product: ProductName,
    dataset: DatasetAddress,
    teacher: str,
    config: TrainingConfig,
    key: str,
    device: str = "cpu",
    reason: str = "",
) -> Run:
    """Start an MLflow run with all parameters, or continue that of an interrupted training.

    `key` is the training's; see `TrainingInputs.key`.
    """
    tracker, own = RunTracker(), {TRAINING_KEY: key, PLACE: place()}
    if (found := tracker.latest_run(product, own)) and found[1] in CUT_OFF:
        tracker.reopen_run(found[0])
        return Run(found[0], resumed=True)
    params = {"teacher": teacher, "device": device, **config.model_dump(mode="json")}
    flow_run = str(runtime.flow_run.id or "none")
    tags = {**own, DATASET: dataset, "uad.flow_run": flow_run}
    tags |= {REASON: reason} if reason else {}
    run_id = tracker.start_run(product, name=run_name(product), params=params, tags=tags)
    return Run(run_id, resumed=False)


@task(name="log dataset", task_run_name="log {images.address}", cache_policy=NO_CACHE, **REGISTRY)
def log_dataset(run_id: RunId, images: EvaluationImages) -> None:
    """Name the dataset version as the run's input, with the page of its checks if one is here."""
    page = page_file(images.dataset.name, images.dataset.version)
    RunTracker().log_dataset(run_id, images.dataset, page if page.is_file() else None)


def run_name(product: ProductName) -> str:
    """The flow run's name, so that both systems call it the same."""
    name = runtime.flow_run.name
    return str(name) if name else f"{product} {datetime.now().astimezone():%Y-%m-%d %H:%M:%S}"


@contextmanager
def closing_run(run_id: RunId) -> Iterator[None]:
    """End the MLflow run as the block ends: FINISHED, FAILED, or KILLED when cancelled."""
    try:
        yield
    except Exception:
        _close(run_id, "FAILED")
        raise
    except BaseException:
        _close(run_id, "KILLED")
        raise
    RunTracker().finish_run(run_id)


class Tracker(Protocol):
    """What the epochs are sent to: a RunTracker."""

    def log_epoch(self, run_id: RunId, epoch: EpochMetrics) -> None:
        """Log all metrics of one epoch."""


class EpochLog:
    """Logs each epoch to its run; epochs that the registry missed are sent with the next one.

    So a restart of the server does not end a long training.
    """

    def __init__(self, tracker: Tracker, run_id: RunId) -> None:
        self._tracker, self._run_id = tracker, run_id
        self._pending: list[EpochMetrics] = []

    def __call__(self, epoch: EpochMetrics) -> None:
        """Log `epoch` and what is still pending."""
        self._pending.append(epoch)
        try:
            while self._pending:
                self._tracker.log_epoch(self._run_id, self._pending[0])
                self._pending.pop(0)
        except RegistryError as exc:
            logger.warning("epoch %d is not logged yet: %s", self._pending[0].epoch, exc)


def log_missed_epochs(run_id: RunId, history: Sequence[Mapping[str, float]]) -> None:
    """Log the epochs that the run lacks.

    The process was killed before it could send them, or the registry did not answer.
    """
    try:
        RunTracker().log_history(run_id, history)
    except RegistryError as exc:
        logger.warning("the run may lack epochs: %s", exc)


def _close(run_id: RunId, status: Literal["FAILED", "KILLED"]) -> None:
    try:
        RunTracker().finish_run(run_id, status)
    except RegistryError as exc:  # the error that ended the run matters more
        logger.warning("MLflow still shows run %s as running: %s", run_id, exc)
