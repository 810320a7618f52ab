"""Start the server, keep it running, stop it."""

import asyncio
import ctypes
import errno
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from serving.api.admin import create_admin_app
from serving.api.state import State
from serving.app import create_app
from serving.models.loading import open_state
from serving.server import AdminServer, GracefulServer
from serving.settings import ServerSettings
from serving.telemetry.logs import set_up
from uad.errors import ServingError

LOOPBACK = "127.0.0.1"
PR_SET_DUMPABLE = 4


def run(settings: ServerSettings) -> None:
    """Serve until a signal.

    Raises:
        ServingError: the port cannot be had, or no model can be loaded; with the cure.
    """
    log_lines = set_up(settings.log_level, settings.log_format)
    hide_environment()
    with ExitStack() as until_the_end:
        until_the_end.callback(log_lines.close)
        # Ports first: they are quick to check, models are slow to load.
        listener = until_the_end.enter_context(bound(settings.host, settings.port))
        admin_listener = None
        if settings.admin_port is not None:
            admin_listener = until_the_end.enter_context(bound(LOOPBACK, settings.admin_port))
        state = open_state(settings)
        state.log_lines = log_lines
        until_the_end.callback(state.close)
        asyncio.run(serve(state, listener, admin_listener))


def hide_environment() -> None:
    """Hide this process's environment from other processes of this user, above all engines."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0)


async def serve(
    state: State, listener: socket.socket, admin_listener: socket.socket | None = None
) -> None:
    """Answer on the sockets until a signal."""
    server = GracefulServer(create_app(state.settings, state), state.settings, state)
    if admin_listener is None:
        await server.serve([listener])
        return
    # The administrators' port listens first: if the other port answers, both do.
    admin = AdminServer(create_admin_app(state), state.settings)
    beside = asyncio.create_task(admin.serve([admin_listener]))
    await server.serve([listener])
    admin.should_exit = True
    await beside


@contextmanager
def bound(host: str, port: int) -> Iterator[socket.socket]:
    """The listening address, taken before anything slow is done."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as exc:
            raise ServingError(_no_port(host, port, exc)) from exc
        yield listener


def _no_port(host: str, port: int, exc: OSError) -> str:
    if exc.errno == errno.EADDRINUSE:
        return (
            f"port {port} on {host} is in use: stop the program that uses it, or choose "
            "another with --port"
        )
    if exc.errno == errno.EACCES:
        return f"port {port} needs administrator's rights: choose one above 1023 with --port"
    return f"cannot listen on {host} port {port}: {exc.strerror}; check --host and --port"
