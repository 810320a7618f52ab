"""Follow an address of the registry: load what it names now, and swap when it names another.

A version that cannot be fetched, verified, loaded or reproduced leaves the old one serving and is
tried again later, after ever longer waits. After a restart the old one is the saved copy of what
served last.
"""

import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Generic, Protocol

from uad.errors import RegistryError, RegistryUnreachableError
from uad.hot_reload.bundle_store import BundleStore, copy_name
from uad.hot_reload.model_slot import D, ModelSlot, Served
from uad.hot_reload.pins import PINNED_AT
from uad.hot_reload.status import Event, EventKind, Failure, Status
from uad.registry import ModelAddress, ModelVersion
from uad.storage.names import ProductName

logger = logging.getLogger(__name__)

FIRST_RETRY_SECONDS = 30.0
LONGEST_RETRY_SECONDS = 3600.0
MOST_FAILURES = 10
"""The last failure is reported for at most this many versions."""


class Registry(Protocol):
    """What a watcher needs of a `ModelRegistry`."""

    def resolve(self, address: str) -> ModelVersion:
        """The version that the address stands for now."""

    def fetch(self, version: ModelVersion, into: Path) -> Path:
        """Download its bundle."""


class AliasWatcher(Generic[D]):
    """Keeps `slot` on the version that `address` stands for.

    `poll` is one step and can be called by hand; `start` does it again and again in a daemon
    thread.
    """

    def __init__(
        self,
        address: str,
        registry: Registry,
        store: BundleStore,
        load: Callable[[Path], D],
        *,
        interval_seconds: float = 5.0,
        on_event: Callable[[Event], None] | None = None,
        slot: ModelSlot[D] | None = None,
        note_external: Callable[..., object] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing is loaded before `poll` or `start`.

        Args:
            address: `models:/cookie@champion`, or a fixed `models:/cookie/3`.
            registry: resolves and fetches.
            store: keeps what was fetched.
            load: from a verified bundle's folder to a model, engine loaded.
            interval_seconds: between polls; each wait varies by a fifth, so that many servers do
                not ask at the same moment.
            on_event: called in the polling thread.
            slot: where the model goes; a new one by default.
            note_external: `ModelRegistry.note_external`: called after a swap, so that a move made
                elsewhere is in the audit when it takes effect; its failure changes nothing.
            clock: seconds, for back-off and status.
        """
        self.address = address
        self._target = ModelAddress.parse(address)
        self.slot: ModelSlot[D] = ModelSlot() if slot is None else slot
        self._registry = registry
        self._store = store
        self._load = load
        self._interval_seconds = interval_seconds
        self._on_event = on_event
        self._note_external = note_external
        self._clock = clock
        self._failures: dict[str, Failure] = {}
        self._moved: tuple[str, str | None] | None = None
        self._is_urged = False
        self._loaded_version: ModelVersion | None = None
        self._desired: str | None = None
        self._last_error: str | None = None
        self._last_poll: float | None = None
        self._trouble: EventKind | None = None
        self._polling = threading.Lock()
        self._wake = threading.Event()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Poll once here, so that a model is there on return if one can be, then in a thread."""
        self._poll_safely()
        self._thread = threading.Thread(target=self._run, name="uad-alias-watcher", daemon=True)
        self._thread.start()

    def start_with_copy(self) -> bool:
        """Load what served last while the first poll still waits for an answer; True if it is."""
        stored = self._store.last_served(self._target)
        if stored is None:
            return False
        try:
            served, _ = self._opened(stored.described())
        except Exception as exc:  # noqa: BLE001 - the registry may still answer
            logger.error("The saved copy of %s cannot be loaded: %s", stored.version, exc)
            return False
        if self.slot.current is not None:  # the registry was faster
            served.close()
            return False
        self.slot.swap(served)
        self._loaded_version = stored.described()
        return True

    def stop(self, timeout_seconds: float = 10.0) -> None:
        """End the thread; the model stays in the slot."""
        self._stopped.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout_seconds)

    def wake(self) -> None:
        """Poll now rather than at the end of the wait, and try again what failed before."""
        self._is_urged = True
        self._wake.set()

    def seconds_since_poll(self) -> float | None:
        """How long ago a poll ended, well or not; None before the first one."""
        return None if self._last_poll is None else self._clock() - self._last_poll

    def repair(self) -> None:
        """Fetch the bundle that serves again if its local copy was damaged or removed."""
        loaded = self._loaded_version
        if loaded is not None:
            self._store.ensure(loaded, self._fetch)

    def status(self) -> Status:
        """What is wanted, what serves, and what went wrong."""
        current = self.slot.current
        return Status(
            address=self.address,
            desired=self._desired,
            serving=None if current is None else current.version,
            failed=tuple(self._failures.values()),
            last_error=self._last_error,
        )

    def poll(self) -> bool:
        """Look up the address once and swap if it names another version; True if it did."""
        with self._polling:
            try:
                return self._poll()
            finally:
                self._last_poll = self._clock()

    def _poll(self) -> bool:
        try:
            version = self._registry.resolve(self.address)
        except RegistryError as exc:
            return self._unresolved(exc)
        except Exception as exc:
            logger.warning("%s could not be looked up", self.address, exc_info=exc)
            return self._unresolved(RegistryUnreachableError(f"{type(exc).__name__}: {exc}"))
        self._reached()
        self._desired = version.version
        self._try_again_if_moved(version)
        copy = copy_name(version)
        if self._serves(copy):
            return False
        if not self._quarantined(copy) and self._attempt(version):
            return True
        error = self._last_error
        return self.slot.current is None and error is not None and self._start_with_saved(error)

    def _try_again_if_moved(self, version: ModelVersion) -> None:
        """After a promotion, rollback, pin or poll by hand, failed versions are tried again."""
        since = version.tags.get(PINNED_AT) or version.tags.get(f"uad.{self._target.alias}")
        moved = (copy_name(version), since)
        if moved != self._moved or self._is_urged:
            self._failures = {
                copy: replace(failure, retry_at=self._clock())
                for copy, failure in self._failures.items()
            }
        self._moved, self._is_urged = moved, False

    def _fetch(self, version: ModelVersion, into: Path) -> Path:
        """Fetch the bundle; a version that is only known from its local copy is looked up first."""
        if not version.source:
            version = self._registry.resolve(version.address)
        return self._registry.fetch(version, into)

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._wake.wait(self._interval_seconds * random.uniform(0.8, 1.2))
            self._wake.clear()
            if not self._stopped.is_set():
                self._poll_safely()

    def _poll_safely(self) -> None:
        try:
            self.poll()
        except Exception as exc:  # the thread must outlive any failure
            logger.exception("checking %s failed", self.address)
            self._last_error = f"{type(exc).__name__}: {exc}"

    def _serves(self, copy: str) -> bool:
        current = self.slot.current
        return current is not None and current.copy == copy

    def _quarantined(self, copy: str) -> bool:
        failure = self._failures.get(copy)
        if failure is None:
            return False
        self._last_error = failure.error
        return self._clock() < failure.retry_at

    def _attempt(self, version: ModelVersion) -> bool:
        """Load beside the old model, check, then swap with one assignment."""
        try:
            served, path = self._opened(version)
        except RegistryUnreachableError as exc:
            return self._unresolved(exc)
        except Exception as exc:  # noqa: BLE001 - whatever it is, the old version goes on
            self._quarantine(version, exc)
            return False
        before = self.slot.current
        self.slot.swap(served)
        self._loaded_version = version
        self._failures.pop(served.copy, None)
        self._last_error = None
        instead = f" instead of version {before.version}" if before else ""
        self._tell("swapped", version.version, f"version {version.version} now serves{instead}")
        self._keep_books(version.name, path)
        return True

    def _opened(self, version: ModelVersion) -> tuple[Served[D], Path]:
        """A version loaded and checked, and the local copy that it holds a lease on."""
        lease = self._store.lease(version, self._fetch)
        try:
            model = self._loaded(lease.path)
        except BaseException:
            lease.release()
            raise
        served = Served(model, version.version, version.name, copy_name(version), lease.release)
        return served, lease.path

    def _keep_books(self, name: ProductName, path: Path) -> None:
        """Store which version serves, and audit a move made elsewhere; failures are logged."""
        alias = self._target.alias
        if alias is None:
            return
        try:
            self._store.remember(name, alias, path)
        except Exception as exc:  # noqa: BLE001 - the swap stands
            logger.warning(
                "%s: the version that serves could not be written to the disk. A start without "
                "the registry would use an older one: %s",
                self.address,
                exc,
            )
        if self._note_external is None or self._trouble is not None:
            return
        try:
            self._note_external(name, alias=alias)
        except Exception as exc:  # noqa: BLE001 - the swap stands
            logger.warning("The audit trail could not be updated: %s", exc)

    def _loaded(self, path: Path) -> D:
        model = self._load(path)
        try:
            model.check_golden()
        except BaseException:
            model.close()
            raise
        return model

    def _quarantine(self, version: ModelVersion, error: Exception) -> None:
        copy = copy_name(version)
        before = self._failures.pop(copy, None)
        attempts = 1 if before is None else before.attempts + 1
        wait = min(FIRST_RETRY_SECONDS * 2 ** (attempts - 1), LONGEST_RETRY_SECONDS)
        message = str(error) or type(error).__name__
        failure = Failure(version.version, attempts, message, self._clock() + wait)
        self._failures[copy] = failure
        while len(self._failures) > MOST_FAILURES:
            del self._failures[next(iter(self._failures))]
        self._last_error = message
        told = f"version {version.version} cannot serve: {message} (next attempt in {wait:.0f} s)"
        self._tell("failed", version.version, told)

    def _reached(self) -> None:
        if self._trouble is not None:
            self._tell("recovered", None, "the registry names a version again")
        self._trouble = None
        self._last_error = None

    def _unresolved(self, error: RegistryError) -> bool:
        """Keep serving the current version, or load the one that served last."""
        down = isinstance(error, RegistryUnreachableError)
        trouble: EventKind = "unreachable" if down else "missing"
        if self._trouble != trouble:
            self._tell(trouble, None, str(error))
        self._trouble = trouble
        self._last_error = str(error)
        self._desired = self._desired if down else None
        if self.slot.current is not None:
            return False
        return self._start_with_saved(str(error))

    def _start_with_saved(self, error: str) -> bool:
        """Serve what served last, because of `error`; True if it does."""
        stored = self._store.last_served(self._target)
        if stored is None:
            return False
        version = stored.described()
        if self._quarantined(copy_name(version)):
            return False
        loaded = self._attempt(version)
        if loaded:
            self._last_error = error
            told = f"version {stored.version} serves from the saved copy"
            self._tell("offline", stored.version, told)
        return loaded

    def _tell(self, kind: EventKind, version: str | None, message: str) -> None:
        if self._on_event is None:
            return
        try:
            self._on_event(Event(kind, version, message))
        except Exception:  # a broken listener must not stop the model from being replaced
            logger.exception("the listener failed on %s", kind)
