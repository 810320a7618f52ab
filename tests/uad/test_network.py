import http.server
import threading
from collections.abc import Iterator

import httpx
import pytest

from uad.client import Client
from uad.errors import ServingError
from uad.network import http_get, spare_loopback

NOBODY = "http://127.0.0.1:9"
"""A proxy that does not answer."""


class _Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"here")

    do_POST = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def port() -> Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.fixture
def proxied(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, NOBODY)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_this_machine_is_asked_without_the_proxy(host: str, port: int, proxied: None) -> None:
    assert http_get(f"http://{host}:{port}/", timeout=10).text == "here"


def test_other_machines_are_asked_through_the_proxy(proxied: None) -> None:
    with pytest.raises(httpx.ConnectError):  # the proxy's, not an unknown host's
        http_get("http://192.0.2.1/", timeout=10)


def test_the_client_reaches_a_server_on_this_machine(port: int, proxied: None) -> None:
    told = pytest.raises(ServingError, match="Is it a uad server")
    with Client(f"http://127.0.0.1:{port}") as client, told:
        client.predict(b"x")


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ({}, "localhost,127.0.0.1,::1"),
        ({"NO_PROXY": "intranet, localhost"}, "intranet,localhost,127.0.0.1,::1"),
        ({"no_proxy": "*"}, "*"),
    ],
)
def test_what_we_start_and_other_libraries_spare_this_machine_too(
    given: dict[str, str], made: str
) -> None:
    environment = dict(given)
    spare_loopback(environment)
    assert environment["no_proxy"] == environment["NO_PROXY"] == made
