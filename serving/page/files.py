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


def file_response(name: str, status: int = 200) -> Response:
    """One file of the page.

    Raises:
        RequestRefused: 404, there is no such file.
    """
    names = {file.name: file for file in FOLDER.iterdir() if file.suffix in TYPES}
    if name not in names:
        raise RequestRefused(404, "there is no such file")
    content = names[name].read_bytes()
    media_type = TYPES[names[name].suffix]
    return Response(content, status, headers=PAGE_HEADERS, media_type=media_type)
