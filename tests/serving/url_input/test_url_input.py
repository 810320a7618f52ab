import asyncio
import base64
import http.server
import ipaddress
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpcore
import httpx
import numpy as np
import pytest

from serving.url_input.fetcher import Connect, Fetcher, system_connect
from serving.url_input.policy import Address, UrlInput, may_connect
from serving.workers.admission import Budget
from tests.serving.running import Running, encoded, until
from uad.errors import RequestRefused

PUBLIC = "93.184.215.14"

# What must be refused with no connection made, although a name resolves to a public address.
EVASIONS = {
    "loopback": "http://127.0.0.1/",
    "loopback by name": "http://localhost/",
    "a private network": "http://10.0.0.8/a.png",
    "metadata": "http://169.254.169.254/latest/meta-data/",
    "metadata, IPv6": "http://[fd00:ec2::254]/latest/",
    "decimal": "http://2130706433/",
    "octal": "http://0177.0.0.1/",
    "octal, long": "http://00000177.00000000.0.01/",
    "hexadecimal": "http://0x7f000001/",
    "hexadecimal parts": "http://0x7f.0.0.0x1/",
    "short forms": "http://127.1/",
    "zero": "http://0/",
    "this network": "http://0.0.0.0/",
    "IPv6 loopback": "http://[::1]/",
    "IPv6 unspecified": "http://[::]/",
    "IPv4-mapped": "http://[::ffff:127.0.0.1]/",
    "IPv4-mapped, hexadecimal": "http://[::ffff:7f00:1]/",
    "IPv4-translated": "http://[::ffff:0:127.0.0.1]/",
    "site-local": "http://[fec0::1]/",
    "discard": "http://[100::1]/",
    "IPv4-compatible": "http://[::127.0.0.1]/",
    "NAT64": "http://[64:ff9b::7f00:1]/",
    "NAT64, local": "http://[64:ff9b:1::a00:1]/",
    "6to4": "http://[2002:7f00:1::]/",
    "Teredo": "http://[2001:0:4136:e378:8000:63bf:3fff:fdd2]/",
    "link-local": "http://[fe80::1]/",
    "link-local with a zone": "http://[fe80::1%25eth0]/",
    "unique local": "http://[fc00::1]/",
    "multicast": "http://224.0.0.1/",
    "broadcast": "http://255.255.255.255/",
    "carrier-grade NAT": "http://100.64.0.1/",
    "a user name": "http://example.com@127.0.0.1/",
    "a user name for looks": f"http://{PUBLIC}:80@10.0.0.1/",
    "an encoded @": "http://example.com%40127.0.0.1/",
    "a backslash": "http://example.com\\@127.0.0.1/",
    "a backslash for slashes": "http:\\\\127.0.0.1/",
    "one slash": "http:/127.0.0.1/",
    "three slashes": "http:///127.0.0.1/",
    "an encoded host": "http://%31%32%37.0.0.1/",
    "full-width digits": "http://\uff11\uff12\uff17.0.0.1/",
    "an ideographic full stop": "http://127\u30020\u30020\u30021/",
    "circled letters": "http://\u24db\u24de\u24d2\u24d0\u24db\u24d7\u24de\u24e2\u24e3/",
    "a trailing dot": "http://127.0.0.1./",
    "a line break": "http://example.com/\r\nHost: internal",
    "a space": "http://example.com/a b",
    "a tab in the host": "http://exa\tmple.com/",
    "a null byte": "http://example.com\0.internal/",
    "another port": "http://example.com:6379/",
    "port zero": "http://example.com:0/",
    "a port with a sign": "http://example.com:+80/",
    "file": "file:///etc/passwd",
    "gopher": "gopher://example.com:80/_x",
    "ftp": "ftp://example.com/a.png",
    "jar": "jar:http://example.com!/a",
    "javascript": "javascript://example.com/%0a",
    "endless": "http://example.com/" + "a" * 3000,
}


class Network:
    """A resolver and a connector that note what was asked of them."""

    def __init__(self, *answers: list[str], connect: Connect | None = None) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []
        self.connected: list[str] = []
        self._connect = connect

    async def resolve(self, host: str, _: int) -> list[Address]:
        self.asked.append(host)
        found = self.answers.pop(0) if self.answers else [PUBLIC]
        return [ipaddress.ip_address(each) for each in found]

    async def connect(self, address: Address, port: int) -> httpcore.AsyncNetworkStream:
        self.connected.append(f"{address}:{port}")
        if self._connect is None:
            raise ConnectionRefusedError
        return await self._connect(address, port)

    def fetch(self, url: str, **rules: Any) -> bytes:
        fetcher = Fetcher(UrlInput(**rules), resolve=self.resolve, connect=self.connect)
        return asyncio.run(fetcher.fetch(url))


def refused(network: Network, url: str, **rules: Any) -> int:
    with pytest.raises(RequestRefused) as raised:
        network.fetch(url, **rules)
    return raised.value.status


@pytest.mark.parametrize("url", EVASIONS.values(), ids=EVASIONS)
def test_an_evasion_is_refused_with_no_connection_made(url: str) -> None:
    network = Network(["127.0.0.1"] if "localhost" in url else [PUBLIC])
    assert refused(network, url) == 403
    assert network.connected == []


@pytest.mark.parametrize(
    "found",
    [["10.1.2.3"], [PUBLIC, "127.0.0.1"], ["::ffff:10.0.0.1"], ["fe80::1"], []],
    ids=["private", "one of two", "mapped", "link-local", "none"],
)
def test_a_name_that_means_a_forbidden_address_is_refused(found: list[str]) -> None:
    network = Network(found)
    assert refused(network, "http://innocent.example/a.png") == 403
    assert network.connected == []


def test_the_connection_goes_to_the_judged_address_even_if_the_name_changes_its_mind() -> None:
    network = Network([PUBLIC], ["127.0.0.1"])
    assert refused(network, "http://rebinding.example/a.png") == 422
    assert network.asked == ["rebinding.example"]
    assert network.connected == [f"{PUBLIC}:80"]


@pytest.mark.parametrize(
    ("address", "networks", "allowed"),
    [
        (PUBLIC, (), True),
        ("2606:2800:21f:cb07::1", (), True),
        ("10.0.5.7", (), False),
        ("10.0.5.7", ("10.0.5.0/24",), True),
        ("::ffff:10.0.5.7", ("10.0.5.0/24",), True),
        ("10.0.6.7", ("10.0.5.0/24",), False),
        (PUBLIC, ("10.0.5.0/24",), False),
        ("169.254.169.254", ("0.0.0.0/0",), False),
        ("64:ff9b::a00:507", ("::/0",), False),
    ],
)
def test_allow_lists_open_networks_but_never_metadata(
    address: str, networks: tuple[str, ...], allowed: bool
) -> None:
    assert may_connect(ipaddress.ip_address(address), UrlInput(networks=networks)) is allowed


@pytest.mark.parametrize(
    ("url", "status"),
    [
        ("http://camera1.line4.example/a.png", 422),  # allowed; nothing answers in this test
        ("http://CAMERA1.line4.example/a.png", 422),
        ("http://line4.example/a.png", 403),
        ("http://camera1.line4.example.evil.example/", 403),
        ("http://evilline4.example/", 403),
    ],
)
def test_an_allow_list_of_hosts_is_exact(url: str, status: int) -> None:
    assert refused(Network(), url, hosts=("*.line4.example",)) == status


class Pages(http.server.BaseHTTPRequestHandler):
    """A web server with good and bad pages."""

    image = b""

    def do_GET(self) -> None:
        {
            "/a.png": lambda: self.send(200, self.image),
            "/moved": lambda: self.send(302, b"", "/a.png"),
            "/loop": lambda: self.send(302, b"", "/loop"),
            "/metadata": lambda: self.send(302, b"", "http://169.254.169.254/latest/"),
            "/malformed": lambda: self.send(302, b"", "http://[::1"),
            "/no-number": lambda: self.send(302, b"", "http://camera.example:port/"),
            "/file": lambda: self.send(302, b"", "file:///etc/passwd"),
            "/private": lambda: self.send(307, b"", "//10.0.0.1/"),
            "/long": lambda: self.send(200, bytes(200_000)),
            "/slow": lambda: threading.Event().wait(3),
        }.get(self.path, lambda: self.send(404, b"secret words"))()

    def send(self, status: int, body: bytes, location: str | None = None) -> None:
        self.send_response(status)
        if location:
            self.send_header("Location", location)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def pages() -> Iterator[int]:
    """The port of such a server on this machine."""
    Pages.image = base64.b64decode(encoded(np.full((30, 20, 3), 9, np.uint8)))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def rules(pages: int) -> dict[str, Any]:
    """Rules that allow this machine and that port, for once."""
    return {"networks": ("127.0.0.0/8",), "ports": (pages,), "bytes": 100_000, "seconds": 1.0}


@pytest.mark.parametrize(
    ("path", "status", "connections"),
    [
        ("/metadata", 403, 1),
        ("/file", 403, 1),
        ("/malformed", 422, 1),
        ("/no-number", 403, 1),
        ("/private", 403, 1),
        ("/loop", 422, 4),
        ("/long", 413, 1),
        ("/slow", 422, 1),
        ("/nothing", 422, 1),
    ],
)
def test_what_a_web_server_answers_is_not_trusted(
    pages: int, rules: dict[str, Any], path: str, status: int, connections: int
) -> None:
    network = Network(*[["127.0.0.1"]] * 9, connect=system_connect)
    assert refused(network, f"http://camera.example:{pages}{path}", **rules) == status
    assert len(network.connected) == connections


def test_a_good_redirect_is_followed_and_judged_again(pages: int, rules: dict[str, Any]) -> None:
    network = Network(*[["127.0.0.1"]] * 2, connect=system_connect)
    assert network.fetch(f"http://camera.example:{pages}/moved", **rules) == Pages.image
    assert len(network.asked) == 2


def test_a_server_with_url_input_on_judges_the_image_behind_a_url(
    serve: Callable[..., Running],
    random_bundle: Callable[[int], Path],
    pages: int,
    rules: dict[str, Any],
) -> None:
    server = serve(models=[str(random_bundle(1))], urls={"enabled": True, **rules})
    address = f"http://127.0.0.1:{pages}"
    assert server.judge(f"{address}/a.png")["result"]["size"] == [30, 20]
    assert server.judge(f"{address}/metadata")["errorCode"] == 403
    answer = server.judge(f"{address}/nothing")
    assert (answer["errorCode"], "secret" in str(answer)) == (422, False)
    batch = {"images": [f"{address}/a.png", f"{address}/moved"], "visualize": False}
    items = server.http.post("/image-anomaly-detection/batch", json=batch).json()["result"]
    assert [item["result"]["size"] for item in items] == [[30, 20], [30, 20]]


def test_what_is_fetched_counts_as_memory_of_the_request(pages: int, rules: dict[str, Any]) -> None:
    budget = Budget(100_000)
    budget.charge().add(50_000)
    network = Network(["127.0.0.1"], connect=system_connect)
    fetcher = Fetcher(
        UrlInput(**{**rules, "bytes": 10**6}), resolve=network.resolve, connect=network.connect
    )
    with pytest.raises(RequestRefused) as refused:
        asyncio.run(fetcher.fetch(f"http://camera.example:{pages}/long", budget.charge()))
    assert refused.value.status == 429


def test_a_client_that_leaves_ends_the_fetching(
    serve: Callable[..., Running],
    random_bundle: Callable[[int], Path],
    pages: int,
    rules: dict[str, Any],
) -> None:
    server = serve(
        models=[str(random_bundle(1))], urls={"enabled": True, **rules, "seconds": 300.0}
    )
    with pytest.raises(httpx.ReadTimeout):
        server.http.post(
            "/image-anomaly-detection",
            json={"image": f"http://127.0.0.1:{pages}/slow"},
            timeout=httpx.Timeout(60.0, read=1.0),
        )
    until(lambda: 'status="499"' in server.http.get("/metrics").text, seconds=60)
