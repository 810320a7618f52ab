"""Start the server, keep it running, stop it."""

import errno
import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from serving.app import create_app
from serving.logs import set_up
from serving.opening import open_products
from serving.server import GentleServer
from serving.settings import ServerSettings
from serving.state import State
from uad.errors import ServingError


def run(settings: ServerSettings) -> None:
    """Serve until a signal.

    Raises:
        ServingError: the port cannot be had, or no model can be loaded; with the cure.
    """
    set_up(settings.log_level, settings.log_format)
    with bound(settings.host, settings.port) as listener:
        products = open_products(settings)
        try:
            address = "http://{}:{}".format(*listener.getsockname()[:2])
            logging.getLogger(__name__).info(
                "serving %s on %s", ", ".join(products.describe()), address
            )
            state = State(settings, products)
            GentleServer(create_app(settings, state), settings, state).run(sockets=[listener])
        finally:
            products.close()


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
        return f"port {port} on {host} is in use: stop what uses it, or choose another with --port"
    if exc.errno == errno.EACCES:
        return f"port {port} needs administrator's rights: choose one above 1023 with --port"
    return f"cannot listen on {host} port {port}: {exc.strerror}; check --host and --port"
