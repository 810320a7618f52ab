"""Who is refused again and again costs no memory."""

from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.requests import Request

from serving.api.access import AccessSettings, new_key, open_access
from serving.api.requests import parse_multipart
from serving.url_input.policy import UrlInput, checked_url
from uad.errors import RequestRefused


def without_a_key(folder: Path) -> None:
    keys = folder / "keys.txt"
    keys.write_text(new_key("line4")[1])
    open_access(AccessSettings(keys=keys)).admit(Request({"type": "http", "headers": []}))


@pytest.mark.parametrize(
    "refuse",
    [
        without_a_key,
        lambda _: parse_multipart(b"", "multipart/form-data; boundary=b"),
        lambda _: checked_url("ftp://example.com/a.png", UrlInput()),
    ],
    ids=["no key", "broken form", "forbidden URL"],
)
def test_a_refusal_keeps_nothing_of_those_before_it(
    refuse: Callable[[Path], object], tmp_path: Path
) -> None:
    assert frames(refuse, tmp_path) == frames(refuse, tmp_path)


def frames(refuse: Callable[[Path], object], folder: Path) -> int:
    """How many frames the exception holds on to."""
    with pytest.raises(RequestRefused) as caught:
        refuse(folder)
    return len(caught.traceback)
