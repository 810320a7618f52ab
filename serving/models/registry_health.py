"""A registry that remembers whether it answered."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from serving.workers.pool import WorkerPool
from uad.errors import RegistryError, RegistryUnreachableError
from uad.hot_reload import AliasWatcher
from uad.hot_reload.alias_watcher import Registry
from uad.registry.types import ModelVersion
from uad.storage.names import ProductName

OLD_SECONDS = 120.0
logger = logging.getLogger(__name__)


class AuditedRegistry(Registry, Protocol):
    """What the server needs of a `ModelRegistry`."""

    def note_external(self, name: ProductName, *, alias: str) -> object:
        """Write a move made outside uad into the audit."""


class RegistryHealth:
    """Passes all calls on, and records when the registry answered last."""

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
        self.pinned: str | None = None
        """The version that was pinned at the last poll."""
        self._last_pin: ModelVersion | None = None
        self._pin_trouble = ""

    def resolve(self, address: str) -> ModelVersion:
        """See `uad.hot_reload.alias_watcher.Registry`."""
        pinned = self._read_pin()
        if pinned is not None and pinned.address != address:
            return pinned
        self.is_asking = True
        try:
            version = self._registry.resolve(address)
        except RegistryUnreachableError:
            self.is_down = True
            raise
        except RegistryError:
            self.is_down = False  # it answers, and says that there is no such version
            raise
        except Exception:
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

    def note_external(self, name: ProductName, *, alias: str) -> object:
        """See `uad.hot_reload.AliasWatcher`; a pin asks the registry nothing."""
        return None if self.pinned else self._registry.note_external(name, alias=alias)

    def _read_pin(self) -> ModelVersion | None:
        """The pinned version; while the pin cannot be read, the one that was read last."""
        try:
            found = self._pinned()
        except (OSError, ValueError) as exc:
            if str(exc) != self._pin_trouble:
                logger.warning("The pin could not be read, so nothing changes: %s", exc)
            self._pin_trouble = str(exc)
            return self._last_pin
        self._pin_trouble, self._last_pin = "", found
        self.pinned = None if found is None else found.version
        return found


@dataclass(frozen=True)
class Followed:
    """Where a product's versions come from."""

    watcher: AliasWatcher[WorkerPool]
    registry: RegistryHealth
    poll_seconds: float = 5.0

    def is_following(self) -> bool:
        """Whether a poll ended not long ago; loading a version counts as part of one."""
        age = self.watcher.seconds_since_poll()
        return age is not None and age < OLD_SECONDS + 10 * self.poll_seconds
