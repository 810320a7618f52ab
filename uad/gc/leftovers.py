"""Bundles of old trainings, checkpoints that nobody went on with, caches, half-made files."""

import shutil
from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import partial
from pathlib import Path

from uad.data.file_index import INDEX_FILE
from uad.data.reading import merged_masks_dir
from uad.gc.retention import Removable, Retention, size_bytes, touched_before
from uad.storage.atomic_writes import UNFINISHED
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
