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
from collections.abc import Callable
from importlib import import_module

from flows.server import LOOPBACK, START_SECONDS, answers, free_port, stop
from uad.errors import FlowError
from uad.network import spare_loopback
from uad.processes import end_with_parent, end_without_delay
from uad.storage.paths import prefect_dir

ENGINE = "UAD_PREFECT_ENGINE"
"""Environment variable: the address of the engine, which ends with the command."""
STOP_SECONDS = 5.0


def start_engine(meanwhile: Callable[[], object] | None = None) -> None:
    """Start it, and let PREFECT_API_URL name it.

    Nothing to do if there is a server, or if Prefect is loaded already: it has read its settings.

    Args:
        meanwhile: what takes seconds and will be needed; done while the engine starts.

    Raises:
        FlowError: it does not start.
    """
    is_ours = os.environ.get("PREFECT_HOME") == str(prefect_dir())
    if os.environ.get("PREFECT_API_URL") or not is_ours or "prefect" in sys.modules:
        return
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
        raise FlowError(f"Prefect's engine did not start. Its log is {log}")


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
