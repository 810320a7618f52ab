"""A tiny stand-in for the official file, and a server on this machine that misbehaves on order."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread

import pytest

from uad.models.teacher import RetrySettings, Source

CONTENT = bytes(range(256)) * 400
PATIENT = RetrySettings(connect_seconds=60, silence_seconds=60, attempts=2, pause_seconds=0.01)
"""As long as a busy machine needs; nothing here waits for it."""
IMPATIENT = RetrySettings(connect_seconds=60, silence_seconds=2, attempts=2, pause_seconds=0.01)
"""For servers that fall silent."""


@dataclass
class Shop:
    """What the server does with each request, in order, then `whole`; and what it was asked."""

    content: bytes = CONTENT
    behaviour: list[str] = field(default_factory=list)
    ranges: list[str | None] = field(default_factory=list)
    url: str = ""
    closing: Event = field(default_factory=Event)
    """A request that was met with silence ends when this is set."""

    def source(self, **changes: str) -> Source:
        values = {"url": self.url, "name": "net.bin", "md5": hashlib.md5(CONTENT).hexdigest()}
        return Source(**(values | changes))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("UAD_CACHE", str(tmp_path / "cache"))
    for name in ("UAD_TEACHER_URL", "UAD_TEACHER_SHA256", "HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "cache" / "teacher"


@pytest.fixture
def shop() -> Iterator[Shop]:
    state = Shop()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            _answer(self, state)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}/net.bin"
    yield state
    state.closing.set()
    server.shutdown()
    server.server_close()


def _answer(handler: BaseHTTPRequestHandler, shop: Shop) -> None:
    asked = handler.headers.get("Range")
    shop.ranges.append(asked)
    mood = shop.behaviour.pop(0) if shop.behaviour else "whole"
    if mood.isdigit():
        handler.send_error(int(mood))
        return
    start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and mood != "no ranges" else 0
    if start >= len(shop.content):
        handler.send_response(416)
        handler.send_header("Content-Range", f"bytes */{len(shop.content)}")
        handler.send_header("Content-Length", "0")
        handler.end_headers()
        return
    rest = shop.content[start:]
    handler.send_response(206 if start else 200)
    if start:
        whole = len(shop.content)
        handler.send_header("Content-Range", f"bytes {start}-{whole - 1}/{whole}")
    handler.send_header("Content-Length", str(len(rest)))
    handler.end_headers()
    _send(handler, shop, mood, rest)


def _send(handler: BaseHTTPRequestHandler, shop: Shop, mood: str, rest: bytes) -> None:
    if mood == "cut":
        rest = rest[: len(rest) // 2]
    elif mood == "corrupt":
        rest = rest[:100] + b"\xff" + rest[101:-1] + b"\x00"
    elif mood == "stall":
        handler.wfile.write(rest[:1000])
        handler.wfile.flush()
        shop.closing.wait()
        return
    elif mood == "silent":
        shop.closing.wait()
        return
    handler.wfile.write(rest)
