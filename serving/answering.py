"""From an HTTP request to its answer: room, body, engines, count, log."""

import asyncio
import logging
import time
import uuid
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from serving.bodies import announced_bytes, read_body
from serving.products import Product
from serving.state import State, state_of
from serving.work import Job, Reply, refusal
from uad.errors import RequestRefused

logger = logging.getLogger("serving.requests")

CLIENT_GONE = 499
"""Counted and logged only: nobody is there to read it."""


async def answer(request: Request, name: str | None = None) -> Response:
    """Have the body judged by the version of the product `name` that serves now."""
    start, state, log_id = time.monotonic(), state_of(request), new_log_id()
    label, version = "unknown", None
    try:
        product = state.products.get(name)
        label = product.name
        reply, version = await _judged(request, state, product, log_id)
    except RequestRefused as exc:
        reply = refusal(log_id, exc)
    seconds = time.monotonic() - start
    state.metrics.note(label, reply, seconds)
    _log(log_id, label, version, reply, seconds)
    return respond(reply)


async def _judged(
    request: Request, state: State, product: Product, log_id: str
) -> tuple[Reply, str]:
    """The reply, and the version that gave it, which stays loaded until then."""
    limits = state.settings.limits
    with product.use() as served, state.bodies.hold(announced_bytes(request, limits)):
        served.detector.expect_room()
        start = time.monotonic()
        body = await read_body(request, limits)
        received = time.monotonic() - start
        job = Job(log_id, served.version, body)
        waiting = asyncio.wrap_future(served.detector.submit(job))
        reply = await _unless_gone(request, waiting)
    return _with_stage(reply, "receive", received), served.version


async def _unless_gone(request: Request, waiting: asyncio.Future[Reply]) -> Reply:
    """The reply; or, if the client closes its connection before, take the job back."""
    gone = asyncio.ensure_future(_gone(request))
    try:
        either: set[asyncio.Future[Any]] = {waiting, gone}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if waiting.done():
            return waiting.result()
        waiting.cancel()
        raise RequestRefused(CLIENT_GONE, "the client closed the connection")
    finally:
        gone.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _with_stage(reply: Reply, stage: str, seconds: float) -> Reply:
    reply.seconds[stage] = seconds
    return reply


def _log(log_id: str, product: str, version: str | None, reply: Reply, seconds: float) -> None:
    facts = {
        "logId": log_id,
        "product": product,
        "version": version,
        "status": reply.status,
        "seconds": round(seconds, 4),
        "stages": {stage: round(spent, 4) for stage, spent in reply.seconds.items()},
        "scores": [verdict.score for verdict in reply.verdicts],
    }
    logger.info(
        "%s %s %d in %.3f s", log_id, product, reply.status, seconds, extra={"facts": facts}
    )


def respond(reply: Reply) -> Response:
    """A reply as an HTTP response."""
    response = Response(reply.body, reply.status, media_type="application/json")
    if reply.retry_after_seconds is not None:
        response.headers["Retry-After"] = str(reply.retry_after_seconds)
    return response


def new_log_id() -> str:
    """A fresh identifier for one request, in the answer and in the log."""
    return str(uuid.uuid4())
