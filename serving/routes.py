"""The paths that the server answers."""

import asyncio
import uuid
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from serving.bodies import read_body
from serving.products import Product
from serving.schemas import Analysed, AnalyseRequest, Answer, envelope
from serving.state import state_of
from serving.work import Job, Reply

PATHS = ("/image-anomaly-detection", "/anomaly-detection")
ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": Answer, "description": "The body or the image cannot be read."},
    403: {"model": Answer, "description": "Image URLs are off."},
    413: {"model": Answer, "description": "The body or the image is too large."},
    415: {"model": Answer, "description": "The image has an unknown format."},
    422: {"model": Answer, "description": "A field is missing, unknown or wrong."},
    503: {"model": Answer, "description": "No model is ready."},
}
BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": AnalyseRequest.model_json_schema()}},
    }
}


def analysis_router() -> APIRouter:
    """The routes that judge images."""
    router = APIRouter(tags=["analysis"])
    for path in PATHS:
        router.add_api_route(
            path,
            analyse,
            methods=["POST"],
            response_model=Analysed,
            responses=ERRORS,
            openapi_extra=BODY,
            summary="Judge one image",
        )
    return router


def health_router() -> APIRouter:
    """The routes that balancers and people ask."""
    router = APIRouter(tags=["health"])
    router.add_api_route("/health", health, methods=["GET"], response_model=Answer)
    router.add_api_route("/livez", livez, methods=["GET"], response_model=Answer)
    router.add_api_route("/readyz", readyz, methods=["GET"], responses={503: {}})
    return router


async def analyse(request: Request) -> Response:
    """Judge the image in the body, with the version that serves now."""
    state = state_of(request)
    body = await read_body(request, state.settings.limits)
    return respond(await judged(state.products.default, new_log_id(), body))


async def judged(product: Product, log_id: str, body: bytes) -> Reply:
    """The reply of the version of `product` that serves now, which stays loaded until then."""
    with product.use() as served:
        job = Job(log_id, served.version, body)
        return await asyncio.wrap_future(served.detector.submit(job))


async def health(request: Request) -> Response:
    """Whether images are being judged."""
    return _state(request, "Healthy")


async def livez() -> Response:
    """Whether the process answers at all; restart it if not."""
    return respond(Reply(200, envelope(new_log_id(), 0, "Alive")))


async def readyz(request: Request) -> Response:
    """Whether to send requests here, and if not, why."""
    return _state(request, "Ready")


def _state(request: Request, word: str) -> Response:
    state = state_of(request)
    reasons = state.reasons_not_ready()
    status = 503 if reasons else 200
    message = "; ".join(reasons) or word
    result = {"models": state.products.describe()}
    return respond(Reply(status, envelope(new_log_id(), 503 if reasons else 0, message, result)))


def respond(reply: Reply) -> Response:
    """A reply as an HTTP response."""
    return Response(reply.body, reply.status, media_type="application/json")


def new_log_id() -> str:
    """A fresh identifier for one request, in the answer and in the log."""
    return str(uuid.uuid4())
