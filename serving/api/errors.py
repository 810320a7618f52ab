"""Every error as an envelope in our own words."""

from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from serving.api.request_handler import new_log_id, respond
from serving.workers.messages import refusal
from uad.errors import RequestRefused

FAILED = RequestRefused(500, "the server failed on this request; its log says why")


def add_error_handlers(app: FastAPI, hint: str) -> None:
    """Answer errors in the envelope; `hint` is what to send instead to a path that is not there."""
    words = {404: f"no such path; {hint}", 405: f"this path takes another method; {hint}"}

    async def refused(_: Request, exc: Any) -> Response:
        return respond(refusal(new_log_id(), exc))

    async def http_error(_: Request, exc: Any) -> Response:
        said = words.get(exc.status_code, "the request cannot be answered")
        response = respond(refusal(new_log_id(), RequestRefused(exc.status_code, said)))
        response.headers.update(exc.headers or {})
        return response

    async def failed(_: Request, __: Exception) -> Response:
        return respond(refusal(new_log_id(), FAILED))

    app.add_exception_handler(RequestRefused, refused)
    app.add_exception_handler(HTTPException, http_error)
    app.add_exception_handler(Exception, failed)
