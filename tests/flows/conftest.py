"""A real Prefect server for all flow tests: the one of `uad deploy`, with its scheduler."""

import os
from collections.abc import Iterator
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
    """Parameters of a retraining of seconds."""
    return {"product": "parts", "teacher": "random", "config": TINY}
