import json
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest

from tests.serving.running import Running, encoded, running

Bundles = Callable[[int], Path]
SHORT = 0.5
HEAD = b"POST /image-anomaly-detection HTTP/1.1\r\nHost: x\r\n"


@pytest.fixture(scope="module")
def impatient(random_bundle: Bundles) -> Iterator[Running]:
    """A server that waits half a second for everything."""
    limits = {"head_seconds": SHORT, "body_seconds": SHORT, "send_seconds": SHORT}
    with running(models=[str(random_bundle(1))], limits=limits) as server:
        yield server


def connect(server: Running) -> socket.socket:
    address = urlsplit(server.url)
    return socket.create_connection((address.hostname, address.port), timeout=20)


def is_closed_by_server(connection: socket.socket) -> bool:
    """Whether the server ends the connection; the socket's time-out if it never does."""
    try:
        while connection.recv(65536):
            pass
    except ConnectionResetError:
        pass
    return True


@pytest.mark.parametrize(
    "sent",
    [b"", b"POST /image-an", HEAD + b"X-A: 1\r\n"],
    ids=["silent", "half a line", "half a head"],
)
def test_a_connection_without_a_whole_head_is_closed(impatient: Running, sent: bytes) -> None:
    with connect(impatient) as connection:
        connection.sendall(sent)
        assert is_closed_by_server(connection)


def test_a_head_that_trickles_does_not_buy_time(impatient: Running) -> None:
    with connect(impatient) as connection:
        start = time.monotonic()
        with pytest.raises(OSError):
            for byte in HEAD * 100:
                connection.sendall(bytes([byte]))
                time.sleep(0.05)
        assert time.monotonic() - start < 10 * SHORT


def test_a_head_without_end_is_refused(impatient: Running) -> None:
    with connect(impatient) as connection:
        connection.sendall(HEAD + b"X-Long: " + b"a" * 200_000)
        assert connection.recv(65536).startswith(b"HTTP/1.1 400")


def test_a_slow_body_is_told_so(impatient: Running) -> None:
    with connect(impatient) as connection:
        connection.sendall(HEAD + b'Content-Length: 1000\r\n\r\n{"image": "')
        answer = b""
        while more := connection.recv(65536):
            answer += more
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"did not come within 0.5 seconds" in answer


def test_the_rest_of_a_refused_body_cannot_go_on_for_ever(impatient: Running) -> None:
    with connect(impatient) as connection:
        connection.sendall(HEAD + b"Content-Length: 10000000000\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 413")
        start = time.monotonic()
        with pytest.raises(OSError):
            while time.monotonic() - start < 20:
                connection.sendall(b"a")
                time.sleep(0.02)


def test_a_client_that_does_not_read_its_answer_is_let_go(impatient: Running) -> None:
    large = encoded(np.zeros((3000, 3000, 3), np.uint8))
    body = json.dumps({"image": large, "visualize": False}).encode()
    with connect(impatient) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(HEAD + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
        end = time.monotonic() + 20
        while impatient.server.server_state.connections:
            assert time.monotonic() < end
            time.sleep(0.05)


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET\r\n\r\n",
        b"GET / HTTP/9\r\n\r\n",
        HEAD + b"Content-Length: -1\r\n\r\n",
        HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        HEAD + b"Transfer-Encoding: gzip\r\n\r\n",
        HEAD + b"bad header\r\n\r\n",
    ],
    ids=["TLS", "no target", "no such version", "negative", "two lengths", "chunk", "te", "header"],
)
def test_what_is_no_http_is_refused_in_the_envelope(impatient: Running, sent: bytes) -> None:
    with connect(impatient) as connection:
        connection.sendall(sent)
        answer = b""
        while more := connection.recv(65536):
            answer += more
    status = int(answer.split()[1])
    assert 400 <= status < 600
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["errorCode"] == status


def test_a_chunked_body_is_read_and_limited(impatient: Running, image: str) -> None:
    def chunks() -> Iterator[bytes]:
        yield b'{"visualize": false, "image": "'
        yield image.encode()
        yield b'"}'

    answer = impatient.http.post("/image-anomaly-detection", content=chunks())
    assert answer.json()["errorCode"] == 0


def test_an_endless_chunked_body_is_cut_off(
    random_bundle: Bundles, serve: Callable[..., Running]
) -> None:
    server = serve(models=[str(random_bundle(1))], limits={"body_bytes": 100_000})
    with connect(server) as connection:
        connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        chunk = b"4000\r\n" + b" " * 0x4000 + b"\r\n"
        for _ in range(10):
            connection.sendall(chunk)
        assert connection.recv(65536).startswith(b"HTTP/1.1 413")


def test_more_connections_than_allowed_are_closed_and_the_others_go_on(
    random_bundle: Bundles, serve: Callable[..., Running], image: str
) -> None:
    server = serve(models=[str(random_bundle(1))], limits={"connections": 3})
    server.judge(image)  # one, kept alive
    with connect(server), connect(server), connect(server) as fourth:
        assert is_closed_by_server(fourth)
        assert server.judge(image)["errorCode"] == 0


def test_a_client_that_goes_away_frees_its_place(
    random_bundle: Bundles, serve: Callable[..., Running], image: str
) -> None:
    server = serve(models=[f"cookie={random_bundle(1)}"])
    large = encoded(np.zeros((2500, 2500, 3), np.uint8))
    body = json.dumps({"image": large, "visualize": False}).encode()
    for _ in range(3):
        with connect(server) as connection:
            connection.sendall(HEAD + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
    assert server.judge(image)["errorCode"] == 0
    assert 'status="499"' in server.http.get("/metrics").text
