"""Products and their versions: register, look up, fetch."""

import difflib
import shlex
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uad.errors import BundleError, RegistryError
from uad.registry.address import CHALLENGER, CHAMPION, ModelAddress
from uad.registry.connection import Connection, RegistryClient, is_silence, named_in_file
from uad.registry.types import DATASET, EVALUATED_ON, METRIC_TAG, MODEL_ID, PRODUCT, ModelVersion
from uad.storage.names import DatasetAddress, ModelVersionNumber, ProductName, RunId, check_name

if TYPE_CHECKING:
    from uad.bundle import Bundle

_PAGE = 200


class Versions(RegistryClient):
    """What is registered; `ModelRegistry` adds the promotions."""

    def register(
        self,
        bundle: Path,
        name: ProductName,
        *,
        run_id: RunId | None = None,
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
        from uad.bundle import read_bundle
        from uad.registry import registration

        name = ProductName(check_name(name))
        checked = read_bundle(Path(bundle))
        figures = dict(metrics or {}) or _own_figures(checked)
        described = {PRODUCT: name, **registration.describe(checked, figures), **(tags or {})}
        with (
            self._open() as connection,
            registration.own_run(connection, name, checked, run_id) as run,
        ):
            model = registration.upload(connection, run, name, checked, described)
            # A training's own run has its losses already, one per epoch.
            logged = set(checked.manifest.metrics) if run_id else set()
            new = {name: value for name, value in figures.items() if name not in logged}
            dataset = described.get(DATASET)
            learned = DatasetAddress(dataset) if dataset else None
            registration.log_figures(connection, run, model.model_id, new, learned)
            registration.ensure_model(connection, name)
            made = connection.client.create_model_version(
                name,
                model.source,
                run_id=run,
                tags={**described, **({MODEL_ID: model.model_id} if model.model_id else {})},
                model_id=model.model_id,
            )
            version = self.version(name, ModelVersionNumber(str(made.version)))
            registration.name_version(connection, model.model_id, version)
            text = description or registration.sentence(checked, figures, version)
            connection.client.update_model_version(name, version.version, text)
        return replace(version, description=text)

    def record_figures(
        self,
        version: ModelVersion,
        figures: Mapping[str, float],
        dataset: DatasetAddress | None = None,
    ) -> None:
        """Keep figures of an evaluation: as tags of the version, and as metrics of run and model.

        They take the place of earlier ones of the same names.
        """
        from uad.registry import registration

        tags = {f"{METRIC_TAG}{name}": repr(float(value)) for name, value in figures.items()}
        self.set_tags(version, {**tags, **({EVALUATED_ON: dataset} if dataset else {})})
        if version.run_id is not None:
            with self._open() as connection:
                model_id = version.tags.get(MODEL_ID)
                registration.log_figures(connection, version.run_id, model_id, figures, dataset)

    def register_once(
        self, bundle: Path, name: ProductName, *, run_id: RunId | None, **facts: Any
    ) -> ModelVersion:
        """`register`, unless this run has made a version already: for steps that are repeated."""
        if run_id is not None and name in self.products():
            made = [version for version in self.versions(name) if version.run_id == run_id]
            if made:
                return made[0]
        return self.register(bundle, name, run_id=run_id, **facts)

    def trained_on(self, name: ProductName, tags: Mapping[str, str]) -> ModelVersion | None:
        """The newest version of a product that has all of `tags`; None without one."""
        if name not in self.products():
            return None
        same = (v for v in self.versions(name) if tags.items() <= v.tags.items())
        return next(same, None)

    def products(self) -> list[ProductName]:
        """Names of all registered models, in alphabetical order."""
        with self._open() as connection:
            search = connection.client.search_registered_models
            return sorted(model.name for model in _pages(search))

    def has_product(self, name: ProductName) -> bool:
        """Whether it has the product, as far as it answers: for a remark, never for a decision."""
        try:
            known = named_in_file(self.uri, name)  # MLflow takes seconds to load
            return name in self.products() if known is None else known
        except (RegistryError, sqlite3.Error):
            return False

    def experiments(self) -> dict[str, str]:
        """By product the id of MLflow's experiment that holds its runs."""
        with self._open() as connection:
            found = connection.client.search_experiments()
        products = set(self.products())
        return {each.name: str(each.experiment_id) for each in found if each.name in products}

    def versions(self, name: ProductName) -> list[ModelVersion]:
        """All versions of a product, newest first; RegistryError if there is no such product."""
        with self._open() as connection:
            model = self._model(connection, name)
            quote = '"' if "'" in name else "'"
            found = _pages(
                connection.client.search_model_versions, filter_string=f"name={quote}{name}{quote}"
            )
            listed = [_version(each, model.aliases) for each in found]
        return sorted(listed, key=lambda each: int(each.version), reverse=True)

    def version(self, name: ProductName, version: ModelVersionNumber) -> ModelVersion:
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

    def aliased(self, name: ProductName, alias: str) -> ModelVersion | None:
        """The version that carries `alias`; None if none does."""
        with self._open() as connection:
            aliases = self._model(connection, name).aliases
            if alias not in aliases:
                return None
            found = connection.client.get_model_version(name, str(aliases[alias]))
            return _version(found, aliases)

    def champion(self, name: ProductName) -> ModelVersion | None:
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
            raise RegistryError(_no_such_alias(wanted, self.versions(name)))
        return found

    def fetch(self, version: ModelVersion, into: Path) -> Path:
        """Download a version's bundle into the folder `into`; returns the bundle's folder.

        Raises:
            BundleError: the version's content is not a bundle.
            RegistryError: it cannot be downloaded.
        """
        from mlflow.artifacts import download_artifacts
        from mlflow.exceptions import MlflowException

        from uad.bundle import MANIFEST

        with self._open() as connection:
            try:
                downloaded = download_artifacts(
                    artifact_uri=version.source, dst_path=str(into), tracking_uri=connection.uri
                )
            except MlflowException as exc:
                reason = " ".join(str(exc).split())
                if is_silence(reason):
                    raise
                raise RegistryError(
                    f"The files of version {version.version} of '{version.name}' cannot be "
                    f"fetched from {version.source} ({reason[:300]}). Restore them from a backup, "
                    f"or go back: `uad rollback {shlex.quote(version.name)}`"
                ) from exc
        for manifest in Path(downloaded).rglob(MANIFEST):
            return manifest.parent
        raise BundleError(
            f"Version {version.version} of '{version.name}' has no {MANIFEST}. It was not "
            "registered by uad. Register a bundle with `uad register`."
        )

    def set_tags(self, version: ModelVersion, tags: Mapping[str, str]) -> None:
        """Add or replace tags of a version."""
        with self._open() as connection:
            for key, value in tags.items():
                connection.client.set_model_version_tag(
                    version.name, version.version, key, str(value)
                )

    def _model(self, connection: Connection, name: ProductName) -> Any:
        from mlflow.exceptions import MlflowException

        try:
            return connection.client.get_registered_model(name)
        except MlflowException as exc:
            if exc.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            have = ", ".join(self.products()) or "none"
            raise RegistryError(
                f"There is no product '{name}' in the registry at {self.uri} (it has: {have}). "
                f"Train it with `uad retrain --data FOLDER --name {shlex.quote(name)}`, or add a "
                f"bundle with `uad register BUNDLE --name {shlex.quote(name)}`"
            ) from exc


def _own_figures(bundle: "Bundle") -> dict[str, float]:
    """What the bundle says of itself where it was not evaluated."""
    entry = bundle.manifest.reference_calibration
    own = {} if entry is None else {"threshold": entry.threshold, "alpha": entry.alpha}
    return {**own, **bundle.manifest.metrics}


def _pages(search: Any, **arguments: Any) -> Iterator[Any]:
    token = None
    while True:
        page = search(max_results=_PAGE, page_token=token, **arguments)
        yield from page
        token = page.token
        if not token:
            return


def _version(found: Any, aliases: Mapping[str, Any]) -> ModelVersion:
    number = ModelVersionNumber(str(found.version))
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


def _no_such_alias(wanted: ModelAddress, versions: Sequence[ModelVersion]) -> str:
    """What a person is told; the cure of a misspelt alias is the one that was meant."""
    have = [
        each.version + (f" ({', '.join(each.aliases)})" if each.aliases else "")
        for each in versions
    ]
    told = (
        f"No version of '{wanted.name}' is {wanted.alias} (versions: {', '.join(have) or 'none'})."
    )
    known = {CHAMPION, CHALLENGER, *(alias for each in versions for alias in each.aliases)}
    if wanted.alias not in known:
        meant = difflib.get_close_matches(str(wanted.alias), known, n=1)
        if meant:
            return f"{told} Did you mean {wanted.with_alias(meant[0])}?"
    to = "" if wanted.alias == CHAMPION else f" --alias {wanted.alias}"
    return f"{told} Run `uad promote {shlex.quote(wanted.name)} VERSION{to}`."
