"""A real server for tests: uvicorn in a thread on a loopback port, engines in processes."""

import base64
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Self

import cv2
import httpx
import numpy as np

from serving.api.state import State
from serving.app import create_app
from serving.models.loading import open_state
from serving.run import bound
from serving.server import GracefulServer
from serving.settings import ServerSettings

PATIENCE_SECONDS = 120.0
"""Tests wait so long for what should take less than one, on machines that do a lot besides."""


class Running:
    """A server on a loopback port, in a thread, with engine processes of its own."""

    def __init__(self, state: State, server: GracefulServer, url: str) -> None:
        self.state = state
        self.server = server
        self.url = url
        self.http = httpx.Client(base_url=url, timeout=PATIENCE_SECONDS)

    def judge(self, image: str, path: str = "/image-anomaly-detection", **options: Any) -> Any:
        """The answer's JSON, without picture unless asked for."""
        body = {"image": image, "visualize": False, "labelMap": "rle", **options}
        return self.http.post(path, json=body).json()

    def pids(self) -> list[int]:
        served = self.state.products.default.slot.current
        return served.detector.pids if served else []


class Beside:
    """Does `_run` in threads of its own until the block ends; `_run` watches `_over`."""

    def __init__(self, threads: int = 1) -> None:
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(threads)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        raise NotImplementedError


@contextmanager
def running(**values: Any) -> Iterator[Running]:
    """A server with these settings, until the block ends."""
    defaults = {"port": 0, "workers": 1, "poll_seconds": 0.05, "notice_seconds": 0}
    limits = {"deadline_seconds": PATIENCE_SECONDS, **values.pop("limits", {})}
    settings = ServerSettings.model_validate({**defaults, **values, "limits": limits})
    with ExitStack() as ends:
        listener = ends.enter_context(bound(settings.host, settings.port))
        state = open_state(settings)
        ends.callback(state.close)
        server = GracefulServer(create_app(settings, state), settings, state)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        ends.callback(thread.join, 30)
        ends.callback(server.stop)
        run = Running(state, server, f"http://127.0.0.1:{listener.getsockname()[1]}")
        ends.callback(run.http.close)
        yield run


def encoded(image: np.ndarray, suffix: str = ".png") -> str:
    """(H, W, 3) uint8 BGR as a base64 file."""
    return base64.b64encode(cv2.imencode(suffix, image)[1].tobytes()).decode()


def until(condition: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> None:
    """Wait for something that another process or thread does."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)
