"""The paths that the server answers."""

from collections.abc import Callable, Mapping
from typing import Any

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from serving.api.request_handler import answer, new_log_id, respond
from serving.api.schemas import (
    Analysed,
    AnalyseRequest,
    Answer,
    BatchAnalysed,
    BatchRequest,
    BatchUpload,
    Upload,
    envelope,
)
from serving.api.state import state_of
from serving.workers.messages import Reply

PATHS = ("/image-anomaly-detection", "/anomaly-detection")
ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": Answer, "description": "The body or the image cannot be read."},
    401: {"model": Answer, "description": "An API key is needed."},
    403: {"model": Answer, "description": "Image URLs are off."},
    404: {"model": Answer, "description": "There is no such model on this server."},
    408: {"model": Answer, "description": "The body did not come in time."},
    413: {"model": Answer, "description": "The body or the image is too large."},
    415: {"model": Answer, "description": "An unknown image format, or a compressed body."},
    422: {"model": Answer, "description": "A field is missing, unknown or wrong."},
    429: {"model": Answer, "description": "Busy: try again after `Retry-After` seconds."},
    503: {"model": Answer, "description": "No model is ready."},
}
EXPECTED = {"application/json": AnalyseRequest, "multipart/form-data": Upload}
EXPECTED_MANY = {"application/json": BatchRequest, "multipart/form-data": BatchUpload}


def analysis_router() -> APIRouter:
    """The routes that judge images."""
    router = APIRouter(tags=["analysis"])
    for path in PATHS:
        _add(router, path, analyse, Analysed, EXPECTED, "Judge one image")
        _add(router, f"{path}/batch", analyse_many, BatchAnalysed, EXPECTED_MANY, "Judge several")
        named = f"/models/{{name}}{path}"
        _add(router, named, analyse_with, Analysed, EXPECTED, "Judge one image with a model")
        many = f"{named}/batch"
        _add(
            router,
            many,
            analyse_many_with,
            BatchAnalysed,
            EXPECTED_MANY,
            "Judge several images with a model",
        )
    return router


def _add(
    router: APIRouter,
    path: str,
    endpoint: Callable[..., Any],
    answers: type[Answer],
    expected: Mapping[str, type[BaseModel]],
    summary: str,
) -> None:
    content = {kind: {"schema": model.model_json_schema()} for kind, model in expected.items()}
    router.add_api_route(
        path,
        endpoint,
        methods=["POST"],
        response_model=answers,
        responses=ERRORS,
        openapi_extra={"requestBody": {"required": True, "content": content}},
        summary=summary,
    )


def health_router() -> APIRouter:
    """The routes that balancers and people ask; HEAD gives the status alone."""
    router = APIRouter(tags=["health"])
    router.add_api_route("/health", health, methods=["GET"], response_model=Answer)
    router.add_api_route("/livez", livez, methods=["GET"], response_model=Answer)
    router.add_api_route("/readyz", readyz, methods=["GET"], responses={503: {"model": Answer}})
    for path, endpoint in (("/health", health), ("/livez", livez), ("/readyz", readyz)):
        router.add_api_route(path, endpoint, methods=["HEAD"], include_in_schema=False)
    return router


def metrics_router() -> APIRouter:
    """The route that Prometheus reads."""
    router = APIRouter(tags=["health"])
    router.add_api_route("/metrics", metrics, methods=["GET"], response_class=PlainTextResponse)
    return router


async def analyse(request: Request) -> Response:
    """Judge the image in the body with the version that serves now."""
    return await answer(request)


async def analyse_with(request: Request, name: str) -> Response:
    """The same with another of this server's models."""
    return await answer(request, name)


async def analyse_many(request: Request) -> Response:
    """Judge several images; each has its own result or error, in the request's order."""
    return await answer(request, many=True)


async def analyse_many_with(request: Request, name: str) -> Response:
    """The same with another of this server's models."""
    return await answer(request, name, many=True)


async def health(request: Request) -> Response:
    """Whether images are being judged."""
    return _state(request, "Healthy")


async def livez() -> Response:
    """Whether the process answers at all; restart it if not."""
    return respond(Reply(200, envelope(new_log_id(), 0, "Alive")))


async def readyz(request: Request) -> Response:
    """Whether to send requests here, and if not, why."""
    return _state(request, "Ready")


async def metrics(request: Request) -> Response:
    """Counters and gauges for Prometheus."""
    return Response(state_of(request).metrics.text(), media_type=CONTENT_TYPE_LATEST)


def _state(request: Request, word: str) -> Response:
    state = state_of(request)
    reasons = state.reasons_not_ready()
    result = {"models": state.products.describe()}
    message = "; ".join(reasons or [word, *state.products.not_following()])
    status = 503 if reasons else 200
    return respond(Reply(status, envelope(new_log_id(), 503 if reasons else 0, message, result)))
