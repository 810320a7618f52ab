"""Fetch the image behind a URL: from a checked address, within bytes, time and redirects."""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import cached_property, partial
from urllib.parse import urljoin

import httpcore

from serving.url_input.policy import (
    Address,
    CheckedUrl,
    UrlInput,
    checked_url,
    may_connect,
    not_allowed,
)
from serving.workers.admission import Charge
from uad.errors import RequestRefused

Resolve = Callable[[str, int], Awaitable[list[Address]]]
Connect = Callable[[Address, int], Awaitable[httpcore.AsyncNetworkStream]]

REDIRECTS = (301, 302, 303, 307, 308)
# One sentence for all failures, so nobody learns which host answers.
not_fetched = partial(RequestRefused, 422, "the image could not be fetched from its URL")


async def system_resolve(host: str, port: int) -> list[Address]:
    """Every address of a name."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [ipaddress.ip_address(str(each[4][0]).partition("%")[0]) for each in found]


async def system_connect(address: Address, port: int) -> httpcore.AsyncNetworkStream:
    """A connection to the address itself; TLS, which comes later, checks the host's name."""
    return await httpcore.AnyIOBackend().connect_tcp(str(address), port)


class CheckingBackend(httpcore.AsyncNetworkBackend):
    """Resolves a host once, and connects when every one of its addresses is allowed."""

    def __init__(self, rules: UrlInput, resolve: Resolve, connect: Connect) -> None:
        self._rules, self._resolve, self._connect = rules, resolve, connect

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002 - `seconds` is for all
        local_address: str | None = None,  # noqa: ARG002
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,  # noqa: ARG002
    ) -> httpcore.AsyncNetworkStream:
        """See `httpcore.AsyncNetworkBackend`.

        Raises:
            RequestRefused: 403, an address of the host may not be connected to.
        """
        try:
            found = [ipaddress.ip_address(host)]
        except ValueError:
            found = await self._resolve(host, port)
        if not found or not all(may_connect(each, self._rules) for each in found):
            raise not_allowed()
        return await self._connect(found[0], port)


class Fetcher:
    """Fetches images for requests that name URLs."""

    def __init__(
        self,
        rules: UrlInput,
        *,
        resolve: Resolve = system_resolve,
        connect: Connect = system_connect,
    ) -> None:
        self._rules = rules
        self._backend = CheckingBackend(rules, resolve, connect)

    async def fetch_all(self, urls: Sequence[str], charge: Charge) -> list[bytes]:
        """The content of each URL, one after another; `charge` counts the received bytes.

        Raises:
            RequestRefused: 403 not allowed, 413 too long, 422 it cannot be had, 429 no memory.
        """
        return [await self.fetch(url, charge) for url in urls]

    async def fetch(self, url: str, charge: Charge | None = None) -> bytes:
        """The bytes behind `url`.

        Raises:
            RequestRefused: as above.
        """
        try:
            async with asyncio.timeout(self._rules.seconds):
                return await self._follow(url, charge)
        except (OSError, httpcore.NetworkError, httpcore.ProtocolError) as exc:
            raise not_fetched() from exc
        except (httpcore.TimeoutException, httpcore.UnsupportedProtocol, ValueError) as exc:
            raise not_fetched() from exc  # ValueError: a redirect to what cannot be a URL

    async def _follow(self, url: str, charge: Charge | None) -> bytes:
        for _ in range(self._rules.redirects + 1):
            status, location, body = await self._get(checked_url(url, self._rules), charge)
            if status == 200:
                return body
            if status not in REDIRECTS or not location:
                raise not_fetched()
            before, url = url, urljoin(url, location)
            if before.lower().startswith("https:") and not url.lower().startswith("https:"):
                raise not_allowed()
        raise not_fetched()

    async def _get(self, url: CheckedUrl, charge: Charge | None) -> tuple[int, str, bytes]:
        """Status, Location and, with status 200, content."""
        headers: dict[bytes | str, bytes | str] = {
            "Host": url.authority,
            "User-Agent": "uad",
            "Accept": "image/*",
            "Accept-Encoding": "identity",
            "Connection": "close",
        }
        target = httpcore.URL(
            scheme=url.scheme.encode(),
            host=url.host.encode(),
            port=url.port,
            target=url.path.encode("ascii"),
        )
        async with (
            httpcore.AsyncConnectionPool(
                ssl_context=self._tls if url.scheme == "https" else None,
                max_keepalive_connections=0,
                network_backend=self._backend,
            ) as pool,
            pool.stream("GET", target, headers=headers) as response,
        ):
            if response.status != 200:
                found = {name.lower(): value for name, value in response.headers}
                location = found.get(b"location", b"")
                return response.status, location.decode("ascii"), b""
            return 200, "", await self._read(response, charge)

    async def _read(self, response: httpcore.Response, charge: Charge | None) -> bytes:
        body = bytearray()
        async for chunk in response.aiter_stream():
            if len(body) + len(chunk) > self._rules.bytes:
                raise RequestRefused(413, f"the image has more than {self._rules.bytes} bytes")
            if charge is not None:
                charge.add(len(chunk))
            body += chunk
        return bytes(body)

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return ssl.create_default_context()
