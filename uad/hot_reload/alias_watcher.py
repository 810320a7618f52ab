"""Follow an address of the registry: load what it names now, and swap when it names another.

A version that cannot be fetched, verified, loaded or reproduced leaves the old one serving and is
tried again later, after ever longer waits.
"""

import logging
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, Protocol

from uad.errors import RegistryError, RegistryUnreachableError
from uad.hot_reload.bundle_store import BundleStore, Stored
from uad.hot_reload.model_slot import D, ModelSlot, Served
from uad.hot_reload.status import Event, EventKind, Failure, Status
from uad.registry import ModelAddress, ModelVersion

FIRST_RETRY_SECONDS = 30.0
LONGEST_RETRY_SECONDS = 3600.0
MOST_FAILURES = 10
"""Of so many versions the last failure is reported."""


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
        self.poll()
        self._thread = threading.Thread(target=self._run, name="uad-watcher", daemon=True)
        self._thread.start()

    def stop(self, timeout_seconds: float = 10.0) -> None:
        """End the thread; the model stays in the slot."""
        self._stopped.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout_seconds)

    def wake(self) -> None:
        """Poll now rather than at the end of the wait."""
        self._wake.set()

    def status(self) -> Status:
        """What is wanted, what serves, and what went wrong."""
        current = self.slot.current
        return Status(
            address=self.address,
            desired=self._desired,
            serving=None if current is None else current.version,
            failed=tuple(self._failures.values()),
            last_error=self._last_error,
            last_poll=self._last_poll,
        )

    def poll(self) -> bool:
        """Look up the address once and swap if it names another version; True if it did."""
        with self._polling:
            self._last_poll = self._clock()
            try:
                version = self._registry.resolve(self.address)
            except RegistryError as exc:
                return self._unresolved(exc)
            self._reached()
            self._desired = version.version
            if self._serves(version.version) or self._quarantined(version.version):
                return False
            return self._attempt(
                version.name,
                version.version,
                lambda: self._store.ensure(version, self._registry.fetch),
            )

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._wake.wait(self._interval_seconds * random.uniform(0.8, 1.2))
            self._wake.clear()
            if not self._stopped.is_set():
                self._poll_safely()

    def _poll_safely(self) -> None:
        try:
            self.poll()
        except Exception as exc:  # noqa: BLE001 - the thread must outlive any failure
            self._last_error = f"{type(exc).__name__}: {exc}"

    def _serves(self, version: str) -> bool:
        current = self.slot.current
        return current is not None and current.version == version

    def _quarantined(self, version: str) -> bool:
        failure = self._failures.get(version)
        if failure is None:
            return False
        self._last_error = failure.error
        return self._clock() < failure.retry_at

    def _attempt(self, name: str, version: str, locate: Callable[[], Path]) -> bool:
        """Load beside the old model, check, then swap with one assignment."""
        try:
            path = locate()
            served = Served(self._loaded(path), version, name)
        except RegistryUnreachableError as exc:
            return self._unresolved(exc)
        except Exception as exc:  # noqa: BLE001 - whatever it is, the old version goes on
            self._quarantine(version, exc)
            return False
        before = self.slot.current
        self.slot.swap(served)
        self._failures.pop(version, None)
        self._last_error = None
        self._tell("swapped", version, f"from {before.version if before else 'nothing'}")
        if self._target.alias is not None:
            self._keep(name, self._target.alias, path)
        return True

    def _keep(self, name: str, alias: str, path: Path) -> None:
        self._store.remember(name, alias, path)
        if self._note_external is None or self._trouble is not None:
            return
        try:
            self._note_external(name, alias=alias)
        except RegistryError as exc:
            logging.getLogger(__name__).warning("The audit trail could not be updated: %s", exc)

    def _loaded(self, path: Path) -> D:
        model = self._load(path)
        try:
            model.check_golden()
        except BaseException:
            model.close()
            raise
        return model

    def _quarantine(self, version: str, error: Exception) -> None:
        before = self._failures.get(version)
        attempts = 1 if before is None else before.attempts + 1
        wait = min(FIRST_RETRY_SECONDS * 2 ** (attempts - 1), LONGEST_RETRY_SECONDS)
        message = str(error) or type(error).__name__
        self._failures[version] = Failure(version, attempts, message, self._clock() + wait)
        while len(self._failures) > MOST_FAILURES:
            del self._failures[next(iter(self._failures))]
        self._last_error = message
        self._tell("failed", version, f"{message} (next attempt in {wait:.0f} s)")

    def _reached(self) -> None:
        if self._trouble is not None:
            self._tell("recovered", None, f"{self.address} is there again")
        self._trouble = None
        self._last_error = None

    def _unresolved(self, error: RegistryError) -> bool:
        """Go on with what serves; if the registry is down, else the last known good copy."""
        down = isinstance(error, RegistryUnreachableError)
        trouble: EventKind = "unreachable" if down else "missing"
        if self._trouble != trouble:
            self._tell(trouble, None, str(error))
        self._trouble = trouble
        self._last_error = str(error)
        self._desired = self._desired if down else None
        if not down or self.slot.current is not None:
            return False
        return self._start_offline(error)

    def _start_offline(self, error: RegistryError) -> bool:
        stored = self._last_known_good()
        if stored is None or self._quarantined(stored.version):
            return False
        loaded = self._attempt(stored.name, stored.version, lambda: stored.path)
        if loaded:
            self._last_error = str(error)
            self._tell("offline", stored.version, "serving the saved copy")
        return loaded

    def _last_known_good(self) -> Stored | None:
        return self._store.last_served(self._target)

    def _tell(self, kind: EventKind, version: str | None, message: str) -> None:
        if self._on_event is None:
            return
        try:
            self._on_event(Event(kind, version, message))
        except Exception:  # a broken listener must not stop the model from being replaced
            logging.getLogger(__name__).exception("the listener failed on %s", kind)
