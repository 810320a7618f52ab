"""Read the image of a request: its size and format are checked before it is decoded."""

import base64
import binascii
import re
from collections.abc import Iterator
from contextlib import contextmanager

from serving.settings import Limits
from uad.errors import ImageError, ImageTooLargeError, RequestRefused, UnsupportedImageError
from uad.images import Image, decode, header

_URL = re.compile(r"[a-z][a-z0-9+.-]*:[/\\]", re.IGNORECASE)
_DATA = re.compile(r"\s*data:[\w/+.-]*(?:;[\w=.+-]+)*;base64,", re.IGNORECASE)
_KNOWN = re.compile(rb"\x89PNG\r\n\x1a\n|\xff\xd8\xff|BM|II[*+]\0|MM\0[*+]|RIFF....WEBP", re.DOTALL)
"""The first bytes of PNG, JPEG, BMP, TIFF and WebP files."""


def is_url(text: str) -> bool:
    """Whether `text` names a place instead of being base64."""
    return _URL.match(text.lstrip()[:64]) is not None


def from_base64(text: str) -> bytes:
    """The bytes of an image sent as base64; a `data:` prefix and line breaks are tolerated."""
    prefix = _DATA.match(text[:256])
    if prefix:
        text = text[prefix.end() :]
    try:
        return base64.b64decode("".join(text.split()).encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError) as exc:
        raise RequestRefused(
            400, "'image' is not valid base64; encode the bytes of the image file"
        ) from exc


def known_size(data: bytes, limits: Limits) -> tuple[int, int]:
    """(H, W) of an image file, from its first bytes; nothing is decoded.

    Raises:
        RequestRefused: 400 not an image or damaged, 413 too many pixels, 415 another format.
    """
    if not _KNOWN.match(data):
        raise RequestRefused(415, "'image' is not a PNG, JPEG, BMP, TIFF or WebP file")
    with _errors_in_our_words(limits):
        size = header(data, name="the image", max_pixels=limits.pixels).size
    if max(size) > limits.side_px:
        raise RequestRefused(
            413,
            f"the image is {size[1]} x {size[0]} pixels; no side may be longer than "
            f"{limits.side_px}: cut it into pieces",
        )
    return size


def decoded(data: bytes, limits: Limits) -> Image:
    """Decode an image file whose size is known to be within the limits.

    Returns:
        (H, W, 3) uint8 BGR.

    Raises:
        RequestRefused: 400 it is damaged, or of a kind that cannot be read; with the cure.
    """
    with _errors_in_our_words(limits):
        return decode(data, name="the image", max_pixels=limits.pixels)


@contextmanager
def _errors_in_our_words(limits: Limits) -> Iterator[None]:
    try:
        yield
    except ImageTooLargeError as exc:
        raise RequestRefused(
            413, f"the image has more than {limits.pixels} pixels, the limit of this server"
        ) from exc
    except UnsupportedImageError as exc:
        raise RequestRefused(400, str(exc)) from exc
    except ImageError as exc:
        raise RequestRefused(400, "the image is damaged or incomplete; export it again") from exc
