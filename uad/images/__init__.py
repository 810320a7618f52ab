"""Images: read and resize (`decoding`), grey or not (`colour`), list a folder's (`folders`)."""

from uad.images.colour import Colour, colour_of
from uad.images.decoding import (
    MAX_PIXELS,
    SUFFIXES,
    Header,
    Image,
    decode,
    decode_mask,
    fits_either_way,
    frames,
    header,
    is_flat,
    looks_like_mask,
    read,
    read_bytes,
    read_mask,
    resize,
)

__all__ = [
    "MAX_PIXELS",
    "SUFFIXES",
    "Colour",
    "Header",
    "Image",
    "colour_of",
    "decode",
    "decode_mask",
    "fits_either_way",
    "frames",
    "header",
    "is_flat",
    "looks_like_mask",
    "read",
    "read_bytes",
    "read_mask",
    "resize",
]
