"""From an HTTP request to its answer: admission, body, worker pool, metrics, log."""

import asyncio
import logging
import re
import time
import uuid
from dataclasses import replace
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from serving.api.bodies import announced_bytes, read_body
from serving.api.state import State, state_of
from serving.models.products import Product
from serving.telemetry.stopwatch import Stopwatch
from serving.workers.messages import Job, Reply, refusal
from serving.workers.pool import WorkerPool
from uad.errors import RequestRefused

logger = logging.getLogger("serving.requests")

CLIENT_GONE = 499
"""Counted and logged only: nobody is there to read it."""


async def answer(
    request: Request, name: str | None = None, *, many: bool = False, record: bool = True
) -> Response:
    """Have the body judged by the version of the product `name` that serves now.

    `record`: whether score and image are kept; a person's trial is no image of the line.
    """
    start, state, log_id = time.monotonic(), state_of(request), new_log_id()
    label, version = "unknown", None
    try:
        state.access.admit(request)
        product = state.products.get(name)
        label = product.name
        with product.use() as served:
            version = served.version
            job = Job(
                log_id,
                version,
                b"",
                content_type=request.headers.get("content-type", ""),
                many=many,
                gzip=_reads_gzip(request.headers.get("accept-encoding", "")),
                urls=state.settings.urls.enabled,
                keep=state.settings.keep.images if record else "none",
            )
            reply = await _judged(request, state, product, served.detector, job)
            if record:
                state.record(product, version, served.detector.key, log_id, reply)
    except RequestRefused as exc:
        reply = refusal(log_id, exc)
    seconds = time.monotonic() - start
    state.metrics.note(label, reply, seconds)
    _log(log_id, label, version, reply, seconds)
    return respond(reply)


async def _judged(
    request: Request, state: State, product: Product, workers: WorkerPool, job: Job
) -> Reply:
    limits, watch = state.settings.limits, Stopwatch()
    with state.bodies.hold(announced_bytes(request, limits)):
        workers.expect_room()
        with watch.stage("receive"):
            job = replace(job, body=await read_body(request, limits))
        reply = await _unless_gone(request, asyncio.wrap_future(workers.submit(job)))
        if reply.wanted_urls and job.urls:
            reply = await _judged_with_urls(request, state, workers, job, reply, watch)
    if product.shadow is not None and not reply.wanted_urls:
        product.shadow.offer(job, reply.verdicts)
    reply.seconds.update(watch.seconds)
    return reply


async def _judged_with_urls(
    request: Request, state: State, workers: WorkerPool, job: Job, reply: Reply, watch: Stopwatch
) -> Reply:
    """Fetch the images that the body only names, one after another, and ask again."""
    urls = reply.wanted_urls
    with state.bodies.hold(state.settings.urls.bytes), watch.stage("fetch"):
        fetched = [await state.fetcher.fetch(url) for url in urls]
    with state.bodies.hold(sum(map(len, fetched))):
        job = replace(job, fetched=tuple(fetched))
        return await _unless_gone(request, asyncio.wrap_future(workers.submit(job)))


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
    if reply.status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    if reply.gzip:
        response.headers["Content-Encoding"] = "gzip"
        response.headers["Vary"] = "Accept-Encoding"
    if reply.retry_after_seconds is not None:
        response.headers["Retry-After"] = str(reply.retry_after_seconds)
    return response


def new_log_id() -> str:
    """A fresh identifier for one request, in the answer and in the log."""
    return str(uuid.uuid4())


def _reads_gzip(accepted: str) -> bool:
    """Whether an Accept-Encoding header asks for gzip."""
    names = (each.strip().lower().replace(" ", "") for each in accepted.split(","))
    return any(re.fullmatch(r"gzip(;q=(1(\.0*)?|0?\.\d*[1-9]\d*))?", name) for name in names)
