"""The registry of models: versions of products, their aliases, and the runs that made them."""

import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from uad.bundle import MANIFEST, read_bundle
from uad.errors import BundleError, RegistryError
from uad.names import check_name
from uad.registry import alias_move, audit, registration, removal, runs
from uad.registry.address import CHALLENGER, CHAMPION, ModelAddress
from uad.registry.connection import Connection, connect, tracking_uri, translated
from uad.registry.removal import TrackedRun
from uad.registry.types import ModelVersion, Promotion
from uad.types import EpochMetrics

if TYPE_CHECKING:
    from uad.data import Dataset

ANY: Any = object()
"""`promote(expected=ANY)`: whatever serves now."""

_PAGE = 200


class ModelRegistry:
    """Products, their versions, the alias `champion`, and the runs behind them, in MLflow.

    Nothing is opened before the first call, so that a program can be built while the server is
    down. Every method raises RegistryUnreachableError when nothing answers, and RegistryError
    naming what exists when a product, version or alias does not.
    """

    def __init__(self, uri: str | None = None) -> None:
        """`uri`: None means MLFLOW_TRACKING_URI, else an SQLite database under UAD_HOME."""
        self.uri = uri or tracking_uri()

    # Versions

    def register(
        self,
        bundle: Path,
        name: str,
        *,
        run_id: str | None = None,
        metrics: Mapping[str, float] | None = None,
        tags: Mapping[str, str] | None = None,
        description: str = "",
    ) -> ModelVersion:
        """Upload the bundle at `bundle` and make it the next version of the product `name`.

        Without `run_id` a run is made that holds the bundle's parameters and metrics per epoch;
        without `description` one is written from what the bundle says of itself.

        Raises:
            BundleError: the bundle is incomplete or altered.
            RegistryError: the name cannot be one, or the registry refuses.
        """
        name = check_name(name)
        checked = read_bundle(Path(bundle))
        metrics = dict(metrics or {}) or dict(checked.manifest.metrics)
        described = {**registration.describe(checked, metrics), **(tags or {})}
        with (
            self._open() as connection,
            registration.own_run(connection, name, checked, metrics, run_id) as run,
        ):
            source = registration.upload(connection, run, checked)
            registration.ensure_model(connection, name)
            made = connection.client.create_model_version(
                name,
                source,
                run_id=run,
                tags=described,
                description=description or registration.sentence(checked, metrics),
            )
        return self.version(name, str(made.version))

    def products(self) -> list[str]:
        """Names of all registered models, in alphabetical order."""
        with self._open() as connection:
            search = connection.client.search_registered_models
            return sorted(model.name for model in _pages(search))

    def versions(self, name: str) -> list[ModelVersion]:
        """All versions of a product, newest first; RegistryError if there is no such product."""
        with self._open() as connection:
            model = self._model(connection, name)
            quote = '"' if "'" in name else "'"
            found = _pages(
                connection.client.search_model_versions, filter_string=f"name={quote}{name}{quote}"
            )
            listed = [_version(each, model.aliases) for each in found]
        return sorted(listed, key=lambda each: int(each.version), reverse=True)

    def version(self, name: str, version: str) -> ModelVersion:
        """One version of a product."""
        from mlflow.exceptions import MlflowException

        with self._open() as connection:
            model = self._model(connection, name)
            try:
                found = connection.client.get_model_version(name, str(version))
            except MlflowException as exc:
                if exc.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                    raise
                have = ", ".join(each.version for each in self.versions(name)) or "none"
                raise RegistryError(
                    f"'{name}' has no version {version} (it has: {have}): "
                    "`uad models` lists them, `uad register` adds one"
                ) from exc
            return _version(found, model.aliases)

    def aliased(self, name: str, alias: str) -> ModelVersion | None:
        """The version that carries `alias`; None if none does."""
        with self._open() as connection:
            aliases = self._model(connection, name).aliases
            if alias not in aliases:
                return None
            found = connection.client.get_model_version(name, str(aliases[alias]))
            return _version(found, aliases)

    def champion(self, name: str) -> ModelVersion | None:
        """The version that serves; None if none was promoted yet."""
        return self.aliased(name, CHAMPION)

    def resolve(self, address: str | ModelAddress) -> ModelVersion:
        """The version that `models:/cookie@champion` or `models:/cookie/3` stands for now."""
        wanted = ModelAddress.parse(address)
        name = wanted.name
        if wanted.version is not None:
            return self.version(name, wanted.version)
        found = self.aliased(name, str(wanted.alias))
        if found is None:
            have = ", ".join(each.version for each in self.versions(name)) or "none"
            to = "" if wanted.alias == CHAMPION else f" --alias {wanted.alias}"
            raise RegistryError(
                f"no version of '{name}' is {wanted.alias} (versions: {have}): "
                f"run `uad promote {shlex.quote(name)} VERSION{to}`"
            )
        return found

    def fetch(self, version: ModelVersion, into: Path) -> Path:
        """Download a version's bundle into the folder `into`; returns the bundle's folder.

        Raises:
            BundleError: what the version holds is no bundle.
        """
        from mlflow.artifacts import download_artifacts

        with self._open() as connection:
            downloaded = download_artifacts(
                artifact_uri=version.source, dst_path=str(into), tracking_uri=connection.uri
            )
        for manifest in Path(downloaded).rglob(MANIFEST):
            return manifest.parent
        raise BundleError(
            f"version {version.version} of '{version.name}' holds no {MANIFEST}: it was not "
            "registered by uad; register a bundle with `uad register`"
        )

    def set_tags(self, version: ModelVersion, tags: Mapping[str, str]) -> None:
        """Add or replace tags of a version."""
        with self._open() as connection:
            for key, value in tags.items():
                connection.client.set_model_version_tag(
                    version.name, version.version, key, str(value)
                )

    # Promotion

    def promote(
        self,
        name: str,
        version: str,
        *,
        alias: str = CHAMPION,
        reason: str = "",
        actor: str | None = None,
        expected: str | None = ANY,
    ) -> Promotion:
        """Give `alias` to a version: locked, read again afterwards, and written into the audit.

        Args:
            name: the product.
            version: its version; one that already has the alias keeps it, and nothing is written.
            alias: which alias to move.
            reason: why, for the audit.
            actor: who, for the audit; user@host by default.
            expected: refuse unless this version (None: no version) carries the alias now, so that
                a decision made against one champion is not applied to another.
        """
        target = self.version(name, version)
        actor = actor or runs.whoami()
        request = alias_move.Request(name, alias, target.version, "promote", actor, reason)
        with self._open() as connection, connection.lock(name):
            alias_move.record_external(connection, name, alias)
            actual = alias_move.state(connection, name, alias).actual
            if expected is not ANY and actual != expected:
                raise RegistryError(
                    f"{alias} of '{name}' is version {actual or 'none'} now, not "
                    f"{expected or 'none'}: compare {version} with it again"
                )
            made = alias_move.make(connection, request)
            if alias == CHAMPION and CHALLENGER in target.aliases:
                connection.client.delete_registered_model_alias(name, CHALLENGER)
        return made

    def rollback(
        self, name: str, *, alias: str = CHAMPION, reason: str = "", actor: str | None = None
    ) -> Promotion:
        """Give the alias back to the version that had it before; again goes further back.

        Raises:
            RegistryError: there is nothing earlier to go back to.
        """
        with self._open() as connection, connection.lock(name):
            self._model(connection, name)
            alias_move.record_external(connection, name, alias)
            found = alias_move.state(connection, name, alias)
            exist = {each.version for each in self.versions(name)}
            past = [each for each in audit.earlier(found.moves) if each in exist]
            if not past:
                raise RegistryError(
                    f"'{name}' has no earlier {alias} to go back to (now: version "
                    f"{found.actual or 'none'}): promote one with `uad promote {name} VERSION`"
                )
            actor = actor or runs.whoami()
            request = alias_move.Request(name, alias, past[0], "rollback", actor, reason)
            return alias_move.make(connection, request)

    def history(self, name: str, *, alias: str = CHAMPION) -> list[Promotion]:
        """All moves of an alias, oldest first, those made outside uad included."""
        with self._open() as connection:
            self._model(connection, name)
            if self._moved_outside(connection, name, alias):
                with connection.lock(name):
                    alias_move.record_external(connection, name, alias)
            return alias_move.state(connection, name, alias).moves

    def note_external(self, name: str, *, alias: str = CHAMPION) -> Promotion | None:
        """Write a move made outside uad into the audit; None if there was none."""
        with self._open() as connection:
            if not self._moved_outside(connection, name, alias):
                return None
            with connection.lock(name):
                return alias_move.record_external(connection, name, alias)

    # Runs

    def start_run(
        self,
        product: str,
        *,
        name: str | None = None,
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> str:
        """Open a run in the product's experiment; nested `params` get dotted names."""
        with self._open() as connection:
            return runs.start(connection, product, name=name, params=params or {}, tags=tags or {})

    def latest_run(self, product: str, tags: Mapping[str, str]) -> tuple[str, str] | None:
        """Id and status (RUNNING, FINISHED, FAILED, KILLED) of the newest run that has `tags`."""
        with self._open() as connection:
            return runs.latest(connection, product, tags)

    def reopen_run(self, run_id: str) -> None:
        """Let a run that was cut off go on."""
        with self._open() as connection:
            connection.client.update_run(run_id, status="RUNNING")

    def log_epoch(self, run_id: str, epoch: EpochMetrics) -> None:
        """Log all metrics of one epoch; the step is the epoch's number."""
        with self._open() as connection:
            runs.log_epoch(connection, run_id, epoch)

    def log_metrics(self, run_id: str, metrics: Mapping[str, float]) -> None:
        """Log metrics of the run as a whole."""
        with self._open() as connection:
            runs.log_metrics(connection, run_id, metrics)

    def log_folder(self, run_id: str, folder: Path, artifact_path: str) -> None:
        """Upload the content of `folder` under `artifact_path` of the run."""
        with self._open() as connection:
            runs.log_folder(connection, run_id, folder, artifact_path)

    @contextmanager
    def machine(self, run_id: str) -> Iterator[None]:
        """Log the machine's load (processor, memory, disk, network, GPU) while the block runs."""
        with self._open() as connection:
            measured = runs.machine(connection, run_id)
        with measured:
            yield

    def log_dataset(self, run_id: str, dataset: "Dataset", page: Path | None = None) -> None:
        """Log a dataset version as the run's input, and the page of its checks as a file."""
        with self._open() as connection:
            runs.log_dataset(connection, run_id, dataset, page)

    def finish_run(
        self, run_id: str, status: Literal["FINISHED", "FAILED", "KILLED"] = "FINISHED"
    ) -> None:
        """Close a run."""
        with self._open() as connection:
            connection.client.set_terminated(run_id, status)

    # Removal, for `uad gc`

    def earlier(self, name: str, *, alias: str = CHAMPION) -> list[str]:
        """Versions that a rollback can go back to, nearest first; nothing is written."""
        return audit.earlier(self._moves(name, alias))

    def left(self, name: str, *, alias: str = CHAMPION) -> str | None:
        """The version that the alias last moved from, forward or back; nothing is written."""
        made = self._moves(name, alias)
        return made[-1].from_version if made else None

    def tracked_runs(self) -> list[TrackedRun]:
        """All runs that uad made, newest first."""
        with self._open() as connection:
            return removal.tracked_runs(connection)

    def delete_version(self, version: ModelVersion, *, files: bool) -> None:
        """Remove a version and, with `files`, its artifacts."""
        with self._open() as connection:
            removal.delete_version(connection, version, files=files)

    def delete_run(self, run_id: str) -> None:
        """Mark a run as deleted and remove its artifacts; its figures stay in the database."""
        with self._open() as connection:
            removal.delete_run(connection, run_id)

    # Inside

    def _moves(self, name: str, alias: str) -> list[Promotion]:
        """All moves, oldest first, with one made outside uad that is not written down yet."""
        with self._open() as connection:
            found = alias_move.state(connection, name, alias)
        outside = audit.external(name, alias, found.moves, found.actual)
        return [*found.moves, *([outside] if outside else [])]

    @cached_property
    def _connection(self) -> Connection:
        return connect(self.uri)

    @contextmanager
    def _open(self) -> Iterator[Connection]:
        connection = self._connection
        with translated(self.uri):
            yield connection

    def _model(self, connection: Connection, name: str) -> Any:
        from mlflow.exceptions import MlflowException

        try:
            return connection.client.get_registered_model(name)
        except MlflowException as exc:
            if exc.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            have = ", ".join(self.products()) or "none"
            raise RegistryError(
                f"there is no product '{name}' in the registry at {self.uri} (it has: {have}): "
                f"`uad register BUNDLE --name {name}` adds it"
            ) from exc

    @staticmethod
    def _moved_outside(connection: Connection, name: str, alias: str) -> bool:
        found = alias_move.state(connection, name, alias)
        return audit.external(name, alias, found.moves, found.actual) is not None


def _pages(search: Any, **arguments: Any) -> Iterator[Any]:
    token = None
    while True:
        page = search(max_results=_PAGE, page_token=token, **arguments)
        yield from page
        token = page.token
        if not token:
            return


def _version(found: Any, aliases: Mapping[str, Any]) -> ModelVersion:
    number = str(found.version)
    return ModelVersion(
        name=found.name,
        version=number,
        run_id=found.run_id or None,
        source=found.source,
        tags=dict(found.tags),
        aliases=tuple(sorted(alias for alias, at in aliases.items() if str(at) == number)),
        created=datetime.fromtimestamp(found.creation_timestamp / 1000, UTC),
        description=found.description or "",
    )
