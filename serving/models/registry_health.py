"""A registry that remembers whether it answered."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from serving.workers.pool import WorkerPool
from uad.errors import RegistryUnreachableError
from uad.hot_reload import AliasWatcher
from uad.hot_reload.alias_watcher import Registry
from uad.registry.types import ModelVersion


class AuditedRegistry(Registry, Protocol):
    """What the server needs of a `ModelRegistry`."""

    def note_external(self, name: str, *, alias: str) -> object:
        """Write a move made outside uad into the audit."""


class RegistryHealth:
    """Passes everything on, and notes when the registry answered last."""

    def __init__(
        self, registry: AuditedRegistry, pinned: Callable[[], ModelVersion | None] = lambda: None
    ) -> None:
        """`pinned`: the version to answer with instead of asking, if any."""
        self._registry = registry
        self._pinned = pinned
        self.answered_at: float | None = None
        """By the monotonic clock; None if it never did."""
        self.is_down = False
        """Whether it did not answer when it was last asked."""
        self.is_asking = False
        """Whether an answer is being waited for now."""

    def resolve(self, address: str) -> ModelVersion:
        """See `uad.hot_reload.alias_watcher.Registry`."""
        pinned = self._pinned()
        if pinned is not None:
            return pinned
        self.is_asking = True
        try:
            version = self._registry.resolve(address)
        except RegistryUnreachableError:
            self.is_down = True
            raise
        finally:
            self.is_asking = False
        self.is_down = False
        self.answered_at = time.monotonic()
        return version

    def fetch(self, version: ModelVersion, into: Path) -> Path:
        """See `uad.hot_reload.alias_watcher.Registry`."""
        return self._registry.fetch(version, into)

    def note_external(self, name: str, *, alias: str) -> object:
        """See `uad.hot_reload.AliasWatcher`; a pin asks the registry nothing."""
        return None if self._pinned() else self._registry.note_external(name, alias=alias)


@dataclass(frozen=True)
class Followed:
    """Where a product's versions come from."""

    watcher: AliasWatcher[WorkerPool]
    registry: RegistryHealth
