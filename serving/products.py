"""What is served: one product a model address, each with the version that serves now."""

import logging
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving.engines import Engines
from serving.settings import ServerSettings
from serving.spec import engine_spec
from uad.bundle import read_bundle
from uad.engines.loading import physical_cores
from uad.errors import ConfigError, RequestRefused, ServingError
from uad.live import BundleStore, Event, Follower, Holder, Served, is_address
from uad.registry import ModelRegistry

logger = logging.getLogger(__name__)

CLOSE_SECONDS = 10.0
SERIOUS = ("failed", "unreachable", "missing", "offline")


@dataclass(frozen=True)
class Product:
    """A name under which one version at a time serves."""

    name: str
    holder: Holder[Engines]
    follower: Follower[Engines] | None = None
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
        """What a health page shows."""
        served = self.holder.current
        known: dict[str, Any] = {
            "serving": served.version if served else None,
            "engines": len(served.detector.pids) if served else 0,
        }
        if self.follower is None:
            return known
        status = self.follower.status()
        return {
            **known,
            "desired": status.desired,
            "failed": [failure.version for failure in status.failed],
            "registry": "down" if status.last_error and not status.failed else "up",
        }

    def close(self) -> None:
        """Stop following and end the engines, when they have answered what they accepted."""
        if self.follower is not None:
            self.follower.stop()
        served = self.holder.current
        self.holder.close()
        if served is not None:
            served.detector.join(CLOSE_SECONDS)


class Products:
    """All products of one server; the first also answers where none is named."""

    def __init__(self, products: list[Product]) -> None:
        self._by_name = {product.name: product for product in products}
        if len(self._by_name) < len(products):
            raise ConfigError("two models have the same name: write one as other-name=ADDRESS")
        self.default = products[0]

    def get(self, name: str) -> Product:
        """The product called `name`.

        Raises:
            RequestRefused: 404, there is none.
        """
        if name not in self._by_name:
            raise RequestRefused(404, "no such model on this server")
        return self._by_name[name]

    def reasons_not_ready(self) -> list[str]:
        """Empty when every product can answer."""
        reasons = [product.reason_not_ready() for product in self._by_name.values()]
        return [reason for reason in reasons if reason]

    def describe(self) -> dict[str, Any]:
        """By product, what a health page shows."""
        return {name: product.describe() for name, product in self._by_name.items()}

    def close(self) -> None:
        """Close them all."""
        for product in self._by_name.values():
            product.close()


def open_products(settings: ServerSettings) -> Products:
    """Load a version of everything that the settings name.

    Raises:
        ConfigError: nothing is named, or two have the same name.
        ServingError: no version can be had; the message says how to get one.
        BundleError: a bundle's folder cannot be loaded.
    """
    if not settings.models:
        raise ConfigError(
            "no model to serve: give --model models:/NAME@champion or a bundle folder"
        )
    workers = settings.workers or max(1, physical_cores() // len(settings.models))
    with ExitStack() as opened:
        products = []
        for model in settings.models:
            products.append(_open(model, settings, workers))
            opened.callback(products[-1].close)
        result = Products(products)
        opened.pop_all()
    return result


def _open(model: str, settings: ServerSettings, workers: int) -> Product:
    name, address = _split(model)

    def load(bundle: Path) -> Engines:
        return Engines(engine_spec(str(bundle), settings), workers)

    if not is_address(address):
        bundle = read_bundle(Path(address))
        return Product(name, Holder(Served(load(bundle.path), bundle.id, name)))
    follower = Follower(
        address,
        ModelRegistry(),
        BundleStore(),
        load,
        interval_seconds=settings.poll_seconds,
        on_event=lambda event: _log(name, event),
    )
    follower.start()
    if follower.holder.current is None:
        follower.stop()
        raise ServingError(follower.status().last_error or f"{address} cannot be loaded")
    return Product(name, follower.holder, follower)


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
