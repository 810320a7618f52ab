"""Clients that harm others: what one of them sends at the real socket."""

import base64
import io
import json
import socket
from collections.abc import Callable
from contextlib import ExitStack, suppress
from itertools import cycle
from urllib.parse import urlsplit

import httpx
import numpy as np
import PIL.Image

from tests.serving.running import PATIENCE_SECONDS, Beside, Running

PATH = "/image-anomaly-detection"
HEAD = f"POST {PATH} HTTP/1.1\r\nHost: x\r\n".encode()
MEGABYTE = 2**20


def connect(server: Running) -> socket.socket:
    address = urlsplit(server.url)
    return socket.create_connection((address.hostname, address.port), timeout=PATIENCE_SECONDS)


def posted(body: bytes, path: str = PATH) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def blank(height: int, width: int) -> str:
    """A black picture of 1 bit a pixel: many pixels in few bytes."""
    file = io.BytesIO()
    PIL.Image.new("1", (width, height)).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def many_scans(scans: int) -> bytes:
    """A progressive JPEG whose last scan comes again and again."""
    file = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    PIL.Image.fromarray(noise).save(file, "JPEG", progressive=True)
    data = file.getvalue()
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * scans + b"\xff\xd9"


class Attackers(Beside):
    """Attack without a pause until the block ends, one kind after the other."""

    def __init__(self, server: Running) -> None:
        super().__init__()
        self.attacks = 0
        self._server = server

    def _run(self) -> None:
        large = json.dumps({"image": blank(1500, 1500), "visualize": False}).encode()
        scans = json.dumps({"image": base64.b64encode(many_scans(1000)).decode()}).encode()
        batch = json.dumps({"images": [blank(1000, 1000)] * 8, "visualize": False}).encode()
        kinds: list[Callable[[ExitStack], None]] = [
            lambda idle: self._send(idle, HEAD + b"Content-Length: 6000000\r\n\r\n{"),
            lambda unread: self._send(unread, posted(large)),
            lambda left: self._send(left, posted(large + b" " * MEGABYTE)),
            lambda both: self._send(
                both, HEAD + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            ),
            lambda _: self._ask(PATH, scans),
            lambda _: self._ask(f"{PATH}/batch", batch),
        ]
        for attack in cycle(kinds):
            with ExitStack() as until_the_next:
                attack(until_the_next)
                self.attacks += 1
                if self._over.wait(0.2):
                    return

    def _send(self, open_until: ExitStack, data: bytes) -> None:
        """Five connections that send this and read nothing."""
        for _ in range(5):
            with suppress(OSError):
                connection = open_until.enter_context(connect(self._server))
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                connection.sendall(data)

    def _ask(self, path: str, body: bytes) -> None:
        with suppress(httpx.HTTPError):
            self._server.http.post(path, content=body)
