"""uvicorn's server with an orderly end: not ready, wait, drain, exit status 0."""

import logging
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn
from fastapi import FastAPI

from serving.api.state import State
from serving.connection import guarded
from serving.settings import ServerSettings

logger = logging.getLogger(__name__)


class GracefulServer(uvicorn.Server):
    """Reports that it is not ready before it stops listening, so load balancers can react."""

    def __init__(self, app: FastAPI, settings: ServerSettings, state: State) -> None:
        super().__init__(_config(app, settings))
        self._state = state
        self._notice_seconds = settings.notice_seconds
        self._stop_at: float | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then say so."""
        await super().startup(sockets)
        for listener in sockets or []:
            host, port = listener.getsockname()[:2]
            logger.info("serving on http://%s:%d", f"[{host}]" if ":" in host else host, port)

    def stop(self, notice_seconds: float = 0.0) -> None:
        """Report not ready from now on, and stop after `notice_seconds`."""
        self._state.draining = True
        self._stop_at = time.monotonic() + notice_seconds

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """SIGTERM: with notice; Ctrl-C: at once. Second signal: no notice. Third: no drain."""
        now = time.monotonic()
        if self._stop_at is None:
            self.stop(self._notice_seconds if sig == signal.SIGTERM else 0.0)
        elif now < self._stop_at:
            self.stop()
        else:
            self.force_exit = True

    async def on_tick(self, counter: int) -> bool:
        """Whether to stop now; asked ten times a second."""
        if self._stop_at is not None and time.monotonic() >= self._stop_at:
            return True
        return await super().on_tick(counter)


class AdminServer(uvicorn.Server):
    """One that leaves signals to the server beside it."""

    def __init__(self, app: FastAPI, settings: ServerSettings) -> None:
        super().__init__(_config(app, settings))

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Nothing to capture."""
        yield


def _config(app: FastAPI, settings: ServerSettings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=guarded(settings.limits),  # type: ignore[arg-type]
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=settings.limits.connections,
        timeout_keep_alive=settings.keep_alive_seconds,
        timeout_graceful_shutdown=settings.drain_seconds,
    )
