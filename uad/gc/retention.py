"""How much is kept, and what it is that goes."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path


@dataclass(frozen=True)
class Retention:
    """What stays whatever else; see `uad.gc.in_use` for what is protected besides."""

    keep: int = 5
    """Of each product the newest versions, steps back that a rollback can take, bundles, and
    versions of its dataset."""
    keep_runs: int = 50
    """Of each product the newest MLflow runs."""
    in_use: timedelta = timedelta(days=1)
    """What was touched this recently may belong to something under way."""
    stale: timedelta = timedelta(days=7)
    """Checkpoints of trainings that nobody went on with, and caches, are kept this long."""


@dataclass(frozen=True)
class Removable:
    """One thing that goes."""

    kind: str
    what: str
    bytes: int
    """On this machine's disk."""
    remove: Callable[[], object]
    """False where it must stay after all, because something changed since the plan."""
    after: tuple["Removable", ...] = ()
    """It goes only if all of these went: what it belongs to, or what refers to it."""


def size_bytes(path: Path) -> int:
    """Of a file, or of all files in a folder; 0 if there is nothing."""
    if path.is_file():
        return path.stat().st_size
    return sum(
        (Path(folder) / name).lstat().st_size
        for folder, _, names in os.walk(path)
        for name in names
    )


def touched_before(path: Path, moment: datetime) -> bool:
    """Whether the newest file of `path` is older than `moment`."""
    files = [path, *path.rglob("*")] if path.is_dir() else [path]
    return max(file.lstat().st_mtime for file in files) < moment.timestamp()
