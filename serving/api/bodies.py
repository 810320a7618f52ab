"""Receive a request's body within its limits."""

import asyncio

from starlette.requests import ClientDisconnect, Request

from serving.settings import Limits
from uad.errors import RequestRefused


def announced_bytes(request: Request, limits: Limits) -> int:
    """How long the body will be; the most allowed if the request does not say.

    A body that is announced as too long is refused before a byte of it is read, so that a client
    that waits for `100 Continue` never sends it.

    Raises:
        RequestRefused: 413 too long.
    """
    announced = request.headers.get("content-length", "")
    if not announced.isdigit():
        return limits.body_bytes
    if int(announced) > limits.body_bytes:
        raise _too_long(limits)
    return int(announced)


async def read_body(request: Request, limits: Limits) -> bytes:
    """The body, of at most `limits.body_bytes`.

    Raises:
        RequestRefused: 413 too long, 408 too slow, 400 the client went away.
    """
    try:
        async with asyncio.timeout(limits.body_seconds):
            return await _received(request, limits)
    except TimeoutError as exc:
        words = f"the body did not come within {limits.body_seconds:g} seconds"
        raise RequestRefused(408, words) from exc
    except ClientDisconnect as exc:
        raise RequestRefused(400, "the connection closed before the whole body came") from exc


async def _received(request: Request, limits: Limits) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limits.body_bytes:
            raise _too_long(limits)
    return bytes(body)


def _too_long(limits: Limits) -> RequestRefused:
    return RequestRefused(
        413, f"the body is longer than {limits.body_bytes} bytes, the most this server takes"
    )
