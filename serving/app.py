"""The FastAPI application: routes, one handler for errors, headers that every answer carries."""

from fastapi import FastAPI
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.api.errors import add_error_handlers
from serving.api.feedback import feedback_router
from serving.api.routes import analysis_router, health_router, metrics_router
from serving.api.sessions import SignInByCookie
from serving.api.state import State
from serving.models.loading import open_state
from serving.page.routes import page_router
from serving.settings import ServerSettings
from uad import __version__

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
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
    app.state.server = state or open_state(settings)
    app.include_router(analysis_router())
    app.include_router(health_router())
    app.include_router(feedback_router())
    if settings.page:
        app.include_router(page_router())
    if settings.admin_port is None:
        app.include_router(metrics_router())
    add_error_handlers(app, "POST /image-anomaly-detection")
    app.add_middleware(SignInByCookie, sessions=app.state.server.sessions)
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
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, send_with_headers)
