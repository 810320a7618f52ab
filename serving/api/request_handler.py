"""From an HTTP request to its answer: admission, body, worker pool, metrics, log."""

import asyncio
import logging
import re
import time
import uuid
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, Literal, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from serving.api.requests import compressed_body
from serving.api.state import State, state_of
from serving.models.products import Product
from serving.settings import Keep, Limits
from serving.workers.admission import Charge
from serving.workers.messages import Job, Reply, Stopwatch, refusal
from serving.workers.pool import WorkerPool
from uad.errors import RequestRefused

logger = logging.getLogger("serving.requests")

R = TypeVar("R")
Record = Literal["all", "image", "nothing"]
PIECE_BYTES = 2**18
"""Answers are sent in pieces of this size, so an answer that is not read is not stored twice."""
CLIENT_GONE = 499
"""Only counted and logged: the client has left."""
STANDSTILL_SECONDS = 5.0
"""A body without new data for this long is refused."""


async def answer(
    request: Request, name: str | None = None, *, many: bool = False, record: Record = "all"
) -> Response:
    """Have the body judged by the version of the product `name` that serves now.

    `record`: what is stored. Of a person's trial on the page at most the image is: its score is not
    one of the production line.
    """
    start, state, log_id = time.monotonic(), state_of(request), new_log_id()
    label, version = "unknown", None
    charge = state.memory.charge(request.scope.get("state", {}).get("connection"))
    try:
        client = state.access.admit(request)
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
                keep=_kept(state.settings.keep.images, record),
            )
            reply = await _judged(request, state, product, served.detector, job, charge)
            if record == "all":
                state.record(product, version, served.detector.key, log_id, reply)
            elif record == "image":
                state.image_recorder.keep(product, version, served.detector.key, log_id, reply)
        state.access.count_images(client, reply.images)
        charge.release()  # of the body; the answer is charged instead
        charge.add(len(reply.body))
    except RequestRefused as exc:
        charge.release()
        reply = refusal(log_id, exc)
    except BaseException:
        charge.release()
        raise
    seconds = time.monotonic() - start
    state.metrics.note(label, reply, seconds)
    _log(log_id, label, version, reply, seconds)
    return respond(reply, charge)


async def _judged(
    request: Request,
    state: State,
    product: Product,
    workers: WorkerPool,
    job: Job,
    charge: Charge,
) -> Reply:
    limits, stopwatch = state.settings.limits, Stopwatch()
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise compressed_body(encoding[:20])
    refuse_too_long(request, limits)
    workers.expect_room()
    with stopwatch.stage("receive"):
        job = replace(job, body=await read_body(request, limits, charge))
    reply = await _unless_gone(request, _asked(workers, job, charge))
    if reply.wanted_urls and job.urls:
        with stopwatch.stage("fetch"):
            fetch = state.fetcher.fetch_all(reply.wanted_urls, charge)
            fetched = await _unless_gone(request, fetch)
        job = replace(job, fetched=tuple(fetched))
        reply = await _unless_gone(request, _asked(workers, job, charge))
    if product.shadow is not None and not reply.wanted_urls:
        product.shadow.offer(job, reply.verdicts)
    reply.seconds.update(stopwatch.seconds)
    return reply


async def _asked(workers: WorkerPool, job: Job, charge: Charge) -> Reply:
    """The engines' reply; if nobody waits for it any more, the job is cancelled."""
    queued = workers.enqueue(job)
    try:
        return await asyncio.wrap_future(queued.future)
    except asyncio.CancelledError:
        if not queued.future.cancel():
            # An engine is working on it: the request keeps its memory until that ends.
            queued.is_abandoned = True
            charge.hand_over(queued.future, asyncio.get_running_loop())
        raise


async def _unless_gone(request: Request, work: Coroutine[Any, Any, R]) -> R:
    """The result of `work`, which is cancelled if the client closes its connection before."""
    working, gone = asyncio.ensure_future(work), asyncio.ensure_future(_gone(request))
    try:
        either: set[asyncio.Future[Any]] = {working, gone}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise RequestRefused(CLIENT_GONE, "the client closed the connection")
    finally:
        gone.cancel()
        working.cancel()
        await asyncio.wait([working])


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


class ChargedResponse(Response):
    """An answer that is sent in pieces; its memory counts until it is sent."""

    def __init__(self, reply: Reply, charge: Charge | None) -> None:
        super().__init__(reply.body, reply.status, media_type="application/json")
        self._charge = charge

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Send the answer."""
        charge, body = self._charge, memoryview(bytes(self.body))
        try:
            await send(
                {
                    "type": "http.response.start",
                    "status": self.status_code,
                    "headers": self.raw_headers,
                }
            )
            for start in range(0, max(1, len(body)), PIECE_BYTES):
                if charge is not None:
                    charge.moves()
                piece, more = bytes(body[start : start + PIECE_BYTES]), start + PIECE_BYTES
                await send(
                    {"type": "http.response.body", "body": piece, "more_body": more < len(body)}
                )
        finally:
            if charge is not None:
                charge.release()


def respond(reply: Reply, charge: Charge | None = None) -> Response:
    """A reply as an HTTP response; `charge` holds its memory."""
    response = ChargedResponse(reply, charge)
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


def _kept(setting: Keep, record: Record) -> Keep:
    """Which images of a request are kept."""
    kept: dict[Record, Keep] = {"all": setting, "image": "all", "nothing": "none"}
    return kept[record]


def _reads_gzip(accepted: str) -> bool:
    """Whether an Accept-Encoding header asks for gzip."""
    names = (each.strip().lower().replace(" ", "") for each in accepted.split(","))
    return any(re.fullmatch(r"gzip(;q=(1(\.0*)?|0?\.\d*[1-9]\d*))?", name) for name in names)


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
        413, f"the body is longer than {limits.body_bytes} bytes, the limit of this server"
    )
