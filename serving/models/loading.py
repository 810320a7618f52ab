"""Load the models that the settings name: fixed bundles, and registry addresses to follow."""

import logging
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from serving.api.access import open_access
from serving.api.state import State
from serving.models.model_names import existing_registry, named_as, place_of
from serving.models.products import Product, Products
from serving.models.registry_health import AuditedRegistry, Followed, RegistryHealth
from serving.models.shadow import Shadow
from serving.settings import ServerSettings
from serving.workers.messages import engine_spec
from serving.workers.pool import WorkerPool
from uad.bundle import read_bundle
from uad.config.choices import parse_devices
from uad.errors import ConfigError, ServingError
from uad.hot_reload import AliasWatcher, BundleStore, Event, ModelSlot, Served
from uad.hot_reload.pins import pinned_version
from uad.inference.engines.base import physical_cores
from uad.registry import CHALLENGER, CHAMPION, ModelAddress, is_address
from uad.registry.types import ModelVersion

logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 1.5
"""How long a start waits for the registry if there is a local copy. Loading MLflow takes longer, so
most starts use the copy for a few seconds."""
SERIOUS = ("failed", "unreachable", "missing", "offline")


def open_state(settings: ServerSettings) -> State:
    """Everything that a server needs; keys first, because they are checked quickly."""
    access = open_access(settings.access)
    return State(settings, open_products(settings), access)


def open_products(
    settings: ServerSettings,
    registry: Callable[[], AuditedRegistry] = existing_registry,
    store: Callable[[], BundleStore] = BundleStore,
) -> Products:
    """Load a version of everything that the settings name.

    Raises:
        ConfigError: nothing is named, two have the same name, or settings name another product.
        ServingError: no version can be had; the message says how to get one.
        BundleError: a bundle's folder cannot be loaded.
    """
    named = [named_as(model) for model in settings.models]
    if not named:
        raise ConfigError("nothing to serve: give --model NAME, models:/NAME@ALIAS or a folder")
    if len({name for name, _ in named}) < len(named):
        raise ConfigError("two models have the same name: write one as OTHER-NAME=ADDRESS")
    if unknown := sorted(set(settings.products) - {name for name, _ in named}):
        served = ", ".join(name for name, _ in named)
        raise ConfigError(
            f"there are settings for '{unknown[0]}', which this server does not serve. It serves: "
            f"{served}"
        )
    devices = parse_devices(settings.device)
    places = physical_cores() if devices == ("cpu",) else len(devices)
    workers = settings.workers or max(1, places // len(named))
    opened: list[Product] = []
    with ExitStack() as if_one_fails:
        for name, model in named:
            address = place_of(model, settings, store)
            if is_address(address):
                followed = _FollowedProduct(
                    name, ModelAddress.parse(address), settings, registry(), store()
                )
                product = followed.product(workers)
            else:
                product = _fixed(name, address, settings, workers)
            if_one_fails.callback(product.close)
            opened.append(product)
        if_one_fails.pop_all()
    return Products(opened)


def _fixed(name: str, folder: str, settings: ServerSettings, workers: int) -> Product:
    bundle = read_bundle(Path(folder))
    engines = WorkerPool(engine_spec(bundle.path, settings, product=name), workers)
    return Product(name, ModelSlot(Served(engines, bundle.id, name)))


@dataclass(frozen=True)
class _FollowedProduct:
    """One address that is about to be followed."""

    name: str
    address: ModelAddress
    settings: ServerSettings
    registry: AuditedRegistry
    store: BundleStore

    def product(self, workers: int) -> Product:
        """Follow the champion; a version serves on return."""
        registry = RegistryHealth(self.registry, self._pinned)
        events = _StartEvents(partial(_log, str(self.address)))
        watcher = self._watcher(self.address, registry, workers, niceness=0, on_event=events)
        followed = Followed(watcher, registry, self.settings.poll_seconds)
        product = Product(self.name, watcher.slot, followed, self.address.name, self._shadow())
        first = threading.Thread(target=watcher.start, name="first-poll", daemon=True)
        first.start()
        first.join(PATIENCE_SECONDS)
        if first.is_alive() and registry.is_asking:
            self._start_with_copy(watcher)
        if watcher.slot.current is None:
            first.join()
        if watcher.slot.current is None and not self.settings.wait_for_model:
            product.close()
            message = watcher.status().last_error or f"{self.address} cannot be loaded"
            events.release(but=message)  # the error says it
            raise ServingError(message)
        events.release()
        return product

    def _shadow(self) -> Shadow | None:
        """Follow the challenger if it should run; the start does not wait for it."""
        if not self.settings.shadow or self.address.alias != CHAMPION:
            return None
        address = self.address.with_alias(CHALLENGER)
        registry = RegistryHealth(self.registry)
        listener = partial(_log, str(address))
        watcher = self._watcher(address, registry, 1, niceness=10, on_event=listener)
        threading.Thread(target=watcher.start, name="first-poll", daemon=True).start()
        return Shadow(
            self.name, watcher.slot, Followed(watcher, registry, self.settings.poll_seconds)
        )

    def _watcher(
        self,
        address: ModelAddress,
        registry: RegistryHealth,
        workers: int,
        *,
        niceness: int,
        on_event: Callable[[Event], None],
    ) -> AliasWatcher[WorkerPool]:
        def load(bundle: Path) -> WorkerPool:
            spec = engine_spec(bundle, self.settings, niceness, product=self.name)
            return WorkerPool(spec, workers, repair=watcher.repair)

        watcher: AliasWatcher[WorkerPool] = AliasWatcher(
            str(address),
            registry,
            self.store,
            load,
            interval_seconds=self.settings.poll_seconds,
            on_event=on_event,
            note_external=registry.note_external,
        )
        return watcher

    def _pinned(self) -> ModelVersion | None:
        return pinned_version(self.address.name, self.store) if self.address.alias else None

    def _start_with_copy(self, watcher: AliasWatcher[WorkerPool]) -> None:
        """Serve the version that served last, until the registry answers."""
        if watcher.start_with_copy() and (served := watcher.slot.current) is not None:
            words = "%s: version %s, which served last, serves until the registry has answered"
            logger.info(words, self.name, served.version)


class _StartEvents:
    """Holds a watcher's events until the start is decided, then passes all on."""

    def __init__(self, listener: Callable[[Event], None]) -> None:
        self._listener = listener
        self._held: list[Event] | None = []
        self._lock = threading.Lock()  # the first poll has a thread of its own

    def __call__(self, event: Event) -> None:
        """Hold the event, or pass it on."""
        with self._lock:
            if self._held is not None:
                self._held.append(event)
                return
        self._listener(event)

    def release(self, *, but: str | None = None) -> None:
        """Pass on what was held, except what says `but`."""
        with self._lock:
            held, self._held = self._held or [], None
        for event in held:
            if but is None or but not in event.message:
                self._listener(event)


def _log(name: str, event: Event) -> None:
    level = logging.WARNING if event.kind in SERIOUS else logging.INFO
    logger.log(level, "%s: %s", name, event.message)
