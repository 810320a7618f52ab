"""One client's connection: uvicorn's, with an end to everything that may take for ever."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from serving.api.schemas import envelope
from serving.settings import Limits

LAST_REQUEST_SECONDS = 1.0
"""When the server stops, a new connection has so long to send its first request."""
BAD_HTTP = "this is not an HTTP/1.1 request"


class GuardedConnection(H11Protocol):
    """Closes on a slow head, a body that trickles on after its answer, an answer that is not read.

    A slow body before its answer is the route's to refuse: it can still say why.
    """

    def __init__(self, *, limits: Limits, **options: Any) -> None:
        super().__init__(**options)
        self._limits = limits
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A silent connection gets as long as a slow head."""
        super().connection_made(transport)
        # What a request holds can then be had back by closing its connection.
        self.app_state = {**self.app_state, "abort": transport.abort}
        if len(self.connections) > self._limits.connections:
            transport.abort()
        self._arm("head", self._limits.head_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing to wait for any more."""
        super().connection_lost(exc)
        for name in list(self._timers):
            self._disarm(name)

    def data_received(self, data: bytes) -> None:
        """From its first byte to its last, a head has so many seconds."""
        if self.conn.their_state is h11.IDLE:
            self._arm("head", self._limits.head_seconds)
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._disarm("head")
        if self.conn.their_state is not h11.SEND_BODY:
            self._disarm("rest")

    def on_response_complete(self) -> None:
        """The rest of a body that was answered early is thrown away, but not for ever."""
        if self.conn.their_state is h11.SEND_BODY:
            self._arm("rest", self._limits.body_seconds)
        super().on_response_complete()

    def pause_writing(self) -> None:
        """The client does not read its answer, or slowly."""
        super().pause_writing()
        self._watch_reading(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """It has read."""
        super().resume_writing()
        self._disarm("unread")

    def _watch_reading(self, unread_bytes: int) -> None:
        """Close when nothing is read for too long; who reads slowly but steadily goes on."""

        def look() -> None:
            self._timers.pop("unread", None)
            now_bytes = self.transport.get_write_buffer_size()
            if now_bytes >= unread_bytes:
                self.transport.abort()
            else:
                self._watch_reading(now_bytes)

        self._timers["unread"] = self.loop.call_later(self._limits.send_seconds, look)

    def shutdown(self) -> None:
        """The server stops: close, but give a request that is on its way time to come in."""
        if "head" in self._timers:
            self.loop.call_later(LAST_REQUEST_SECONDS, self._close_if_idle)
        else:
            super().shutdown()

    def _close_if_idle(self) -> None:
        if not self.transport.is_closing():
            super().shutdown()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's words
        """Say in our own words that the bytes were no HTTP."""
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
