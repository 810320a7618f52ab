"""Rules for every request and answer on each port: headers, and errors in the envelope."""

from ipaddress import ip_address
from typing import Any

from fastapi import FastAPI
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.api.request_handler import new_log_id, respond
from serving.api.state import State
from serving.workers.messages import refusal
from uad.errors import RequestRefused

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class Gate:
    """Refuses ambiguous requests, and adds the headers that every answer carries.

    The headers tell a browser only to show an answer. While the server is stopping, they tell a
    client to close its connection, so it sends its next request to another server.
    """

    def __init__(self, app: ASGIApp, state: State) -> None:
        self.app = app
        self.state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on and its answer back."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        is_ambiguous = "content-length" in headers and "transfer-encoding" in headers

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                answered = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    answered.setdefault(name, value)
                if self.state.draining or is_ambiguous:
                    answered["Connection"] = "close"
            await send(message)

        if is_ambiguous:
            # RFC 9112, 6.1: two servers in a row could read two different requests.
            words = "give Content-Length or Transfer-Encoding, not both"
            refused = respond(refusal(new_log_id(), RequestRefused(400, words)))
            await refused(scope, receive, send_with_headers)
            return
        await self.app(scope, receive, send_with_headers)


class KnownHost:
    """Refuses requests that came by a name which is not this server's.

    A page of another site can make its own name stand for 127.0.0.1 (DNS rebinding). The browser
    then lets it read what a server without keys answers there. It cannot do so with an address or
    with `localhost`.
    """

    def __init__(self, app: ASGIApp, guarded: tuple[str, ...], hosts: tuple[str, ...]) -> None:
        """Guard paths that begin with one of `guarded`; `hosts` are known besides localhost."""
        self.app = app
        self.guarded = guarded
        self.hosts = {"localhost", *(host.lower().rstrip(".") for host in hosts)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on that came by a known name."""
        if scope["type"] == "http" and self._is_guarded(scope["path"]):
            name = _host_name(Headers(scope=scope).get("host", ""))
            if name not in self.hosts and not _is_address(name):
                refused = respond(refusal(new_log_id(), UNKNOWN_HOST))
                await refused(scope, receive, send)
                return
        await self.app(scope, receive, send)

    def _is_guarded(self, path: str) -> bool:
        return path == "/" or path.startswith(self.guarded)


UNKNOWN_HOST = RequestRefused(
    421,
    "this server does not know the host name in your address: open it as http://127.0.0.1:PORT or "
    'http://localhost:PORT, start it with --set "hosts=[NAME]", or turn API keys on '
    "(--set access.keys=FILE)",
)


def is_loopback(host: str) -> bool:
    """Whether what listens on `host` can be reached from this machine alone."""
    return host == "localhost" or (_is_address(host) and ip_address(host).is_loopback)


def _host_name(header: str) -> str:
    """The Host header without its port."""
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.partition(":")[0].lower().rstrip(".")


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


FAILED = RequestRefused(500, "the server failed on this request; its log says why")


def add_error_handlers(app: FastAPI, hint: str) -> None:
    """Answer errors in the envelope; `hint` is what to send instead to a path that is not there."""
    words = {404: f"no such path; {hint}", 405: f"this path takes another method; {hint}"}

    async def refused(_: Request, exc: Any) -> Response:
        return respond(refusal(new_log_id(), exc))

    async def http_error(_: Request, exc: Any) -> Response:
        said = words.get(exc.status_code, "the request cannot be answered")
        response = respond(refusal(new_log_id(), RequestRefused(exc.status_code, said)))
        response.headers.update(exc.headers or {})
        return response

    async def failed(_: Request, __: Exception) -> Response:
        return respond(refusal(new_log_id(), FAILED))

    app.add_exception_handler(RequestRefused, refused)
    app.add_exception_handler(HTTPException, http_error)
    app.add_exception_handler(Exception, failed)
