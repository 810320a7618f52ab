"""The paths of the page: its files, what it shows, trials, sign-in, and promotion where allowed."""

import asyncio
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from serving.api.not_kept import FILE_GONE, NOTHING_KEPT
from serving.api.request_handler import answer, new_log_id, read_small_body, respond
from serving.api.schemas import envelope
from serving.api.sessions import COOKIE, refuse_other_sites, set_cookie
from serving.api.state import State, state_of
from serving.models.products import Product
from serving.page import facts
from serving.page.files import OPEN, PAGE_HEADERS, file_response, sign_in_response
from serving.workers.messages import Reply
from uad.errors import GateError, RegistryError, RegistryUnreachableError, RequestRefused
from uad.monitoring.judged_images import HEATMAP, PREVIEW
from uad.registry import ModelRegistry

MOST_BYTES = 2**14
PICTURES = {"original": None, "preview": PREVIEW, "heatmap": HEATMAP}
IMAGE_TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".bmp": "image/bmp",
    ".webp": "image/webp",
    ".tif": "image/tiff",
}


def page_router(*, may_promote: bool = False) -> APIRouter:
    """The page; on the administrators' port it may promote."""
    router = APIRouter(include_in_schema=False)

    async def facts_of_server(request: Request) -> Response:
        state = state_of(request)
        state.access.identify(request)
        return _done(facts.server_facts(state, may_promote=may_promote))

    async def versions(request: Request, name: str) -> Response:
        product = _product(request, name)[1]
        return await _told(facts.versions, product, may_promote=may_promote)

    router.add_api_route("/", index, methods=["GET", "HEAD"])
    router.add_api_route("/page/files/{name}", static_file, methods=["GET"])
    router.add_api_route("/page/session", begin_session, methods=["POST"])
    router.add_api_route("/page/session/end", end_session, methods=["POST"])
    router.add_api_route("/page/server", facts_of_server, methods=["GET"])
    router.add_api_route("/page/models/{name}/now", now, methods=["GET"])
    router.add_api_route("/page/models/{name}/images", images, methods=["GET"])
    router.add_api_route("/page/models/{name}/images/{image}", one_image, methods=["GET"])
    router.add_api_route("/page/models/{name}/images/{image}/{kind}", picture, methods=["GET"])
    router.add_api_route("/page/models/{name}/alpha", operating_point, methods=["GET"])
    router.add_api_route("/page/models/{name}/drift", drift, methods=["GET"])
    router.add_api_route("/page/models/{name}/versions", versions, methods=["GET"])
    router.add_api_route("/page/models/{name}/try", try_image, methods=["POST"])
    if may_promote:
        router.add_api_route("/page/models/{name}/promote", promote, methods=["POST"])
    return router


async def index(request: Request) -> Response:
    """The page, or the form that asks for a key."""
    try:
        state_of(request).access.identify(request)
    except RequestRefused:
        return sign_in_response()
    return file_response("index.html")


async def static_file(request: Request, name: str) -> Response:
    """A script, the style, or a picture of the page itself."""
    if name not in OPEN:
        state_of(request).access.identify(request)
    return file_response(name)


async def begin_session(request: Request) -> Response:
    """Sign in with an API key: `key=...` as a form."""
    state = state_of(request)
    refuse_other_sites(request)
    form = parse_qs((await _short_body(request)).decode("utf-8", "replace"))
    key = form.get("key", [""])[0].strip()
    if state.access.keys is not None and state.access.keys.owner(key) is None:
        return sign_in_response(refused=True)
    response = RedirectResponse("/", 303, headers=PAGE_HEADERS)
    set_cookie(request, response, state.sessions.begin(key))
    return response


async def end_session(request: Request) -> Response:
    """Sign out."""
    refuse_other_sites(request)
    state_of(request).sessions.end(request.cookies.get(COOKIE, ""))
    response = RedirectResponse("/", 303, headers=PAGE_HEADERS)
    response.delete_cookie(COOKIE)
    return response


async def now(request: Request, name: str, revision: int = -1) -> Response:
    """The view "Now"; 204 if nothing has happened since `revision`."""
    state, product = _product(request, name)
    if revision == state.recent.revision:
        return Response(status_code=204)
    return await _told(facts.now, state, product)


async def images(
    request: Request, name: str, before: str | None = None, good: bool = False
) -> Response:
    """Kept images, newest first."""
    return await _told(facts.images, *_product(request, name), before, good=good)


async def one_image(request: Request, name: str, image: str) -> Response:
    """The view "One image"."""
    return await _told(facts.image, *_product(request, name), image)


async def picture(request: Request, name: str, image: str, kind: str) -> Response:
    """A kept image's file: `original`, `preview` or `heatmap`. It never changes."""
    state, product = _product(request, name)
    if kind not in PICTURES:
        raise RequestRefused(404, "there is no such picture")
    content, suffix = await asyncio.to_thread(_picture, state, product, image, kind)
    headers = {"Cache-Control": "private, max-age=86400, immutable"}
    return Response(content, headers=headers, media_type=IMAGE_TYPES.get(suffix))


async def operating_point(request: Request, name: str, alpha: str | None = None) -> Response:
    """The threshold for another false alarm rate."""
    return await _told(facts.operating_point, *_product(request, name), alpha)


async def drift(request: Request, name: str) -> Response:
    """The last day against calibration."""
    return await _told(facts.drift, *_product(request, name))


async def try_image(request: Request, name: str, keep: bool = False) -> Response:
    """Judge an image without storing its score: it is not one of the production line.

    `keep`: store the image, so that a person can say what it is.
    """
    refuse_other_sites(request)
    if keep and state_of(request).judged_images is None:
        raise RequestRefused(409, NOTHING_KEPT)
    return await answer(request, name, record="image" if keep else "nothing")


async def promote(request: Request, name: str) -> Response:
    """Make a version the champion: `{"version": "3", "why": "...", "who": "...", "champion": "2"}`.

    `champion` is the one that the page showed; if another one serves by now, nothing is moved.
    """
    refuse_other_sites(request)
    state, product = _product(request, name)
    client = state.access.identify(request)
    if not product.registered_name:
        raise RequestRefused(409, "this model is a folder: it has no versions to promote")
    asked = _promotion(await _short_body(request))
    actor = f"{asked['who']} ({client})" if asked["who"] else client
    try:
        await asyncio.to_thread(
            ModelRegistry().promote,
            product.registered_name,
            asked["version"],
            reason=asked["why"],
            actor=actor,
            expected=asked["champion"],
        )
    except RegistryUnreachableError as exc:
        raise RequestRefused(503, "the registry does not answer; try again later") from exc
    except (RegistryError, GateError) as exc:
        raise RequestRefused(409, "it was not promoted: look at the versions again") from exc
    if product.followed is not None:
        product.followed.watcher.wake()
    return _done({"version": asked["version"]})


def _promotion(body: bytes) -> dict[str, Any]:
    words = 'send JSON like {"version": "3", "why": "fewer false alarms", "champion": "2"}'
    try:
        asked = orjson.loads(body)
        version, champion = asked["version"], asked["champion"]
        why, who = str(asked.get("why", "")).strip(), str(asked.get("who", "")).strip()
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise RequestRefused(422, words) from exc
    is_number = isinstance(version, str) and version.isdigit()
    if not is_number or not (champion is None or isinstance(champion, str)):
        raise RequestRefused(422, words)
    if not why:
        raise RequestRefused(422, "say why: the reason is kept with the promotion")
    return {"version": version, "champion": champion, "why": why[:1000], "who": who[:100]}


def _product(request: Request, name: str) -> tuple[State, Product]:
    state = state_of(request)
    state.access.identify(request)
    return state, state.products.get(name)


def _picture(state: State, product: Product, identifier: str, kind: str) -> tuple[bytes, str]:
    store, found = facts.kept_image(state, product, identifier)
    suffix = PICTURES[kind] or found.suffix
    try:
        content = store.file(found, suffix).read_bytes()
    except OSError as exc:
        raise RequestRefused(404, FILE_GONE) from exc
    return content, suffix[suffix.rindex(".") :]


async def _short_body(request: Request) -> bytes:
    return await read_small_body(request, state_of(request), MOST_BYTES)


async def _told(tell: Callable[..., dict[str, Any]], *values: Any, **options: Any) -> Response:
    """Facts that need the disk or the registry are collected outside the event loop."""
    try:
        return _done(await asyncio.to_thread(tell, *values, **options))
    except RegistryUnreachableError as exc:
        raise RequestRefused(503, "the registry does not answer; try again later") from exc
    except RegistryError as exc:
        raise RequestRefused(404, "the registry does not know this product (any more)") from exc


def _done(found: dict[str, Any]) -> Response:
    return respond(Reply(200, envelope(new_log_id(), 0, "Success", found)))
