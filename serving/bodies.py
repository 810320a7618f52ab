"""Receive a request's body within its limits."""

from starlette.requests import ClientDisconnect, Request

from uad.errors import RequestRefused


async def read_body(request: Request, most_bytes: int) -> bytes:
    """The body, of at most `most_bytes`.

    A body that is announced as too long is refused before a byte of it is read, so that a client
    that waits for `100 Continue` never sends it.

    Raises:
        RequestRefused: 413 too long, 400 the client went away.
    """
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > most_bytes:
        raise _too_long(most_bytes)
    chunks, received = [], 0
    try:
        async for chunk in request.stream():
            received += len(chunk)
            if received > most_bytes:
                raise _too_long(most_bytes)
            chunks.append(chunk)
    except ClientDisconnect as exc:
        raise RequestRefused(400, "the connection closed before the whole body came") from exc
    return b"".join(chunks)


def _too_long(most_bytes: int) -> RequestRefused:
    return RequestRefused(
        413, f"the body is longer than {most_bytes} bytes, the most this server takes"
    )
