"""Prefect's settings: read when Prefect is first imported, so they are set before."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from uad.console import console
from uad.network import spare_loopback
from uad.storage.paths import home, prefect_dir

DEFAULTS = {
    # It started in 13 s on two idle cores, in minutes on busy ones. Prefect stops waiting after 20
    # s.
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "300",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    # The flows' own log lines reach Prefect's pages; outside a run they go to the screen only.
    "PREFECT_LOGGING_EXTRA_LOGGERS": "flows",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
}


@contextmanager
def ended_in_order(told: str) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end the block as an exception, and say what state things are in."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:  # as of a command in a script's background
            signal.signal(number, _leave)
    try:
        yield
    except BaseException as exc:
        if (ended_by := _signal_behind(exc)) is None:
            raise
        console().print(told)
        raise SystemExit(128 + ended_by) from exc
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Leave(SystemExit):
    """A signal asked the command to end."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.signal = number


def _leave(number: int, frame: object) -> None:  # noqa: ARG001 - as signal handlers are called
    raise _Leave(number)


def _signal_behind(exc: BaseException | None) -> int | None:
    """The signal that ended the block. What failed while it was ending failed because of it."""
    prefect = sys.modules.get("prefect.exceptions")  # not loaded while the engine starts
    kinds = (_Leave, prefect.TerminationSignal) if prefect else (_Leave,)
    while exc is not None:
        if isinstance(exc, kinds):
            return int(exc.signal)
        exc = exc.__context__
    return None


def prepare() -> None:
    """Point Prefect at its state under UAD_HOME, unless the user pointed it elsewhere.

    With PREFECT_API_URL runs go to that server. Without, and while a `uad deploy` of the same
    UAD_HOME runs, they go to its server, so that all are on one page; else to an engine that
    Prefect starts for the time of the run.
    """
    os.environ["UAD_HOME"] = str(home())
    spare_loopback()
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    if os.environ.get("PREFECT_API_URL") or os.environ.get("PREFECT_HOME"):
        return
    os.environ["PREFECT_HOME"] = str(prefect_dir())
    os.environ.setdefault("PREFECT_SERVER_ALLOW_EPHEMERAL_MODE", "true")

    from flows.server import running

    if (server := running()) is not None:
        os.environ["PREFECT_API_URL"] = server.api_url
