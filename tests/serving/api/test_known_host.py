"""A page of another site that gives 127.0.0.1 a name of its own, at the real socket."""

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from serving.api.access import new_key
from tests.serving.running import PATIENCE_SECONDS, Running, running

Bundles = Callable[[int], Path]
SHOWN = ("/", "/page/server", "/page/models/{name}/images")
REBOUND = ("rebound.example", "rebound.example:8080", "127.0.0.1.example", "localhost.example", "")
OWN = ("localhost", "LOCALHOST:8080", "127.0.0.1", "127.0.0.1:1", "127.1.2.3", "[::1]:8080")


def status(server: Running, host: str, path: str, body: object = None) -> int:
    """Of a request with this Host header, written by hand."""
    address = urlsplit(server.url)
    data = b"" if body is None else json.dumps(body).encode()
    method = "GET" if body is None else "POST"
    name = server.state.products.default.name
    head = (
        f"{method} {path.format(name=name)} HTTP/1.1\r\nHost: {host}\r\n"
        f"Content-Length: {len(data)}\r\nConnection: close\r\n\r\n"
    )
    place = (address.hostname, address.port)
    with socket.create_connection(place, timeout=PATIENCE_SECONDS) as connection:
        connection.sendall(head.encode() + data)
        return int(connection.recv(100).split()[1])


@pytest.fixture(scope="module")
def server(random_bundle: Bundles) -> Iterator[Running]:
    with running(models=[str(random_bundle(1))], hosts=["Line4.factory"]) as started:
        yield started


@pytest.mark.parametrize("host", REBOUND)
def test_it_sees_no_page_and_can_say_nothing(server: Running, host: str) -> None:
    assert [status(server, host, path) for path in SHOWN] == [421] * len(SHOWN)
    word = {"logId": "x", "verdict": "good"}
    assert status(server, host, "/feedback", word) == 421


@pytest.mark.parametrize("host", [*OWN, "line4.factory", "line4.factory:80"])
def test_by_its_address_and_the_names_that_were_set_the_page_opens(
    server: Running, host: str
) -> None:
    assert [status(server, host, path) for path in SHOWN] == [200] * len(SHOWN)
    assert status(server, host, "/feedback", {"logId": "x", "verdict": "good"}) == 404


def test_programs_and_balancers_may_call_it_what_they_like(server: Running, image: str) -> None:
    for path in ("/livez", "/readyz", "/health", "/metrics", "/openapi.json"):
        assert status(server, "a-balancer", path) == 200
    assert status(server, "a-proxy", "/image-anomaly-detection", {"image": image}) == 200


def test_with_images_by_url_judging_is_for_known_names_only(
    random_bundle: Bundles, image: str
) -> None:
    with running(models=[str(random_bundle(1))], urls={"enabled": True}) as server:
        for path in ("/image-anomaly-detection", "/models/{name}/image-anomaly-detection/batch"):
            assert status(server, "rebound.example", path, {"image": image}) == 421
        assert status(server, "127.0.0.1", "/image-anomaly-detection", {"image": image}) == 200


def test_keys_and_other_addresses_need_no_names(random_bundle: Bundles, tmp_path: Path) -> None:
    (tmp_path / "keys.txt").write_text(new_key("anna")[1])
    keys = {"keys": str(tmp_path / "keys.txt")}
    with running(models=[str(random_bundle(1))], access=keys) as server:
        assert status(server, "line4", "/") == 401
    with running(models=[str(random_bundle(1))], host="0.0.0.0") as server:
        assert status(server, "line4", "/") == 200
