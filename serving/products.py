"""What is served: one product a model address, each with the version that serves now."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving.engines import Engines
from serving.settings import ServerSettings
from serving.spec import engine_spec
from serving.watched import WatchedRegistry
from uad.bundle import read_bundle
from uad.engines.loading import physical_cores
from uad.errors import ConfigError, RequestRefused, ServingError
from uad.live import BundleStore, Event, Follower, Holder, Served, is_address
from uad.live.follower import Registry
from uad.registry import ModelRegistry

logger = logging.getLogger(__name__)

CLOSE_SECONDS = 10.0
SERIOUS = ("failed", "unreachable", "missing", "offline")


@dataclass(frozen=True)
class Followed:
    """Where a product's versions come from."""

    follower: Follower[Engines]
    registry: WatchedRegistry


@dataclass(frozen=True)
class Product:
    """A name under which one version at a time serves."""

    name: str
    holder: Holder[Engines]
    followed: Followed | None = None
    """None: a fixed bundle."""

    def use(self) -> AbstractContextManager[Served[Engines]]:
        """The version that serves now, kept open until the block ends."""
        if self.holder.current is None:
            raise RequestRefused(503, f"no version of '{self.name}' is loaded")
        return self.holder.use()

    def reason_not_ready(self) -> str | None:
        """Why no request for this product can be answered now; None if it can."""
        served = self.holder.current
        if served is None:
            return f"no version of '{self.name}' is loaded"
        if not served.detector.pids:
            return f"no engine of '{self.name}' is up"
        return None

    def describe(self) -> dict[str, Any]:
        """What a health page shows: no text of a library, no path, no address."""
        served = self.holder.current
        known: dict[str, Any] = {
            "serving": served.version if served else None,
            "engines": len(served.detector.pids) if served else 0,
        }
        if self.followed is None:
            return known
        status = self.followed.follower.status()
        return {
            **known,
            "desired": status.desired,
            "failed": [failure.version for failure in status.failed],
            "registry": "down" if self.followed.registry.is_down else "up",
            "offlineCopy": self.followed.registry.answered_at is None,
        }

    def close(self) -> None:
        """Stop following and end the engines, when they have answered what they accepted."""
        if self.followed is not None:
            self.followed.follower.stop()
        served = self.holder.current
        self.holder.close()
        if served is not None:
            served.detector.join(CLOSE_SECONDS)


class Products:
    """All products of one server; the first also answers where none is named."""

    def __init__(self, products: Sequence[Product]) -> None:
        self._by_name = {product.name: product for product in products}
        self.default = products[0]

    def __iter__(self) -> Iterator[Product]:
        return iter(self._by_name.values())

    def get(self, name: str | None) -> Product:
        """The product called `name`, or the default one.

        Raises:
            RequestRefused: 404, there is none.
        """
        if name is None:
            return self.default
        if name not in self._by_name:
            raise RequestRefused(404, "there is no such model on this server")
        return self._by_name[name]

    def reasons_not_ready(self) -> list[str]:
        """Empty when every product can answer."""
        reasons = [product.reason_not_ready() for product in self]
        return [reason for reason in reasons if reason]

    def describe(self) -> dict[str, Any]:
        """By product, what a health page shows."""
        return {product.name: product.describe() for product in self}

    def close(self) -> None:
        """Close them all."""
        for product in self:
            product.close()


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
    watched = WatchedRegistry(registry)
    follower = Follower(
        address,
        watched,
        store,
        lambda bundle: Engines(engine_spec(bundle, settings), workers),
        interval_seconds=settings.poll_seconds,
        on_event=lambda event: _log(name, event),
    )
    follower.start()
    product = Product(name, follower.holder, Followed(follower, watched))
    if follower.holder.current is None:
        product.close()
        raise ServingError(follower.status().last_error or f"{address} cannot be loaded")
    return product


def _split(model: str) -> tuple[str, str]:
    """`name=ADDRESS`, or an address that has a name in it."""
    name, separator, address = model.partition("=")
    if separator and "/" not in name:
        return name, address
    if is_address(model):
        return model.removeprefix("models:/").split("@")[0].split("/")[0], model
    return Path(model).resolve().name, model


def _log(name: str, event: Event) -> None:
    level = logging.WARNING if event.kind in SERIOUS else logging.INFO
    logger.log(level, "%s %s: %s %s", name, event.kind, event.version or "", event.message)
