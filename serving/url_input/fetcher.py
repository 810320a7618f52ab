"""Fetch the image behind a URL: to a judged address, within bytes, time and redirects."""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Awaitable, Callable
from functools import cached_property, partial
from urllib.parse import urljoin

import h11

from serving.url_input.policy import (
    Address,
    CheckedUrl,
    UrlInput,
    checked_url,
    may_connect,
    not_allowed,
)
from uad.errors import RequestRefused

Resolve = Callable[[str, int], Awaitable[list[Address]]]
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Connect = Callable[[Address, CheckedUrl, ssl.SSLContext | None], Awaitable[Streams]]

REDIRECTS = (301, 302, 303, 307, 308)
CHUNK_BYTES = 65536
# One sentence for all failures: what answers where is nobody's business.
not_fetched = partial(RequestRefused, 422, "the image could not be fetched from its URL")


async def system_resolve(host: str, port: int) -> list[Address]:
    """Every address of a name."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [ipaddress.ip_address(str(each[4][0]).partition("%")[0]) for each in found]


async def system_connect(address: Address, url: CheckedUrl, tls: ssl.SSLContext | None) -> Streams:
    """A connection to the address itself; TLS checks the name of the url."""
    name = url.host if tls else None
    return await asyncio.open_connection(str(address), url.port, ssl=tls, server_hostname=name)


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
        self._resolve = resolve
        self._connect = connect

    async def fetch(self, url: str) -> bytes:
        """The bytes behind `url`.

        Raises:
            RequestRefused: 403 not allowed, 413 too long, 422 it cannot be had.
        """
        try:
            async with asyncio.timeout(self._rules.seconds):
                return await self._follow(url)
        except (OSError, h11.ProtocolError, UnicodeError, asyncio.IncompleteReadError) as exc:
            raise not_fetched() from exc

    async def _follow(self, url: str) -> bytes:
        for _ in range(self._rules.redirects + 1):
            target = checked_url(url, self._rules)
            address = await self._checked_address(target)
            status, location, body = await self._get(target, address)
            if status == 200:
                return body
            if status not in REDIRECTS or not location:
                raise not_fetched()
            before, url = url, urljoin(url, location)
            if before.lower().startswith("https:") and not url.lower().startswith("https:"):
                raise not_allowed()
        raise not_fetched()

    async def _checked_address(self, url: CheckedUrl) -> Address:
        """One address of the url, when every one of them may be connected to."""
        found = [url.address] if url.address else await self._resolve(url.host, url.port)
        if not found or not all(may_connect(each, self._rules) for each in found):
            raise not_allowed()
        return found[0]

    async def _get(self, url: CheckedUrl, address: Address) -> tuple[int, str, bytes]:
        tls = self._tls if url.scheme == "https" else None
        reader, writer = await self._connect(address, url, tls)
        try:
            return await self._exchange(reader, writer, url)
        finally:
            writer.close()

    async def _exchange(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, url: CheckedUrl
    ) -> tuple[int, str, bytes]:
        connection = h11.Connection(h11.CLIENT)
        headers = [
            ("Host", url.authority),
            ("User-Agent", "uad"),
            ("Accept", "image/*"),
            ("Accept-Encoding", "identity"),
            ("Connection", "close"),
        ]
        request = h11.Request(method="GET", target=url.path, headers=headers)
        writer.write(connection.send(request) + connection.send(h11.EndOfMessage()))
        status, location, body = 0, "", bytearray()
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(await reader.read(CHUNK_BYTES))
            elif isinstance(event, h11.Response):
                status, location = event.status_code, _location(event)
                if status != 200:
                    return status, location, b""
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > self._rules.bytes:
                    raise RequestRefused(413, f"the image has more than {self._rules.bytes} bytes")
            elif isinstance(event, h11.EndOfMessage | h11.ConnectionClosed):
                return status, location, bytes(body)

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return ssl.create_default_context()


def _location(response: h11.Response) -> str:
    headers = dict(response.headers)
    return headers.get(b"location", b"").decode("ascii")
