"""Sign in to the page once with an API key; the browser then sends a cookie.

A browser's address bar and its pictures send no API key. The cookie is a random text that stands
for the key in this process's memory. A key that is taken out of the file ends its sessions too.
"""

import hashlib
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from uad.errors import RequestRefused

COOKIE = "uad_page"
LONGEST_SECONDS = 12 * 3600
MOST_SESSIONS = 1000
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class Sessions:
    """Keys by their session's cookie."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._open: OrderedDict[bytes, tuple[str, float]] = OrderedDict()

    def begin(self, key: str) -> str:
        """A new session's cookie value."""
        token = secrets.token_urlsafe(32)
        self._open[_hashed(token)] = (key, self._clock() + LONGEST_SECONDS)
        while len(self._open) > MOST_SESSIONS:
            self._open.popitem(last=False)
        return token

    def key(self, token: str) -> str | None:
        """The key that a session began with; None if there is no such session (any more)."""
        key, until = self._open.get(_hashed(token), ("", 0.0))
        return key if self._clock() < until else None

    def end(self, token: str) -> None:
        """Sign out."""
        self._open.pop(_hashed(token), None)


class SignInByCookie:
    """Lets a session's cookie stand for its API key, unless the request brings a key itself."""

    def __init__(self, app: ASGIApp, sessions: Sessions) -> None:
        self.app = app
        self.sessions = sessions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, with the key if its session is open."""
        if scope["type"] == "http" and (key := self._key(Request(scope))) is not None:
            signed = (b"authorization", f"Bearer {key}".encode())
            scope = {**scope, "headers": [*scope["headers"], signed]}
        await self.app(scope, receive, send)

    def _key(self, request: Request) -> str | None:
        brings_key = "authorization" in request.headers or "x-api-key" in request.headers
        token = request.cookies.get(COOKIE)
        if brings_key or token is None or comes_from_another_site(request):
            return None
        return self.sessions.key(token)


def set_cookie(request: Request, response: Response, token: str) -> None:
    """Give the session to the browser: not readable by scripts, not sent from other sites."""
    is_https = request.headers.get("x-forwarded-proto", request.url.scheme) == "https"
    response.set_cookie(
        COOKIE, token, max_age=LONGEST_SECONDS, httponly=True, samesite="strict", secure=is_https
    )


def comes_from_another_site(request: Request) -> bool:
    """Whether a browser says that a page of another site sent a request that changes something."""
    if request.method in SAFE_METHODS:
        return False
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site not in ("same-origin", "none")
    origin = request.headers.get("origin")
    return origin is not None and urlsplit(origin).netloc != request.headers.get("host")


def refuse_other_sites(request: Request) -> None:
    """Refuse requests that a page of another site sends in the name of its visitor.

    Raises:
        RequestRefused: 403.
    """
    if comes_from_another_site(request):
        raise RequestRefused(403, "this request came from a page of another site")


def _hashed(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
