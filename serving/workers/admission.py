"""How much is let in: what would have to wait too long is told to come back later."""

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
"""A client that sends or reads nothing for so long is cut when its memory is needed."""
SMALL_BYTES = 8 * 2**20
"""The last quarter of the memory is for requests that hold no more than this."""


class Pace:
    """How long the engines of one version take for a request, as measured lately."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.service_seconds: float | None = None

    def note(self, seconds: float) -> None:
        """One request took so long in an engine."""
        before = self.service_seconds
        self.service_seconds = (
            seconds if before is None else before + SMOOTHING * (seconds - before)
        )

    def refuse_if_too_long(self, queued: int, engines: int) -> None:
        """Refuse one more request when `queued` others wait for so many engines.

        With nobody waiting there is always room, however slow the last ones were.

        Raises:
            RequestRefused: 429, with the time after which there should be room.
        """
        each = self.service_seconds or 0.0
        excess = each * queued / max(engines, 1) - self._limits.deadline_seconds
        if excess > 0 or queued >= self._limits.queue:
            raise busy(max(excess, each))


class ClientConnection(Protocol):
    """The connection of who sends a body or reads an answer."""

    progress_at: float
    """When something was sent or read last, by the monotonic clock."""

    def abort(self) -> None:
        """Close it at once."""


class Budget:
    """Memory for bodies, fetched images and answers, of all requests together.

    What is held is what has really come. Used on the event loop only.
    """

    def __init__(self, most_bytes: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.most_bytes = most_bytes
        self.held_bytes = 0
        self.clock = clock
        self.charges: set[Charge] = set()

    def charge(self, client: "ClientConnection | None" = None) -> "Charge":
        """What one request holds, nothing yet. `client`: its connection."""
        return Charge(self, client)

    def make_room(self, size_bytes: int) -> bool:
        """Cut those that have stood still, largest first, until so much more fits in."""
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
        """Hold so many bytes more.

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
        """The client sends or reads: from now on it can stand still, and be cut for it."""
        self._moved_at = self._budget.clock()

    def waits_for_us(self) -> None:
        """It is the server's turn: the client cannot stand still."""
        self._moved_at = None

    def stands_still(self) -> bool:
        """Whether the client has moved nothing for some time although it is its turn."""
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
        """Hold nothing any more; again is no harm."""
        self._budget.held_bytes -= self.held_bytes
        self.held_bytes = 0
        self._moved_at = None
        self._budget.charges.discard(self)

    def hand_over(self, work: Future[Any], loop: asyncio.AbstractEventLoop) -> None:
        """Hold it until `work`, which another thread does, has ended, whoever releases it here."""
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
    """What a client is told that would have to wait too long."""
    wait = max(1, math.ceil(seconds))
    return RequestRefused(
        429, f"the server is busy; try again in {wait} s", retry_after_seconds=wait
    )
