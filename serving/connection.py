"""One client's connection: uvicorn's, with a time limit for everything."""

import asyncio
import contextlib
import fcntl
import struct
import termios
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from serving.api.schemas import envelope
from serving.settings import Limits

LOOK_SECONDS = 0.5
LAST_REQUEST_SECONDS = 1.0
"""When the server stops, a new connection has this long to send its first request."""
BAD_HTTP = "this is not an HTTP/1.1 request"


class GuardedConnection(H11Protocol):
    """Closes on a slow head, a body that trickles on after its answer, an answer that is not read.

    The route refuses a slow body that is not answered yet, because it can still say why.
    """

    def __init__(self, *, limits: Limits, **options: Any) -> None:
        super().__init__(**options)
        self._limits = limits
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self.progress_at = time.monotonic()
        """When the client sent or read something last."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A silent connection gets as long as a slow head."""
        super().connection_made(transport)
        # Closing the connection then releases the memory of its request.
        self.app_state = {**self.app_state, "connection": self}
        if len(self.connections) > self._limits.connections:
            transport.abort()
        self._arm("head", self._limits.head_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing to wait for any more."""
        super().connection_lost(exc)
        for name in list(self._timers):
            self._disarm(name)

    def data_received(self, data: bytes) -> None:
        """Limit the seconds from the first byte of a head to its last."""
        self.progress_at = time.monotonic()
        if self.conn.their_state is h11.IDLE:
            self._arm("head", self._limits.head_seconds)
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._disarm("head")
        if self.conn.their_state is not h11.SEND_BODY:
            self._disarm("rest")

    def on_response_complete(self) -> None:
        """The rest of a body that was answered early is thrown away, for a limited time."""
        if self.conn.their_state is h11.SEND_BODY:
            self._arm("rest", self._limits.body_seconds)
        super().on_response_complete()

    def pause_writing(self) -> None:
        """The client does not read its answer, or slowly."""
        super().pause_writing()
        self.progress_at = time.monotonic()
        self._look_at_reading(self._unread_bytes())

    def resume_writing(self) -> None:
        """It has read."""
        super().resume_writing()
        self.progress_at = time.monotonic()
        self._disarm("unread")

    def abort(self) -> None:
        """Close at once, whatever is under way."""
        self.transport.abort()

    def _look_at_reading(self, before_bytes: int) -> None:
        """Close if nothing is read for too long; reading slowly but steadily is allowed."""

        def look() -> None:
            self._timers.pop("unread", None)
            unread_bytes = self._unread_bytes()
            now = time.monotonic()
            if unread_bytes < before_bytes:
                self.progress_at = now
            if now - self.progress_at >= self._limits.send_seconds:
                self.abort()
            else:
                self._look_at_reading(unread_bytes)

        wait = min(LOOK_SECONDS, self._limits.send_seconds)
        self._timers["unread"] = self.loop.call_later(wait, look)

    def _unread_bytes(self) -> int:
        """What was written and has not reached the client yet, here and in the kernel."""
        unread = self.transport.get_write_buffer_size()
        descriptor = self.transport.get_extra_info("socket")
        with contextlib.suppress(OSError, ValueError):
            waiting = fcntl.ioctl(descriptor.fileno(), termios.TIOCOUTQ, bytes(4))
            unread += struct.unpack("i", waiting)[0]
        return unread

    def shutdown(self) -> None:
        """The server stops: close, but leave time for a request that is already being sent."""
        if "head" in self._timers:
            self.loop.call_later(LAST_REQUEST_SECONDS, self._close_if_idle)
        else:
            super().shutdown()

    def _close_if_idle(self) -> None:
        if not self.transport.is_closing():
            super().shutdown()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's words
        """Answer that the bytes were not HTTP."""
        body = envelope("", 400, BAD_HTTP)
        head = f"HTTP/1.1 400 Bad Request\r\ncontent-length: {len(body)}\r\n".encode()
        self.transport.write(
            head + b"content-type: application/json\r\nconnection: close\r\n\r\n" + body
        )
        self.transport.close()

    def _arm(self, name: str, seconds: float) -> None:
        if name not in self._timers:
            self._timers[name] = self.loop.call_later(seconds, self.transport.abort)

    def _disarm(self, name: str) -> None:
        timer = self._timers.pop(name, None)
        if timer is not None:
            timer.cancel()


def guarded(limits: Limits) -> Callable[..., asyncio.Protocol]:
    """What uvicorn makes its connections with."""
    return partial(GuardedConnection, limits=limits)
