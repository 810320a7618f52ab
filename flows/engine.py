"""Prefect's engine for the runs of one command, if no Prefect server is given.

Prefect would start one by itself, in the command's process group. Then Ctrl-C, or SIGTERM to all
processes of a service, ends the engine as well, and the run tries for minutes to tell it how it
ended. This one outlives such signals and ends with the command.
"""

import atexit
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module

from flows import environment
from flows.server import (
    LOOPBACK,
    START_SECONDS,
    answers,
    free_port,
    reachable,
    stop,
    why_not_started,
)
from uad.console import console
from uad.errors import FlowError
from uad.network import spare_loopback
from uad.processes import end_with_parent, end_without_delay
from uad.storage.paths import prefect_dir

ENGINE = "UAD_PREFECT_ENGINE"
"""Environment variable: the address of the engine, which ends with the command."""
STOP_SECONDS = 5.0


@contextmanager
def running_flows(
    stopped: str,
    *,
    doing: str = "",
    meanwhile: Callable[[], object] | None = None,
    engine: bool = True,
) -> Iterator[None]:
    """For a command that runs flows itself: the engine, the flows' lines, and an end in order.

    Import Prefect and the flows inside the block: the engine starts before.

    Args:
        stopped: what Ctrl-C and SIGTERM are answered with: in what state things are.
        doing: what is said at the start, without a full stop.
        meanwhile: what takes seconds and will be needed; done while the engine starts.
        engine: False: the block starts a server of its own.

    Raises:
        FlowError: the engine does not start, or the server that is named does not answer.
    """
    environment.prepare()
    with environment.ended_in_order(stopped):
        starts = engine and _is_needed()
        if doing:
            wait = " Prefect's engine starts first; this takes 10 to 20 seconds." if starts else ""
            console().print(f"{doing}.{wait}")
        if starts:
            _start(meanwhile)
        elif url := os.environ.get("PREFECT_API_URL"):
            reachable(url)
        from flows import logs

        with logs.on_screen():
            yield


def _is_needed() -> bool:
    """Whether no server is given. Prefect that is loaded already has read its settings."""
    is_ours = os.environ.get("PREFECT_HOME") == str(prefect_dir())
    return is_ours and not os.environ.get("PREFECT_API_URL") and "prefect" not in sys.modules


def _start(meanwhile: Callable[[], object] | None) -> None:
    """Start it, and let PREFECT_API_URL name it."""
    port = free_port()
    url, log = f"http://{LOOPBACK}:{port}/api", prefect_dir() / "engine.log"
    environment = {
        **os.environ,
        # As Prefect sets them for the engine that it starts.
        "PREFECT_UI_ENABLED": "0",
        "PREFECT__SERVER_EPHEMERAL": "1",
        "PREFECT__SERVER_FINAL": "1",
    }
    spare_loopback(environment)
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "flows.engine", str(port), str(os.getpid())],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    # Registered before Prefect's own, so it runs after them: they still send log lines.
    atexit.register(stop, process, signal.SIGINT, STOP_SECONDS)
    os.environ["PREFECT_API_URL"] = os.environ[ENGINE] = url
    import_module("flows.retrain")  # this too takes seconds
    if meanwhile is not None:
        meanwhile()
    if not answers(process, f"{url}/health", START_SECONDS):
        raise FlowError(why_not_started("engine", log))


def main() -> None:
    """Run it: `python -m flows.engine PORT PID`, where PID is of the command."""
    port, parent = map(int, sys.argv[1:])
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    end_with_parent(signal.SIGINT)
    end_without_delay()
    if os.getppid() != parent:  # it ended meanwhile
        return
    import uvicorn

    uvicorn.run(
        "prefect.server.api.server:create_app",
        factory=True,
        host=LOOPBACK,
        port=port,
        lifespan="on",
        log_level="error",
        timeout_graceful_shutdown=2,
    )


if __name__ == "__main__":
    main()
