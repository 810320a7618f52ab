"""What this disk can lose: old datasets, bundles, checkpoints, caches, incomplete files."""

import shutil
from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import partial
from pathlib import Path

from uad.data.file_index import INDEX_FILE
from uad.data.object_store import sweep, sweepable
from uad.data.reading import merged_masks_dir
from uad.data.versions import dataset_names, forget, history, images_of, versions_on_disk
from uad.gc.in_use import InUse, Removable, Retention, size_bytes, touched_before
from uad.storage.atomic_writes import UNFINISHED
from uad.storage.names import dataset_address
from uad.storage.paths import bundles_dir, cache_dir, checkpoints_dir, datasets_dir, store_dir


def leftover_items(rule: Retention, now: datetime) -> Iterator[Removable]:
    """What can go although nothing refers to it, by age."""
    yield from _old("bundle", _old_bundles(rule), now - rule.in_use)
    yield from _old("checkpoint", checkpoints_dir().iterdir(), now - rule.stale)
    yield from _old("cache", _caches(), now - rule.stale)
    yield from _old("half-made", _half_made(), now - rule.in_use)


def _old_bundles(rule: Retention) -> Iterator[Path]:
    """All but the newest of each product; what is registered has its own copy in MLflow."""
    for product in bundles_dir().iterdir():
        folders = [folder for folder in product.iterdir() if folder.is_dir()]
        yield from sorted(folders, key=lambda f: f.stat().st_mtime, reverse=True)[rule.keep :]


def _caches() -> Iterator[Path]:
    for path in cache_dir().iterdir():
        index = path.name.startswith("files-") and path.name != INDEX_FILE
        if index or path.name.startswith("suspects-"):
            yield path
    yield from merged_masks_dir().glob("*.png")


def _half_made() -> Iterator[Path]:
    """What a process that was killed left behind."""
    yield from cache_dir().glob("training-*")
    yield from store_dir().glob("*/.fetch-*")  # an earlier version's
    for folder in (bundles_dir(), cache_dir(), checkpoints_dir(), datasets_dir(), store_dir()):
        yield from folder.rglob(f"{UNFINISHED}*")


def _old(kind: str, paths: Iterable[Path], moment: datetime) -> Iterator[Removable]:
    for path in sorted(paths):
        if touched_before(path, moment):
            yield Removable(kind, str(path), size_bytes(path), partial(_remove, path))


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def dataset_items(
    in_use: InUse, rule: Retention, now: datetime, after: tuple[Removable, ...]
) -> Iterator[Removable]:
    """Versions that are not the newest ones and made no kept model or run; then their files.

    `after`: the models and runs that go, which may have been made of them.

    Raises:
        DataError: a version that stays cannot be read, so it is not known which files it needs.
    """
    referenced: set[str] = set()
    leaving: list[Removable] = []
    for name in dataset_names():
        listed = dict.fromkeys(row["version"] for row in history(name))
        stay = _staying(name, in_use, rule, now)
        going = [version for version in listed if version not in stay]
        # A version that the history does not name keeps its files: the history may be damaged.
        for version in {*listed, *versions_on_disk(name)} - set(going):
            referenced |= {
                file.sha256 for image in images_of(name, version) for file in image.files
            }
        for version in going:
            remove = partial(forget, name, version, now - rule.in_use)
            address = dataset_address(name, version)
            leaving.append(Removable("dataset version", address, 0, remove, after))
    yield from leaving
    for file in sweepable(referenced, now - rule.in_use):
        remove = partial(sweep, file, now - rule.in_use)
        yield Removable("image file", file.name, file.stat().st_size, remove, (*after, *leaving))


def _staying(name: str, in_use: InUse, rule: Retention, now: datetime) -> set[str]:
    log = history(name)
    newest_first = list(dict.fromkeys(row["version"] for row in reversed(log)))
    recent = {
        row["version"] for row in log if datetime.fromisoformat(row["time"]) > now - rule.in_use
    }
    used = {
        version for version in newest_first if dataset_address(name, version) in in_use.datasets
    }
    return {*newest_first[: rule.keep], *recent, *used}
