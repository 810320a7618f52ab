"""`POST /feedback`: what a person says about an image that was judged."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from serving.api.not_kept import FILE_GONE, not_kept
from serving.api.request_handler import new_log_id, read_small_body, respond
from serving.api.schemas import Answer, envelope
from serving.api.sessions import refuse_other_sites
from serving.api.state import State, state_of
from serving.workers.messages import Reply
from uad.errors import RequestRefused
from uad.monitoring.judged_images import JudgedImage, JudgedImages, Word

MOST_BYTES = 2**14
WRITTEN_SECONDS = 2.0
"""How long to wait for an image that was just judged and is still being written."""
Said = Literal["good", "defective"]


class FeedbackRequest(BaseModel):
    """The body of `POST /feedback`."""

    model_config = ConfigDict(extra="forbid", strict=True, populate_by_name=True)

    log_id: Annotated[str, Field(alias="logId", min_length=1, max_length=100)] = Field(
        description="The `logId` of the answer."
    )
    verdict: Said = Field(description="What the part really is.")
    note: Annotated[str, Field(max_length=1000)] = Field(
        default="", description="Anything that helps a later reader."
    )
    who: Annotated[str, Field(max_length=100)] = Field(
        default="", description="Who says so. The key's name or the address is recorded as well."
    )
    image: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="Which image of a batch, from 0; needed if it had several."
    )


class Recorded(BaseModel):
    """What was recorded."""

    image: str = Field(description="The kept image's id.")
    judged: Said = Field(description="What the model said.")
    said: Said = Field(description="What the person said.")


class FeedbackRecorded(Answer):
    """The envelope around it."""

    result: Recorded


def feedback_router() -> APIRouter:
    """The route for people's feedback."""
    router = APIRouter(tags=["feedback"])
    content = {"application/json": {"schema": FeedbackRequest.model_json_schema()}}
    router.add_api_route(
        "/feedback",
        feedback,
        methods=["POST"],
        response_model=FeedbackRecorded,
        responses={
            status: {"model": Answer, "description": words}
            for status, words in {
                401: "An API key is needed.",
                403: "A page of another site sent it.",
                404: "The image is not kept, or there is no such answer.",
                422: "A field is missing, unknown or wrong.",
            }.items()
        },
        openapi_extra={"requestBody": {"required": True, "content": content}},
        summary="Say whether a judged image is good or defective",
    )
    return router


async def feedback(request: Request) -> Response:
    """Record what a person says about a judged image."""
    state = state_of(request)
    refuse_other_sites(request)
    client = state.access.admit(request)
    asked = _parsed(await read_small_body(request, state, MOST_BYTES))
    image = await asyncio.to_thread(_recorded, state, asked, client)
    found = {"image": image.id, "judged": _judged(image), "said": asked.verdict}
    return respond(Reply(200, envelope(new_log_id(), 0, "Recorded", found)))


def _parsed(body: bytes) -> FeedbackRequest:
    try:
        return FeedbackRequest.model_validate_json(body)
    except ValidationError as exc:
        raise RequestRefused(422, _words(exc.errors(include_input=False))) from exc


def _words(errors: list[Any]) -> str:
    """What is wrong with the first field, without repeating any value of the body."""
    known = {"logId", "verdict", "note", "who", "image"}
    place = errors[0]["loc"][0] if errors[0]["loc"] else ""
    field = f"'{place}': " if place in known else ""
    return (
        f'{field}send JSON like {{"logId": "...", "verdict": "good", "note": "a reflection"}}; '
        "verdict is good or defective, note and who are texts, image is a number"
    )


def _recorded(state: State, asked: FeedbackRequest, client: str) -> JudgedImage:
    store = state.judged_images
    if store is None:
        raise not_kept(state, asked.log_id, asked.image)
    image = _wanted(state, store, asked)
    word = Word(asked.verdict, asked.note.strip(), asked.who.strip(), client, datetime.now(UTC))
    store.say(image, word)
    state.recent.touch()
    return image


def _wanted(state: State, store: JudgedImages, asked: FeedbackRequest) -> JudgedImage:
    image = _named(store, asked)
    if image is None:
        state.writer.flush(WRITTEN_SECONDS)
        image = _named(store, asked)
    if image is None:
        raise not_kept(state, asked.log_id, asked.image)
    if not store.has_file(image):
        raise RequestRefused(404, FILE_GONE)
    return image


def _named(store: JudgedImages, asked: FeedbackRequest) -> JudgedImage | None:
    """The image that `asked` means; None if it is not kept, or not written yet.

    An image of a batch must be named, even if no other one of the batch is kept.
    """
    kept = store.of_answer(asked.log_id)
    if asked.image is None and kept and (count := _images_judged(kept)) > 1:
        raise RequestRefused(
            422,
            f"this answer is about {count} images: say which one you mean with 'image', from 0 to "
            f"{count - 1}",
        )
    return next((each for each in kept if asked.image in (None, each.position)), None)


def _images_judged(kept: Sequence[JudgedImage]) -> int:
    """Images of the request. Records of earlier versions know only the ones that were kept."""
    return max(max(int(each.facts.get("images", 1)), each.position + 1) for each in kept)


def _judged(image: JudgedImage) -> Said:
    return "defective" if image.is_anomalous else "good"
