"""The served products: one per model address, each with its current version."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from serving.models.registry_health import Followed
from serving.models.shadow import Shadow
from serving.workers.pool import WorkerPool
from uad.errors import RequestRefused
from uad.hot_reload import ModelSlot, Served
from uad.storage.names import ProductName

CLOSE_SECONDS = 10.0
UNREGISTERED = ProductName("")


@dataclass(frozen=True)
class Product:
    """A name under which one version at a time serves."""

    name: str
    slot: ModelSlot[WorkerPool]
    followed: Followed | None = None
    """None: a fixed bundle."""
    registered_name: ProductName = UNREGISTERED
    """What the registry calls it; empty for a fixed bundle."""
    shadow: Shadow | None = None
    """The challenger that runs beside it."""

    def use(self) -> AbstractContextManager[Served[WorkerPool]]:
        """The version that serves now, kept open until the block ends."""
        if self.slot.current is None:
            raise RequestRefused(503, f"no version of '{self.name}' is loaded")
        return self.slot.use()

    def reason_not_ready(self) -> str | None:
        """Why no request for this product can be answered now; None if it can."""
        served = self.slot.current
        if served is None:
            return f"no version of '{self.name}' is loaded"
        if not served.detector.pids:
            return f"no engine process of '{self.name}' is running"
        return None

    def not_following(self) -> str | None:
        """A warning if promotions are not seen at the moment; the loaded version still answers."""
        if self.followed is None or self.followed.is_following():
            return None
        return f"promotions of '{self.name}' are not seen: the last poll is old or has not ended"

    def describe(self) -> dict[str, Any]:
        """The facts for a health page: no texts of libraries, no paths, no addresses."""
        served = self.slot.current
        known: dict[str, Any] = {
            "serving": served.version if served else None,
            "engine": served.detector.key if served else None,
            "engines": len(served.detector.pids) if served else 0,
        }
        if self.followed is None:
            return known
        status = self.followed.watcher.status()
        return {
            **known,
            "desired": status.desired,
            "failed": [failure.version for failure in status.failed],
            "registry": "down" if self.followed.registry.is_down else "up",
            "pinned": self.followed.registry.pinned,
            "following": self.followed.is_following(),
            "lastPollSeconds": _rounded(self.followed.watcher.seconds_since_poll()),
            "offlineCopy": self.followed.registry.answered_at is None,
        }

    def close(self) -> None:
        """Stop following and end the engines, when they have answered what they accepted."""
        if self.shadow is not None:
            self.shadow.close()
        if self.followed is not None:
            self.followed.watcher.stop()
        served = self.slot.current
        self.slot.close()
        if served is not None:
            served.detector.join(CLOSE_SECONDS)


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)


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
            RequestRefused: 404, there is no such product.
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

    def not_following(self) -> list[str]:
        """Empty when every product that follows a registry sees promotions."""
        remarks = [product.not_following() for product in self]
        return [remark for remark in remarks if remark]

    def describe(self) -> dict[str, Any]:
        """By product, what a health page shows."""
        return {product.name: product.describe() for product in self}

    def close(self) -> None:
        """Close them all."""
        for product in self:
            product.close()
