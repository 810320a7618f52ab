"""How much is kept, and what must stay: worked out before anything is removed."""

import os
import shlex
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from uad.errors import ConfigError
from uad.hot_reload.pins import pinned
from uad.registry import ModelRegistry, ModelVersion, Remover, TrackedRun
from uad.storage.names import ModelVersionNumber, ProductName


@dataclass(frozen=True)
class Retention:
    """How much is kept; `uad.gc.in_use` says what is protected in addition."""

    keep: int = 5
    """Of each product the newest versions, steps back that a rollback can take, bundles, and
    versions of its dataset."""
    keep_runs: int = 50
    """Of each product the newest MLflow runs."""
    in_use: timedelta = timedelta(days=1)
    """Files that were used this recently may belong to a running job."""
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
    """It is removed only if all of these are: what it belongs to, or what refers to it."""


@dataclass(frozen=True)
class InUse:
    """Model versions and runs, each divided into what stays and what goes."""

    versions: tuple[ModelVersion, ...]
    old_versions: tuple[ModelVersion, ...]
    runs: tuple[TrackedRun, ...]
    old_runs: tuple[TrackedRun, ...]

    @property
    def datasets(self) -> set[str]:
        """`name@version` of every dataset version that a kept model or run was made of."""
        named = [version.dataset for version in self.versions]
        return {address for address in (*named, *(run.dataset for run in self.runs)) if address}

    def holds(self, product: ProductName, version: ModelVersionNumber) -> bool:
        """Whether a version of a product stays."""
        return any(each.name == product and each.version == version for each in self.versions)


def find_in_use(registry: ModelRegistry, rule: Retention) -> InUse:
    """Divide all versions and runs of the registry.

    What uad did not register stays, and so does what it was made of. A version of uad's stays if it
    is protected; see `protected`. A run stays if it is among the newest of its product, under way,
    or holds the files of a version that stays.
    """
    staying: list[ModelVersion] = []
    leaving: list[ModelVersion] = []
    for product in registry.products():
        versions = registry.versions(product)
        kept = protected(registry, product, versions, rule)
        for version in versions:
            (staying if version.version in kept else leaving).append(version)
    copied = {version.source for version in staying}
    staying += [version for version in leaving if version.address in copied]
    leaving = [version for version in leaving if version.address not in copied]
    runs: list[TrackedRun] = []
    old_runs: list[TrackedRun] = []
    seen: Counter[str] = Counter()
    for run in Remover(registry.uri).tracked_runs():
        seen[run.product] += 1
        stays = seen[run.product] <= rule.keep_runs or run.under_way or holds(run, staying)
        (runs if stays else old_runs).append(run)
    return InUse(tuple(staying), tuple(leaving), tuple(runs), tuple(old_runs))


def holds(run: TrackedRun, versions: Sequence[ModelVersion]) -> bool:
    """Whether one of the versions was made by the run, or has its files there."""
    inside = f"{run.artifacts.rstrip('/')}/"
    return any(
        version.run_id == run.id or version.source.startswith(inside) for version in versions
    )


def protected(
    registry: ModelRegistry, product: ProductName, versions: Sequence[ModelVersion], rule: Retention
) -> set[str]:
    """Numbers of the versions that must stay; `versions` are all of the product, newest first.

    Those that uad did not register, the newest ones of uad's, those with an alias (champion,
    challenger or one of your own), the one pinned on this machine, the nearest that a rollback can
    go back to, and the one that the last move left, since who went back may want to go forward.
    """
    own = [version for version in versions if version.is_own]
    others = [version.version for version in versions if not version.is_own]
    newest = [version.version for version in own[: rule.keep]]
    aliased = [version.version for version in versions if version.aliases]
    back = registry.earlier(product)[: rule.keep] if own else []
    left = registry.left(product) if own else None
    return {*others, *newest, *aliased, *back, _pinned(product), left or ""}


def _pinned(product: ProductName) -> str:
    """The version pinned on this machine; empty without a pin.

    Raises:
        ConfigError: the pin cannot be read, so it is not known which version must stay.
    """
    try:
        return pinned(product) or ""
    except OSError as exc:
        command = f"uad pin {shlex.quote(product)}"
        raise ConfigError(
            f"the pin of '{product}' cannot be read ({exc}). Set it again with `{command} "
            f"VERSION`, or end it with `{command} --off`"
        ) from exc


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
