"""How much is let in: what would have to wait too long is told to come back later."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

from serving.settings import Limits
from uad.errors import RequestRefused

SMOOTHING = 0.1


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


class Budget:
    """Bytes that may be held at the same time."""

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self.held_bytes = 0

    @contextmanager
    def hold(self, size_bytes: int) -> Iterator[None]:
        """Hold so many bytes until the block ends.

        Raises:
            RequestRefused: 429, others hold too many.
        """
        if self.held_bytes and self.held_bytes + size_bytes > self.most_bytes:
            raise busy(1.0)
        self.held_bytes += size_bytes
        try:
            yield
        finally:
            self.held_bytes -= size_bytes


def busy(seconds: float) -> RequestRefused:
    """What a client is told that would have to wait too long."""
    wait = max(1, math.ceil(seconds))
    return RequestRefused(
        429, f"the server is busy; try again in {wait} s", retry_after_seconds=wait
    )
