"""Old model versions and runs, and what lies on this disk because of them."""

import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from uad.errors import RegistryError, RegistryUnreachableError
from uad.gc.in_use import InUse, Removable, Retention, holds, protected, size_bytes
from uad.hot_reload import BundleStore
from uad.hot_reload.bundle_store import is_in_use
from uad.registry import ModelRegistry, ModelVersion, Remover, local_folder
from uad.storage.names import ModelVersionNumber, ProductName, place_of
from uad.storage.paths import reports_dir, scores_dir

VERSION = "model version"
RUN = "MLflow run"


def model_items(registry: ModelRegistry, in_use: InUse, rule: Retention) -> tuple[Removable, ...]:
    """Versions with their bundles, runs with their files, scores and reports of both."""
    versions = {
        (version.name, version.version): item for version, item in _versions(registry, in_use, rule)
    }
    return (
        *versions.values(),
        *_scores(versions),
        *_copies(in_use, versions),
        *_runs(registry, in_use, versions),
    )


def _versions(
    registry: ModelRegistry, in_use: InUse, rule: Retention
) -> Iterator[tuple[ModelVersion, Removable]]:
    shared = {version.source for version in in_use.versions}
    gone: set[str] = set()
    for version in in_use.old_versions:
        files = version.source not in shared
        size = _size(version.source) if files and version.source not in gone else 0
        gone.add(version.source)
        remove = partial(_remove_version, registry, version, files, rule)
        yield version, Removable(VERSION, f"{version.name} {version.version}", size, remove)


def _remove_version(
    registry: ModelRegistry, version: ModelVersion, files: bool, rule: Retention
) -> bool:
    """Remove it unless it must stay by what the registry says now; nobody promotes meanwhile."""
    remover = Remover(registry.uri)
    with remover.no_moves(version.name):
        try:
            now = registry.versions(version.name)
        except RegistryUnreachableError:
            raise
        except RegistryError:
            return True  # somebody removed the whole product
        same = [each for each in now if each.version == version.version]
        if not same:
            return True
        stays = version.version in protected(registry, version.name, now, rule)
        if stays or same[0].bundle_sha256 != version.bundle_sha256:
            return False
        remover.delete_version(same[0], files=files)
    return True


def _scores(
    versions: dict[tuple[ProductName, ModelVersionNumber], Removable],
) -> Iterator[Removable]:
    for (product, number), item in versions.items():
        yield from _folder("scores", place_of(scores_dir(), product) / number, item)


def _copies(
    in_use: InUse, versions: dict[tuple[ProductName, ModelVersionNumber], Removable]
) -> Iterator[Removable]:
    """Copies of bundles that were fetched to serve versions that are no longer kept."""
    for copy in BundleStore().copies():
        if in_use.holds(copy.name, copy.version) or is_in_use(copy.path):
            continue
        version = versions.get((copy.name, copy.version))
        after = () if version is None else (version,)
        remove = partial(_remove_copy, copy.path)
        yield Removable("fetched copy", str(copy.path), size_bytes(copy.path), remove, after)


def _remove_copy(copy: Path) -> bool:
    """Remove it unless a process serves it by now."""
    if is_in_use(copy):
        return False
    shutil.rmtree(copy, ignore_errors=True)
    return True


def _runs(
    registry: ModelRegistry,
    in_use: InUse,
    versions: dict[tuple[ProductName, ModelVersionNumber], Removable],
) -> Iterator[Removable]:
    remover = Remover(registry.uri)
    for run in in_use.old_runs:
        made = [version for version in in_use.old_versions if holds(run, [version])]
        inside = sum(_size(source) for source in {version.source for version in made})
        item = Removable(
            RUN,
            f"{run.product} {run.name}",
            max(0, _size(run.artifacts) - inside),
            partial(remover.delete_run, run.id),
            after=tuple(versions[version.name, version.version] for version in made),
        )
        yield item
        yield from _folder("report", place_of(reports_dir(), run.product) / run.id, item)


def _folder(kind: str, folder: Path, *after: Removable) -> Iterator[Removable]:
    if folder.is_dir():
        remove = partial(shutil.rmtree, folder, ignore_errors=True)
        yield Removable(kind, str(folder), size_bytes(folder), remove, after)


def _size(address: str) -> int:
    folder = local_folder(address)
    return 0 if folder is None else size_bytes(folder)
