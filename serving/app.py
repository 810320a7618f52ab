"""The FastAPI application: routes, one handler for errors, headers that every answer carries."""

from typing import Any

from fastapi import FastAPI
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.answering import new_log_id, respond
from serving.messages import refusal
from serving.opening import open_products
from serving.routes import analysis_router, health_router
from serving.settings import ServerSettings
from serving.state import State
from uad import __version__
from uad.errors import RequestRefused

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
OUR_WORDS = {
    404: "no such path; POST /image-anomaly-detection",
    405: "this path takes another method; POST /image-anomaly-detection",
}


def create_app(settings: ServerSettings, state: State | None = None) -> FastAPI:
    """The application that serves `state` (None: what the settings name)."""
    app = FastAPI(
        title="uad",
        version=__version__,
        description="Finds what looks wrong in a picture, with a model trained on good parts only.",
        docs_url=None,
        redoc_url=None,
    )
    app.state.server = state or State(settings, open_products(settings))
    app.include_router(analysis_router())
    app.include_router(health_router())
    app.add_exception_handler(RequestRefused, _refused)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _failed)
    app.add_middleware(SecurityHeaders)
    return app


class SecurityHeaders:
    """Adds the headers that tell a browser to do nothing with an answer but show it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on and its answer back."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(SECURITY_HEADERS)
            await send(message)

        await self.app(scope, receive, send_with_headers)


async def _refused(_: Request, exc: Any) -> Response:
    return respond(refusal(new_log_id(), exc))


async def _http_error(_: Request, exc: Any) -> Response:
    words = OUR_WORDS.get(exc.status_code, "the request cannot be answered")
    response = respond(refusal(new_log_id(), RequestRefused(exc.status_code, words)))
    response.headers.update(exc.headers or {})
    return response


async def _failed(_: Request, __: Exception) -> Response:
    words = "the server failed on this request; its log says why"
    return respond(refusal(new_log_id(), RequestRefused(500, words)))
