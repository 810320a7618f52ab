"""Requests byte for byte as PaddleX's documented clients send them; the server answers them all."""

import base64
import gzip
import http.client
import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest

from tests.serving.clients.conftest import IMAGE_SIZE
from tests.serving.running import Running
from uad.client import Client

ROUTE = "/image-anomaly-detection"
Headers = list[tuple[str, str]]


def compact(text: str) -> bytes:
    return json.dumps({"image": text}, separators=(",", ":")).encode()


def spaced(text: str) -> bytes:
    return json.dumps({"image": text}).encode()


def escaped(text: str) -> bytes:
    """PHP's json_encode escapes the slashes of base64."""
    return compact(text).replace(b"/", b"\\/")


def indented(text: str) -> bytes:
    """Newtonsoft's JObject.ToString breaks lines."""
    return json.dumps({"image": text}, indent=2).replace("\n", "\r\n").encode()


CLIENTS = {
    "python requests": ([("Content-Type", "application/json")], spaced),
    "c++ cpp-httplib, the header twice": (
        [("Content-Type", "application/json"), ("Content-Type", "application/json")],
        compact,
    ),
    "java okhttp": (
        [("Content-Type", "application/json; charset=utf-8"), ("Accept-Encoding", "gzip")],
        compact,
    ),
    "go net/http, no Content-Type": (
        [("User-Agent", "Go-http-client/1.1"), ("Accept-Encoding", "gzip")],
        compact,
    ),
    "c# HttpClient": ([("Content-Type", "application/json; charset=utf-8")], indented),
    "node axios, a string body": (
        [
            ("Content-Type", "application/x-www-form-urlencoded"),
            ("Accept", "application/json, text/plain, */*"),
            ("Accept-Encoding", "gzip, compress, deflate, br"),
        ],
        compact,
    ),
    "php curl, no header set": (
        [("Accept", "*/*"), ("Content-Type", "application/x-www-form-urlencoded")],
        escaped,
    ),
    "php curl, the newer page": ([("Content-Type", "application/json")], escaped),
}


def post(url: str, path: str, headers: Headers, body: bytes) -> tuple[int, Any]:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    connection.putrequest("POST", path, skip_accept_encoding=True)
    for name, value in [*headers, ("Content-Length", str(len(body)))]:
        connection.putheader(name, value)
    connection.endheaders(body)
    response = connection.getresponse()
    data = response.read()
    connection.close()
    if response.headers.get("Content-Encoding") == "gzip":
        data = gzip.decompress(data)
    return response.status, json.loads(data)


def check(answer: Any) -> None:
    """What PaddleX's documentation promises of an answer, and the image's own size."""
    result = answer["result"]
    height, width = result["size"]
    picture = cv2.imdecode(np.frombuffer(base64.b64decode(result["image"]), np.uint8), -1)
    assert (answer["errorCode"], answer["errorMsg"]) == (0, "Success")
    assert len(answer["logId"]) == 36
    assert (height, width) == IMAGE_SIZE
    assert len(result["labelMap"]) == height * width
    assert set(result["labelMap"]) <= {0, 255}
    assert (max(result["labelMap"]) == 255) == result["isAnomalous"]
    assert base64.b64decode(result["image"])[:2] == b"\xff\xd8"
    assert picture is not None


@pytest.mark.parametrize("client", CLIENTS)
def test_a_request_of_the_tutorials_client_is_answered(
    client: str, server: Running, image_file: Path
) -> None:
    headers, body = CLIENTS[client]
    text = base64.b64encode(image_file.read_bytes()).decode()
    status, answer = post(server.url, ROUTE, headers, body(text))
    assert status == 200
    check(answer)


def test_the_route_of_the_newer_page_is_the_same(server: Running, image_file: Path) -> None:
    body = compact(base64.b64encode(image_file.read_bytes()).decode())
    status, answer = post(server.url, "/anomaly-detection", [], body)
    assert status == 200
    check(answer)


def test_the_picture_is_left_out_when_asked_or_when_the_server_is_set_so(
    serve: Callable[..., Running],
    server: Running,
    random_bundle: Callable[[int], Path],
    image_file: Path,
) -> None:
    """PaddleX: `visualize` null or absent follows `Serving.visualize` of its configuration."""
    image = base64.b64encode(image_file.read_bytes()).decode()
    quiet = serve(models=[str(random_bundle(1))], visualize=False)

    def shown(url: str, **options: object) -> bool:
        body = json.dumps({"image": image, **options}).encode()
        return "image" in post(url, ROUTE, [], body)[1]["result"]

    asked: tuple[dict[str, object], ...] = ({}, {"visualize": None}, {"visualize": True})
    assert [shown(server.url, **options) for options in asked] == [True, True, True]
    assert [shown(quiet.url, **options) for options in asked] == [False, False, True]
    assert not shown(server.url, visualize=False)


def test_a_body_is_asked_for_when_the_client_waits_for_100_continue(
    server: Running, image_file: Path
) -> None:
    """curl and PHP wait a second for it with bodies of more than a kilobyte (older ones) or MB."""
    body = compact(base64.b64encode(image_file.read_bytes()).decode())
    assert len(body) > 1024
    with expecting(server.url, len(body)) as connection:
        assert connection.recv(1024) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        response = http.client.HTTPResponse(connection)
        response.begin()
        check(json.loads(response.read()))


def test_a_body_that_is_too_long_is_refused_before_it_is_sent(server: Running) -> None:
    with expecting(server.url, 500 * 2**20) as connection:
        response = http.client.HTTPResponse(connection)
        response.begin()
        answer = json.loads(response.read())
    assert (response.status, answer["errorCode"]) == (413, 413)
    assert "result" not in answer


def expecting(url: str, length: int) -> socket.socket:
    """A connection that has sent a request's head as curl does, and waits."""
    address = urlsplit(url)
    assert address.hostname is not None
    connection = socket.create_connection((address.hostname, address.port or 80), timeout=60)
    head = (
        f"POST {ROUTE} HTTP/1.1\r\nHost: {address.netloc}\r\nAccept: */*\r\n"
        f"Content-Length: {length}\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        "Expect: 100-continue\r\n\r\n"
    )
    connection.sendall(head.encode())
    return connection


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"image=iVBORw0KGgo", 400),
        (b'{"image": "' + base64.b64encode(b"GIF89a, no image of ours") + b'"}', 415),
        (b'{"picture": "iVBORw0KGgo="}', 422),
    ],
)
def test_what_the_client_did_wrong_is_4xx_in_the_same_envelope(
    body: bytes, status: int, server: Running
) -> None:
    headers = [("Content-Type", "application/x-www-form-urlencoded")]
    got, answer = post(server.url, ROUTE, headers, body)
    assert (got, answer["errorCode"]) == (status, status)
    assert answer["errorMsg"]
    assert "result" not in answer


def test_our_own_client_finds_the_same_as_the_tutorials(server: Running, image_file: Path) -> None:
    body = compact(base64.b64encode(image_file.read_bytes()).decode())
    _, answer = post(server.url, ROUTE, [], body)
    with Client(server.url) as client:
        found = client.predict(image_file)
        from_array = client.predict(cv2.imread(str(image_file)))
    assert found.label_map.reshape(-1).tolist() == answer["result"]["labelMap"]
    assert found.score == from_array.score == answer["result"]["score"]
    assert found.picture is not None
    assert found.picture[:2] == b"\xff\xd8"
