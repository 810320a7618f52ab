"""Servers that run beside us: wait until they answer, and end them."""

import socket
import subprocess
import time
from contextlib import suppress

import httpx

from uad.network import http_get

LOOPBACK = "127.0.0.1"
STOP_SECONDS = 15.0


def answers(process: "subprocess.Popen[bytes]", url: str, seconds: float) -> bool:
    """Wait until `url` answers with success; False if the process ends or time is up before."""
    deadline = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(httpx.HTTPError):
            if http_get(url, timeout=2.0).is_success:
                return True
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.1)
    return False


def stop(process: "subprocess.Popen[bytes]") -> None:
    """Ask the process to end, and end it if it does not."""
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def free_port(wanted: int = 0) -> int:
    """`wanted` on the loopback interface if nobody listens there, else a free port."""
    with socket.socket() as probe:
        try:
            probe.bind((LOOPBACK, wanted))
        except OSError:
            probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])
