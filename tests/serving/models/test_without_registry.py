import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.serving.running import Running, until
from uad.errors import ServingError
from uad.registry import ModelRegistry

Bundles = Callable[[int], Path]
Serve = Callable[..., Running]
CHAMPION = "models:/cookie@champion"
READY_SECONDS = 30.0
"""On a machine that does a lot besides; MLflow alone would wait for minutes."""


@pytest.fixture
def served_before(serve: Serve, registry: ModelRegistry, random_bundle: Bundles) -> None:
    """A machine on which version 1 has served."""
    registry.register(random_bundle(1), "cookie")
    registry.promote("cookie", "1")
    serve(models=[CHAMPION])


@pytest.fixture
def silent_address() -> Iterator[str]:
    """A server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        yield f"http://127.0.0.1:{silent.getsockname()[1]}"


@pytest.fixture
def dead_address() -> str:
    """An address where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    return f"http://127.0.0.1:{port}"


@pytest.mark.parametrize("where", ["dead_address", "silent_address"])
def test_it_starts_with_what_served_last_and_says_so(
    served_before: None,
    serve: Serve,
    image: str,
    where: str,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", request.getfixturevalue(where))
    start = time.monotonic()
    server = serve(models=[CHAMPION])
    assert time.monotonic() - start < READY_SECONDS
    assert server.judge(image)["result"]["modelVersion"] == "1"
    until(lambda: about(server)["registry"] == "down")
    assert about(server)["offlineCopy"]
    assert server.http.get("/readyz").status_code == 200
    counted = server.http.get("/metrics").text
    assert 'uad_registry_up{product="cookie"} 0.0' in counted
    assert 'uad_version{product="cookie",role="serving",version="1"} 1.0' in counted


def test_without_a_copy_it_names_the_registry_that_does_not_answer(
    serve: Serve, dead_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", dead_address)
    with pytest.raises(ServingError, match="cannot reach the registry"):
        serve(models=[CHAMPION])


def about(server: Running) -> dict[str, object]:
    return server.http.get("/readyz").json()["result"]["models"]["cookie"]
