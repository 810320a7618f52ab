"""The administrators' port, on loopback only: counters, polls, pins, the page with promotion."""

import asyncio
from functools import partial

import orjson
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from serving.api.feedback import feedback_router
from serving.api.middleware import Gate, KnownHost, add_error_handlers
from serving.api.request_handler import new_log_id, read_small_body, respond
from serving.api.routes import health_router, metrics_router
from serving.api.schemas import envelope
from serving.api.sessions import SignInByCookie, refuse_other_sites
from serving.api.state import State, state_of
from serving.models.products import Product
from serving.page.routes import page_router
from serving.workers.messages import Reply
from uad.errors import RegistryError, RequestRefused
from uad.hot_reload.pins import pin, unpin
from uad.storage.names import ModelVersionNumber

MOST_BYTES = 4096
no_version = partial(RequestRefused, 422, 'name a version like {"version": "3"}')


def create_admin_app(state: State) -> FastAPI:
    """The application behind the administrators' port."""
    app = FastAPI(title="uad admin", openapi_url=None)
    app.state.server = state
    app.include_router(health_router())
    app.include_router(metrics_router())
    app.add_api_route("/models/{name}/poll", poll, methods=["POST"])
    app.add_api_route("/models/{name}/pin", set_pin, methods=["PUT"])
    app.add_api_route("/models/{name}/pin", remove_pin, methods=["DELETE"])
    if state.settings.page:
        app.include_router(feedback_router())
        app.include_router(page_router(may_promote=True))
        app.add_middleware(SignInByCookie, sessions=state.sessions)
    add_error_handlers(app, "no such path; see docs/serving.md")
    # A page in a browser on this machine must not reach it by a name that it made up.
    app.add_middleware(KnownHost, guarded=("/",), hosts=())
    app.add_middleware(Gate, state=state)
    return app


async def poll(request: Request, name: str) -> Response:
    """Ask the registry now instead of at the next poll."""
    state = _admit(request)
    _wake(state.products.get(name))
    return _done("the registry is being asked")


async def set_pin(request: Request, name: str) -> Response:
    """Pin a product to a version: `{"version": "3"}`."""
    state = _admit(request)
    product = state.products.get(name)
    body = await read_small_body(request, state, MOST_BYTES)
    try:
        version = orjson.loads(body)["version"]
    except (ValueError, KeyError, TypeError) as exc:
        raise no_version() from exc
    if not isinstance(version, str) or not version.isdigit():
        raise no_version()
    try:
        await asyncio.to_thread(pin, product.registered_name, ModelVersionNumber(version))
    except RegistryError as exc:
        raise RequestRefused(409, "that version cannot be loaded; `uad pin` says why") from exc
    _wake(product)
    return _done(f"pinned to version {version}")


async def remove_pin(request: Request, name: str) -> Response:
    """Follow the registry again."""
    product = _admit(request).products.get(name)
    await asyncio.to_thread(unpin, product.registered_name)
    _wake(product)
    return _done("following the registry")


def _admit(request: Request) -> State:
    """As a promotion: no page of another site, and a key where keys are on."""
    refuse_other_sites(request)
    state = state_of(request)
    state.access.identify(request)
    return state


def _wake(product: Product) -> None:
    if product.followed is None:
        raise RequestRefused(409, "this model is a folder, so it follows no registry")
    product.followed.watcher.wake()


def _done(words: str) -> Response:
    return respond(Reply(200, envelope(new_log_id(), 0, words)))
