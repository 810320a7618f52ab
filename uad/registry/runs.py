"""Tracking runs by id, never through MLflow's thread-local active run."""

import getpass
import json
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from uad import __version__
from uad.errors import RegistryError
from uad.errors.extras import require_storage
from uad.registry.connection import Connection, RegistryClient
from uad.registry.types import DATASET
from uad.storage.names import ProductName, RunId, place_of

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput, Experiment

    from uad.data import Dataset
    from uad.models.parts import EpochMetrics

MAX_BATCH = 100
"""MLflow takes this many parameters in one call."""


class RunTracker(RegistryClient):
    """Runs of trainings, by id: MLflow's own active run is not seen by other threads."""

    def start_run(
        self,
        product: ProductName,
        *,
        name: str | None = None,
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> RunId:
        """Open a run in the product's experiment; nested `params` get dotted names."""
        with self._open() as connection:
            return start(connection, product, name=name, params=params or {}, tags=tags or {})

    def check_storage(self, product: ProductName) -> None:
        """Refuse before long work what could not be stored at its end; makes nothing.

        A registry that does not answer now may do so when it is needed: that is told then.

        Raises:
            NotInstalledError: the product's models are stored where this installation cannot write.
        """
        try:
            with self._open() as connection:
                found = _known_experiment(connection, product)
        except RegistryError:
            return
        require_storage((found.artifact_location if found else "") or "")

    def latest_run(self, product: ProductName, tags: Mapping[str, str]) -> tuple[RunId, str] | None:
        """Id and status (RUNNING, FINISHED, FAILED, KILLED) of the newest run that has `tags`."""
        wanted = " and ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items())
        newest = ["attributes.start_time DESC"]
        with self._open() as connection:
            client = connection.client
            experiment = client.get_experiment_by_name(product)
            if experiment is None:
                return None
            found = client.search_runs(
                [experiment.experiment_id], wanted, max_results=1, order_by=newest
            )
        return next(((RunId(str(run.info.run_id)), str(run.info.status)) for run in found), None)

    def reopen_run(self, run_id: RunId) -> None:
        """Continue a run that was interrupted."""
        with self._open() as connection:
            connection.client.update_run(run_id, status="RUNNING")

    def log_epoch(self, run_id: RunId, epoch: "EpochMetrics") -> None:
        """Log all metrics of one epoch; the step is the epoch's number."""
        with self._open() as connection:
            log_epoch(connection, run_id, epoch)

    def log_history(self, run_id: RunId, history: Sequence[Mapping[str, float]]) -> None:
        """Log those epochs of a bundle's training that the run lacks."""
        with self._open() as connection:
            log_history(connection, run_id, history)

    def log_metrics(self, run_id: RunId, metrics: Mapping[str, float]) -> None:
        """Log metrics of the run as a whole."""
        with self._open() as connection:
            log_metrics(connection, run_id, metrics)

    def log_folder(self, run_id: RunId, folder: Path, artifact_path: str) -> None:
        """Upload the content of `folder` under `artifact_path` of the run."""
        with self._open() as connection:
            connection.client.log_artifacts(run_id, str(folder), artifact_path)

    @contextmanager
    def machine(self, run_id: RunId) -> Iterator[None]:
        """Log the machine's load as metrics `system/...` while the block runs.

        MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL sets the seconds between two samples, 10 by default.
        """
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        with self._open() as connection:
            uri = connection.uri
        monitor = SystemMetricsMonitor(run_id, resume_logging=True, tracking_uri=uri)  # type: ignore[no-untyped-call]
        monitor.start()  # type: ignore[no-untyped-call]
        try:
            yield
        finally:
            monitor.finish()  # type: ignore[no-untyped-call]

    def log_dataset(self, run_id: RunId, dataset: "Dataset", page: Path | None = None) -> None:
        """Name the dataset version as the run's input, as MLflow shows and compares it.

        `page` is uploaded under `dataset/`.
        """
        with self._open() as connection:
            client = connection.client
            client.log_inputs(run_id, datasets=[_dataset_input(dataset)])
            client.set_tag(run_id, DATASET, dataset.address)
            if page is not None:
                client.log_artifact(run_id, str(page), "dataset")

    def finish_run(
        self, run_id: RunId, status: Literal["FINISHED", "FAILED", "KILLED"] = "FINISHED"
    ) -> None:
        """Close a run."""
        with self._open() as connection:
            connection.client.set_terminated(run_id, status)


def start(
    connection: Connection,
    product: ProductName,
    *,
    name: str | None,
    params: Mapping[str, Any],
    tags: Mapping[str, str],
) -> RunId:
    """Open a run in the product's experiment and return its id."""
    from mlflow.entities import Param

    from uad.bundle import git_revision

    client = connection.client
    experiment = experiment_id(connection, product)
    given = {
        "mlflow.user": whoami(),
        "mlflow.source.name": "uad",
        "mlflow.source.type": "LOCAL",
        "uad.version": __version__,
        "uad.product": product,
        **tags,
    }
    if (revision := git_revision()) is not None:
        given["mlflow.source.git.commit"] = revision
    made = client.create_run(experiment, tags=given, run_name=name)
    run_id = RunId(str(made.info.run_id))
    flat = [Param(key, str(value)) for key, value in flatten(params).items()]
    for begin in range(0, len(flat), MAX_BATCH):
        client.log_batch(run_id, params=flat[begin : begin + MAX_BATCH])
    return run_id


def log_epoch(connection: Connection, run_id: RunId, epoch: "EpochMetrics") -> None:
    """All metrics of one epoch in one call; the step is the epoch."""
    _log(connection, run_id, epoch.values, step=epoch.epoch)


def log_history(
    connection: Connection, run_id: RunId, history: Sequence[Mapping[str, float]]
) -> None:
    """Those epochs of `Manifest.history` that the run lacks."""
    names = [name for epoch in history[:1] for name in epoch if name != "epoch"]
    logged = {
        metric.step
        for name in names[:1]
        for metric in connection.client.get_metric_history(run_id, name)
    }
    for epoch in history:
        values = dict(epoch)
        if (step := int(values.pop("epoch"))) not in logged:
            _log(connection, run_id, values, step=step)


def log_metrics(connection: Connection, run_id: RunId, metrics: Mapping[str, float]) -> None:
    """Metrics of the whole run."""
    _log(connection, run_id, metrics, step=0)


def experiment_id(connection: Connection, product: ProductName) -> str:
    """The product's experiment, made on first use.

    Raises:
        NotInstalledError: models are stored where this installation cannot write.
    """
    found = _experiment(connection, product)
    require_storage(found.artifact_location or "")
    return str(found.experiment_id)


def _known_experiment(connection: Connection, product: ProductName) -> "Experiment | None":
    """The product's experiment; before there is one, MLflow's first, which is stored alike."""
    client = connection.client
    return client.get_experiment_by_name(product) or client.get_experiment("0")


def _experiment(connection: Connection, product: ProductName) -> "Experiment":
    from mlflow.exceptions import MlflowException

    client = connection.client
    found = client.get_experiment_by_name(product)
    if found is not None:
        if found.lifecycle_stage == "deleted":
            client.restore_experiment(found.experiment_id)
        return found
    root = connection.artifact_root
    location = None if root is None else place_of(root, product).as_uri()
    try:
        return client.get_experiment(client.create_experiment(product, artifact_location=location))
    except MlflowException:
        found = client.get_experiment_by_name(product)
        if found is None:
            raise
        return found  # somebody else made it in between


def whoami() -> str:
    """user@host."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "unknown"
    return f"{user}@{socket.gethostname()}"


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"a": {"b": 1}}` to `{"a.b": 1}`."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _log(connection: Connection, run_id: RunId, values: Mapping[str, float], *, step: int) -> None:
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    metrics = [Metric(name, float(value), now, step) for name, value in values.items()]
    connection.client.log_batch(run_id, metrics=metrics)


def _dataset_input(dataset: "Dataset") -> "DatasetInput":
    from mlflow.entities import Dataset as MlflowDataset
    from mlflow.entities import DatasetInput, InputTag

    parts = ("train", "selection", "calibration", "test")
    counts = {part: len(getattr(dataset, part)) for part in parts}
    entity = MlflowDataset(
        name=dataset.name,
        digest=dataset.version[:36],
        source_type="uad",
        source=json.dumps({"dataset": dataset.address}),
        profile=json.dumps(counts),
    )
    return DatasetInput(entity, [InputTag("mlflow.data.context", "training")])
