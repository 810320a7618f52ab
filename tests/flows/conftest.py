"""A real Prefect server for all flow tests: the one of `uad deploy`, with its scheduler."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import cv2
import pytest

from flows.server import own_server
from tests.images import part

TINY = {
    "model": {"width": 8},
    "input": {"height": 48, "width": 64},
    "training": {"epochs": 12, "min_steps": 0, "batch_size": 4},
    "export": {"int8": "off"},
}
QUICK = ("model.width=8", "input.height=48", "input.width=64", "training.epochs=1")
"""Settings of a training of a second, as `--set` takes them."""
TINY_QUICK = {**TINY, "detector": {"student": False}}
"""`TINY` without a student."""


@contextmanager
def deployed(api: str, data: Path, *options: str) -> Iterator["subprocess.Popen[str]"]:
    """`uad deploy` of the product parts as its own process, on the Prefect server at `api`."""
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound

    tiny = (*QUICK, "detector.student=false")
    settings = [word for setting in tiny for word in ("--set", setting)]
    command = ["deploy", "--name", "parts", "--data", str(data), "--teacher", "random", *settings]
    process = subprocess.Popen(
        [sys.executable, "-m", "uad", *command, *options],
        env={**os.environ, "PREFECT_API_URL": api, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
        with get_client(sync_client=True) as client:  # or the server would go on scheduling
            for flow in ("retrain", "watch", "drift"):
                with suppress(ObjectNotFound):
                    client.delete_deployment(client.read_deployment_by_name(f"{flow}/parts").id)


def read_until(process: "subprocess.Popen[str]", *words: str) -> list[str]:
    """The lines that it writes, down to the first with all of these words."""
    assert process.stdout is not None
    seen = []
    for line in process.stdout:
        seen.append(line)
        if all(each in line for each in words):
            return seen
    pytest.fail(f"no {words} in:\n{''.join(seen)}")


@pytest.fixture(scope="session")
def prefect_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The UAD_HOME of the session's Prefect server."""
    return tmp_path_factory.mktemp("prefect")


@pytest.fixture(scope="session")
def prefect_api(prefect_home: Path) -> Iterator[str]:
    """Its address; started once, since a start takes seconds."""
    from prefect.settings import (
        PREFECT_API_URL,
        PREFECT_LOGGING_TO_API_ENABLED,
        temporary_settings,
    )

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UAD_HOME", str(prefect_home))
        patch.setenv("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
        with own_server() as server:
            # Lines still under way when the server stops would be complaints after the last test.
            quiet = {PREFECT_API_URL: server.api_url, PREFECT_LOGGING_TO_API_ENABLED: False}
            with temporary_settings(quiet):
                yield server.api_url


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    """What a command writes into the environment ends with its test."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="session")
def normals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bare folder of normal images."""
    folder = tmp_path_factory.mktemp("normals")
    for index in range(24):
        cv2.imwrite(str(folder / f"{index:03}.png"), part(index))
    return folder


@pytest.fixture
def chain(prefect_api: str, registry: Any) -> dict[str, Any]:
    """Parameters of a retraining of seconds, without a student."""
    return {"product": "parts", "teacher": "random", "config": TINY_QUICK}


@pytest.fixture
def full_chain(chain: dict[str, Any]) -> dict[str, Any]:
    """The same with a student."""
    return {**chain, "config": TINY}
