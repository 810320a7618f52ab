"""Take versions and runs out of MLflow, with their files; for `uad gc`."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from uad.errors import RegistryError
from uad.registry.connection import Connection, RegistryClient
from uad.registry.types import DATASET, MODEL_ID, PRODUCT, ModelVersion
from uad.storage.names import DatasetAddress, ProductName, RunId

_PAGE = 1000


@dataclass(frozen=True)
class TrackedRun:
    """A run of a training or registration."""

    id: RunId
    product: ProductName
    name: str
    under_way: bool
    started: datetime
    dataset: DatasetAddress | None
    """`name@version`."""
    artifacts: str
    """Where its files are, as MLflow writes it."""


class Remover(RegistryClient):
    """Lists runs, and removes versions and runs."""

    def tracked_runs(self) -> list[TrackedRun]:
        """All runs that uad made, newest first."""
        with self._open() as connection:
            client = connection.client
            experiments = [each.experiment_id for each in client.search_experiments()]
            found: list[TrackedRun] = []
            token = None
            while experiments:
                page = client.search_runs(
                    experiments,
                    max_results=_PAGE,
                    order_by=["attributes.start_time DESC"],
                    page_token=token,
                )
                found += [_tracked(run) for run in page if PRODUCT in run.data.tags]
                token = page.token
                if not token:
                    break
        return found

    @contextmanager
    def no_moves(self, product: ProductName) -> Iterator[None]:
        """While the block runs no process of this machine promotes a version of the product."""
        with self._open() as connection, connection.lock(product):
            yield

    def delete_version(self, version: ModelVersion, *, files: bool) -> None:
        """Remove a version; with `files`, what lies at its source too.

        Raises:
            RegistryError: uad did not register it.
        """
        if not version.is_own:
            raise RegistryError(f"uad did not register {version.address}, so it is not removed")
        with self._open() as connection:
            connection.client.delete_model_version(version.name, version.version)
            if files:
                _delete_files(connection, version.source)
                _delete_logged_model(connection, version.tags.get(MODEL_ID))

    def delete_run(self, run_id: RunId) -> None:
        """Mark a run as deleted and remove its files; its figures stay in the database."""
        with self._open() as connection:
            run = connection.client.get_run(run_id)
            connection.client.delete_run(run_id)
            _delete_files(connection, str(run.info.artifact_uri))


def local_folder(uri: str) -> Path | None:
    """The folder that an artifact address stands for; None if it is not on this machine."""
    parts = urlsplit(uri)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    return Path(uri) if not parts.scheme else None


def _delete_logged_model(connection: Connection, model_id: str | None) -> None:
    from mlflow.exceptions import MlflowException

    if model_id is None:
        return
    try:
        connection.client.delete_logged_model(model_id)
    except MlflowException as exc:
        if exc.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise


def _delete_files(connection: Connection, uri: str) -> None:
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    folder = local_folder(uri)
    if folder is None or folder.exists():
        repository: Any = get_artifact_repository(uri, connection.uri)
        repository.delete_artifacts()


def _tracked(run: Any) -> TrackedRun:
    info, tags = run.info, run.data.tags
    return TrackedRun(
        id=RunId(str(info.run_id)),
        product=tags[PRODUCT],
        name=str(info.run_name),
        under_way=info.status in ("RUNNING", "SCHEDULED"),
        started=datetime.fromtimestamp(info.start_time / 1000, UTC),
        dataset=tags.get(DATASET),
        artifacts=str(info.artifact_uri),
    )
