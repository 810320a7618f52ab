"""Admission: a request that would wait too long is refused and told when to come back."""

import asyncio
import math
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Protocol

from serving.settings import Limits
from uad.errors import RequestRefused

SMOOTHING = 0.1
STANDSTILL_SECONDS = 1.0
"""A client that sends or reads nothing for this long is disconnected if memory is needed."""
SMALL_BYTES = 8 * 2**20
"""The last quarter of the memory is reserved for requests up to this size."""


class Pace:
    """How long the engines of one version take for a request, as measured lately."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.service_seconds: float | None = None

    def note(self, seconds: float) -> None:
        """Record how long one request took in an engine."""
        before = self.service_seconds
        self.service_seconds = (
            seconds if before is None else before + SMOOTHING * (seconds - before)
        )

    def refuse_if_too_long(self, queued: int, engines: int) -> None:
        """Refuse one more request if too many (`queued`) wait for the engines.

        If no request waits, one is always accepted, however slow the last ones were.

        Raises:
            RequestRefused: 429, with the time after which there should be room.
        """
        each = self.service_seconds or 0.0
        excess = each * queued / max(engines, 1) - self._limits.deadline_seconds
        if excess > 0 or queued >= self._limits.queue:
            raise busy(max(excess, each))


class ClientConnection(Protocol):
    """The connection of a client that sends a body or reads an answer."""

    progress_at: float
    """When something was sent or read last, by the monotonic clock."""

    def abort(self) -> None:
        """Close it at once."""


class Budget:
    """Memory for bodies, fetched images and answers, of all requests together.

    Only received bytes count. Used on the event loop only.
    """

    def __init__(self, most_bytes: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.most_bytes = most_bytes
        self.held_bytes = 0
        self.clock = clock
        self.charges: set[Charge] = set()

    def charge(self, client: "ClientConnection | None" = None) -> "Charge":
        """A new charge for one request, at first empty. `client`: its connection."""
        return Charge(self, client)

    def make_room(self, size_bytes: int) -> bool:
        """Disconnect clients without progress, largest first, until this much more fits."""
        for charge in sorted(self.charges, key=lambda each: each.held_bytes, reverse=True):
            if self.held_bytes + size_bytes <= self.most_bytes:
                break
            if charge.stands_still():
                charge.cut_off()
        return self.held_bytes + size_bytes <= self.most_bytes


class Charge:
    """What one request holds of the budget."""

    def __init__(self, budget: Budget, client: ClientConnection | None) -> None:
        self._budget, self._client = budget, client
        self.held_bytes = 0
        self._moved_at: float | None = None

    def add(self, size_bytes: int) -> None:
        """Count this many more bytes.

        Raises:
            RequestRefused: 429, others hold too many.
        """
        budget = self._budget
        others = budget.held_bytes - self.held_bytes
        if others and not self._fits(size_bytes) and not budget.make_room(size_bytes):
            raise busy(1.0)
        budget.charges.add(self)
        budget.held_bytes += size_bytes
        self.held_bytes += size_bytes

    def moves(self) -> None:
        """The client must send or read: from now on it is disconnected if it makes no progress."""
        self._moved_at = self._budget.clock()

    def waits_for_us(self) -> None:
        """The server is working: the client does not have to send or read."""
        self._moved_at = None

    def stands_still(self) -> bool:
        """Whether the client should send or read, but has not for some time."""
        if self._moved_at is None or self._client is None:
            return False
        moved_at = max(self._moved_at, self._client.progress_at)
        return self._budget.clock() - moved_at > STANDSTILL_SECONDS

    def cut_off(self) -> None:
        """Close the connection and release what it held."""
        self.release()
        if self._client is not None:
            self._client.abort()

    def release(self) -> None:
        """Release everything; a second call does nothing."""
        self._budget.held_bytes -= self.held_bytes
        self.held_bytes = 0
        self._moved_at = None
        self._budget.charges.discard(self)

    def hand_over(self, work: Future[Any], loop: asyncio.AbstractEventLoop) -> None:
        """Keep it until `work` of another thread has ended, even if it is released here."""
        rest = self._budget.charge()
        rest.held_bytes, self.held_bytes = self.held_bytes, 0
        self._budget.charges.add(rest)
        work.add_done_callback(lambda _: loop.call_soon_threadsafe(rest.release))

    def _fits(self, size_bytes: int) -> bool:
        """The last quarter is kept for small requests."""
        most = self._budget.most_bytes
        is_small = self.held_bytes + size_bytes <= SMALL_BYTES
        return self._budget.held_bytes + size_bytes <= (most if is_small else most * 3 // 4)


def busy(seconds: float) -> RequestRefused:
    """The answer to a client that would wait too long."""
    wait = max(1, math.ceil(seconds))
    return RequestRefused(
        429, f"the server is busy; try again in {wait} s", retry_after_seconds=wait
    )
