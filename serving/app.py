"""The FastAPI application: routes, and one handler for errors."""

from fastapi import FastAPI

from serving.api.feedback import feedback_router
from serving.api.middleware import Gate, KnownHost, add_error_handlers, is_loopback
from serving.api.routes import analysis_router, health_router, metrics_router
from serving.api.sessions import SignInByCookie
from serving.api.state import State
from serving.models.loading import open_state
from serving.page.routes import page_router
from serving.settings import ServerSettings
from uad import __version__

PEOPLE = ("/page/", "/feedback")
"""Paths besides `/` that show judged images or take feedback."""
HINT = (
    "send images with POST /image-anomaly-detection; GET /openapi.json describes all paths and "
    "their fields"
)
JUDGING = ("/image-anomaly-detection", "/anomaly-detection", "/models/")
"""With images by URL their answers may show pictures of a private network."""


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
    add_error_handlers(app, HINT)
    app.add_middleware(SignInByCookie, sessions=app.state.server.sessions)
    if settings.access.keys is None and is_loopback(settings.host):
        guarded = (*PEOPLE, *JUDGING) if settings.urls.enabled else PEOPLE
        app.add_middleware(KnownHost, guarded=guarded, hosts=settings.hosts)
    app.add_middleware(Gate, state=app.state.server)
    return app
