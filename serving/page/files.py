"""The page's static files, with headers that let a browser run these and nothing else."""

from pathlib import Path

from starlette.responses import Response

from uad.errors import RequestRefused

FOLDER = Path(__file__).parent / "static"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
PAGE_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-cache",
}
OPEN = frozenset({"style.css", "icon.svg"})
"""Files that the sign-in page needs before anybody has signed in."""
UNKNOWN_KEY = '<p role="alert">This key is not known. Copy it again, or ask for a new one.</p>'


def file_response(name: str) -> Response:
    """One file of the page.

    Raises:
        RequestRefused: 404, there is no such file.
    """
    names = {file.name: file for file in FOLDER.iterdir() if file.suffix in TYPES}
    if name not in names:
        raise RequestRefused(404, "there is no such file")
    content = names[name].read_bytes()
    media_type = TYPES[names[name].suffix]
    return Response(content, headers=PAGE_HEADERS, media_type=media_type)


def sign_in_response(*, refused: bool = False) -> Response:
    """The form that asks for a key; `refused`: the key that was given is not known."""
    page = (FOLDER / "sign-in.html").read_text(encoding="utf-8")
    content = page.replace("<!-- alert -->", UNKNOWN_KEY if refused else "")
    return Response(content, 401, headers=PAGE_HEADERS, media_type=TYPES[".html"])
