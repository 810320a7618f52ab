"""Old model versions and runs, and what lies on this disk because of them."""

import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from uad.gc.in_use import Kept
from uad.gc.retention import Item, size_bytes
from uad.hot_reload import BundleStore
from uad.names import place_of
from uad.paths import reports_dir, scores_dir
from uad.registry import ModelRegistry, local_folder


def model_items(registry: ModelRegistry, kept: Kept) -> Iterator[Item]:
    """Versions with their bundles, runs with their files, scores and reports of both."""
    shared = {version.source for version in kept.versions}
    gone: set[str] = set()
    for version in kept.old_versions:
        files = version.source not in shared
        size = _size(version.source) if files and version.source not in gone else 0
        gone.add(version.source)
        remove = partial(registry.delete_version, version, files=files)
        yield Item("model version", f"{version.name} {version.version}", size, remove)
        yield from _folder("scores", place_of(scores_dir(), version.name) / version.version)
    for run in kept.old_runs:
        inside = sum(_size(s) for s in gone if s.startswith(run.artifacts))
        size = _size(run.artifacts) - inside
        yield Item(
            "MLflow run", f"{run.product} {run.name}", size, partial(registry.delete_run, run.id)
        )
        yield from _folder("report", place_of(reports_dir(), run.product) / run.id)


def copy_items(kept: Kept) -> Iterator[Item]:
    """Copies of bundles that were fetched to serve versions that are no longer kept."""
    for copy in BundleStore().copies():
        if not kept.holds(copy.name, copy.version):
            yield from _folder("fetched copy", copy.path)


def _folder(kind: str, folder: Path) -> Iterator[Item]:
    if folder.is_dir():
        remove = partial(shutil.rmtree, folder, ignore_errors=True)
        yield Item(kind, str(folder), size_bytes(folder), remove)


def _size(address: str) -> int:
    folder = local_folder(address)
    return 0 if folder is None else size_bytes(folder)
