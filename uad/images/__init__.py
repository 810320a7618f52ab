"""Read images: decode, resize, read masks (`decoding`); list the images of a folder (`folders`)."""

from uad.images.decoding import (
    MAX_PIXELS,
    SUFFIXES,
    Header,
    Image,
    decode,
    decode_mask,
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
    "Header",
    "Image",
    "decode",
    "decode_mask",
    "header",
    "is_flat",
    "looks_like_mask",
    "read",
    "read_bytes",
    "read_mask",
    "resize",
]
