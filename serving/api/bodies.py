"""Receive a request's body within its limits."""

import asyncio

from starlette.requests import ClientDisconnect, Request

from serving.api.state import State
from serving.settings import Limits
from serving.workers.admission import Charge
from uad.errors import RequestRefused

STANDSTILL_SECONDS = 5.0
"""A body that brings nothing for so long is refused."""


def refuse_too_long(request: Request, limits: Limits) -> None:
    """Refuse a body that is announced as too long before a byte of it is read.

    A client that waits for `100 Continue` then never sends it.

    Raises:
        RequestRefused: 413 too long.
    """
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > limits.body_bytes:
        raise _too_long(limits)


async def read_small_body(request: Request, state: State, most_bytes: int) -> bytes:
    """A body that is not an image, of at most `most_bytes`.

    Raises:
        RequestRefused: as `read_body`.
    """
    limits = state.settings.limits.model_copy(update={"body_bytes": most_bytes})
    refuse_too_long(request, limits)
    charge = state.memory.charge(request.scope.get("state", {}).get("connection"))
    try:
        return bytes(await read_body(request, limits, charge))
    finally:
        charge.release()


async def read_body(request: Request, limits: Limits, charge: Charge) -> bytearray:
    """The body, of at most `limits.body_bytes`; `charge` holds what has come.

    Raises:
        RequestRefused: 413 too long, 408 too slow, 400 the client went away, 429 no memory.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + limits.body_seconds
    first = min(end, loop.time() + STANDSTILL_SECONDS)
    try:
        async with asyncio.timeout_at(first) as patience:
            return await _received(request, limits, charge, patience, end)
    except TimeoutError as exc:
        words = f"the body did not come within {limits.body_seconds:g} seconds"
        if loop.time() < end:
            words = f"the body came with less than {limits.body_bytes_per_second} bytes a second"
        raise RequestRefused(408, words) from exc
    except ClientDisconnect as exc:
        raise RequestRefused(400, "the connection closed before the whole body came") from exc


async def _received(
    request: Request, limits: Limits, charge: Charge, patience: asyncio.Timeout, end: float
) -> bytearray:
    body = bytearray()
    loop = asyncio.get_running_loop()
    charge.moves()
    async for chunk in request.stream():
        if len(body) + len(chunk) > limits.body_bytes:
            raise _too_long(limits)
        charge.add(len(chunk))
        charge.moves()
        body += chunk
        earned = (patience.when() or 0.0) + len(chunk) / limits.body_bytes_per_second
        patience.reschedule(min(end, earned, loop.time() + STANDSTILL_SECONDS))
    charge.waits_for_us()
    return body


def _too_long(limits: Limits) -> RequestRefused:
    return RequestRefused(
        413, f"the body is longer than {limits.body_bytes} bytes, the most this server takes"
    )
