"""Open what the settings name: fixed bundles, and addresses whose champion is followed."""

import logging
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from serving.engines import Engines
from serving.products import Followed, Product, Products
from serving.settings import ServerSettings
from serving.spec import engine_spec
from serving.watched import WatchedRegistry
from uad.bundle import read_bundle
from uad.engines.loading import physical_cores
from uad.errors import ConfigError, ServingError, UadError
from uad.live import BundleStore, Event, Follower, Holder, Served, Stored, is_address
from uad.live.follower import Registry
from uad.registry import ModelRegistry

logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 1.5
"""With a local copy at hand, so long may the registry keep a start waiting."""
SERIOUS = ("failed", "unreachable", "missing", "offline")


def open_products(
    settings: ServerSettings,
    registry: Callable[[], Registry] = ModelRegistry,
    store: Callable[[], BundleStore] = BundleStore,
) -> Products:
    """Load a version of everything that the settings name.

    Raises:
        ConfigError: nothing is named, or two have the same name.
        ServingError: no version can be had; the message says how to get one.
        BundleError: a bundle's folder cannot be loaded.
    """
    named = [_split(model) for model in settings.models]
    if not named:
        raise ConfigError("nothing to serve: give --model models:/NAME@champion or a folder")
    if len({name for name, _ in named}) < len(named):
        raise ConfigError("two models have the same name: write one as OTHER-NAME=ADDRESS")
    workers = settings.workers or max(1, physical_cores() // len(named))
    opened: list[Product] = []
    with ExitStack() as if_one_fails:
        for name, address in named:
            if is_address(address):
                product = _following(name, address, settings, workers, registry(), store())
            else:
                product = _fixed(name, address, settings, workers)
            if_one_fails.callback(product.close)
            opened.append(product)
        if_one_fails.pop_all()
    return Products(opened)


def _split(model: str) -> tuple[str, str]:
    """`name=ADDRESS`, or an address that has a name in it."""
    name, separator, address = model.partition("=")
    if separator and "/" not in name:
        return name, address
    if is_address(model):
        return model.removeprefix("models:/").split("@")[0].split("/")[0], model
    return Path(model).resolve().name, model


def _fixed(name: str, folder: str, settings: ServerSettings, workers: int) -> Product:
    bundle = read_bundle(Path(folder))
    engines = Engines(engine_spec(bundle.path, settings), workers)
    return Product(name, Holder(Served(engines, bundle.id, name)))


def _following(
    name: str,
    address: str,
    settings: ServerSettings,
    workers: int,
    registry: Registry,
    store: BundleStore,
) -> Product:
    def load(bundle: Path) -> Engines:
        return Engines(engine_spec(bundle, settings), workers)

    watched = WatchedRegistry(registry)
    follower = Follower(
        address,
        watched,
        store,
        load,
        interval_seconds=settings.poll_seconds,
        on_event=lambda event: _log(name, event),
    )
    product = Product(name, follower.holder, Followed(follower, watched))
    first = threading.Thread(target=follower.start, name="first-poll", daemon=True)
    first.start()
    first.join(PATIENCE_SECONDS)
    if first.is_alive() and watched.is_asking:
        _start_with_copy(name, recalled(address, store), follower.holder, load)
    if follower.holder.current is None:
        first.join()
    if follower.holder.current is None:
        product.close()
        raise ServingError(follower.status().last_error or f"{address} cannot be loaded")
    return product


def _start_with_copy(
    name: str, copy: Stored | None, holder: Holder[Engines], load: Callable[[Path], Engines]
) -> None:
    """Serve what served last, until the registry says what should."""
    if copy is None:
        return
    logger.warning("%s: the registry is slow; starting with the copy of %s", name, copy.version)
    try:
        engines = load(copy.path)
    except UadError as exc:
        logger.error("%s: the copy of %s cannot be loaded: %s", name, copy.version, exc)
    else:
        holder.swap(Served(engines, copy.version, copy.name))


def recalled(address: str, store: BundleStore) -> Stored | None:
    """The local copy of what the address stood for when it was last loaded."""
    path = address.removeprefix("models:/")
    name, _, alias = path.partition("@")
    if alias:
        return store.recall(name, alias)
    name, _, version = path.rpartition("/")
    return store.find(name, version)


def _log(name: str, event: Event) -> None:
    level = logging.WARNING if event.kind in SERIOUS else logging.INFO
    logger.log(level, "%s %s: %s %s", name, event.kind, event.version or "", event.message)
