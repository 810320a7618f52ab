"""Decode and resize: the one place, used by training, evaluation and serving alike.

Everywhere else an image is an (H, W, 3) uint8 array in BGR order, pixel values in [0, 255].
One rule for each kind of file, so that the same part gives the same pixels everywhere:

- The content decides what a file is, not its suffix: PNG, JPEG, BMP, TIFF or WebP.
- EXIF orientation is applied; (H, W) is always the upright size.
- 16 bits a channel become 8 by keeping the high byte: one fixed scale for all images, never
  stretched to an image's own range, so that exposures stay comparable. 32-bit and floating-point
  files have no such scale and are refused.
- Grey is repeated in three channels; 1-bit, palette and CMYK become colour.
- Transparency is composited over white, as viewers and JPEG exports show it.
- The first frame of a file with several is used; colour profiles are ignored.
- Half an image is no image: truncated files are refused, never filled with grey.

Pillow decodes and OpenCV only resizes, so OPENCV_IO_MAX_IMAGE_PIXELS has no say here; the size is
read from the header and checked against `max_pixels` before any pixel is decoded.
"""

import io
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
from numpy.typing import NDArray
from PIL.Image import Transpose

from uad.errors import DataError, ImageError, ImageTooLargeError

Image = NDArray[np.uint8]

SUFFIXES = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib", ".tif", ".tiff", ".webp")
MAX_PIXELS = 80_000_000
"""Default limit of height times width; 240 MB once decoded."""

_FORMATS = ("PNG", "JPEG", "BMP", "DIB", "TIFF", "WEBP")
_INTERPOLATIONS = {"area": cv2.INTER_AREA, "linear": cv2.INTER_LINEAR, "cubic": cv2.INTER_CUBIC}
_UPRIGHT = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
_ORIENTATION = 0x0112
_TOO_LARGE = (PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning)
# What Pillow's parsers raise on damaged bytes, besides OSError.
_DAMAGED = (
    OSError, SyntaxError, ValueError, TypeError, LookupError, AttributeError, EOFError,
    ArithmeticError, MemoryError, struct.error, zlib.error,
)  # fmt: skip


@dataclass(frozen=True)
class Header:
    """What a file says about itself before it is decoded."""

    format: str
    """`png`, `jpeg`, `bmp`, `tiff` or `webp`."""
    size: tuple[int, int]
    """(H, W) as displayed."""
    bits: int
    """Per channel: 1, 8, 16 or 32."""


def read(path: Path, *, max_pixels: int = MAX_PIXELS) -> Image:
    """Decode the file at `path`; see `decode`."""
    return decode(read_bytes(path), name=str(path), max_pixels=max_pixels)


def read_bytes(path: Path) -> bytes:
    """The file's bytes; an unreadable file is an ImageError."""
    try:
        return Path(path).read_bytes()
    except OSError as exc:
        raise ImageError(
            f"cannot read {path}: {exc.strerror or exc}; check the path and its permissions"
        ) from exc


def decode(data: bytes, *, name: str = "image", max_pixels: int = MAX_PIXELS) -> Image:
    """Decode an encoded image by the module's rules.

    Args:
        data: the file's content.
        name: what errors call it.
        max_pixels: limit of H * W, checked before decoding.

    Returns:
        (H, W, 3) uint8 BGR.

    Raises:
        ImageError: not one of the formats, damaged, truncated, too large, or 32-bit.
    """
    with _opened(data, name, max_pixels) as picture:
        if _bits(picture) == 32:
            raise ImageError(
                f"{name} holds 32-bit values, which have no fixed scale; export it as 8 or 16 bit"
            )
        return _to_bgr(_upright(_load(picture, data)))


def header(data: bytes, *, name: str = "image", max_pixels: int = MAX_PIXELS) -> Header:
    """Format, size and depth, read without decoding; the same errors as `decode`."""
    with _opened(data, name, max_pixels) as picture:
        width, height = picture.size
        # Pillow has turned a TIFF's size already.
        sideways = _orientation(picture) >= 5 and _format(picture) != "tiff"
        size = (width, height) if sideways else (height, width)
        return Header(_format(picture), size, _bits(picture))


def read_mask(path: Path, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Read a defect mask that belongs to an image of `size` = (H, W); it is never resized.

    A pixel is defective where the mask reaches half of its range (128 of 255). A mask whose every
    pixel is below that holds small label numbers instead (0, 1, 2, ...): there any non-zero pixel
    is defective. A palette mask is read by its indices.

    Returns:
        (H, W) bool, True where defective.

    Raises:
        ImageError: the mask cannot be decoded.
        DataError: the mask is not of the image's size.
    """
    mask = decode_mask(read_bytes(path), name=str(path))
    if mask.shape != tuple(size):
        raise DataError(
            f"mask {path} is {mask.shape[0]}x{mask.shape[1]} but its image is {size[0]}x{size[1]} "
            "(height x width); export the mask at the image's own size"
        )
    return mask


def decode_mask(
    data: bytes, *, name: str = "mask", max_pixels: int = MAX_PIXELS
) -> NDArray[np.bool_]:
    """Decode a defect mask to (H, W) bool at its own size; see `read_mask`."""
    with _opened(data, name, max_pixels) as picture:
        upright = _upright(_load(picture, data))
        if upright.mode in ("1", "P"):
            return np.asarray(np.not_equal(np.asarray(upright), 0), np.bool_)
        deep = upright.mode.startswith("I")
        values = np.asarray(upright if deep else upright.convert("RGB").convert("L"))
        half = 1 << (15 if deep else 7)
        limit = half if values.max(initial=0) >= half else 1
        return np.asarray(np.greater_equal(values, limit), np.bool_)


def resize(image: Image, size: tuple[int, int], interpolation: str = "area") -> Image:
    """Resize to `size` = (H, W); an image that already fits is returned as it is."""
    if image.shape[:2] == size:
        return image
    resized = cv2.resize(image, size[::-1], interpolation=_INTERPOLATIONS[interpolation])
    return np.asarray(resized, np.uint8)


@contextmanager
def _opened(data: bytes, name: str, max_pixels: int) -> Iterator[PIL.Image.Image]:
    """Header read, size checked; whatever goes wrong inside becomes an ImageError by `name`."""
    try:
        with PIL.Image.open(io.BytesIO(data), formats=_FORMATS) as picture:
            width, height = picture.size
            if width * height > max_pixels:
                raise ImageTooLargeError(
                    f"{name} is {width}x{height} pixels, more than the limit of {max_pixels}; "
                    "make it smaller before uploading or ingesting it"
                )
            yield picture
    except ImageError:
        raise
    except _TOO_LARGE as exc:
        raise ImageTooLargeError(
            f"{name} has too many pixels (limit {max_pixels}); make it smaller"
        ) from exc
    except PIL.UnidentifiedImageError as exc:
        raise ImageError(f"{name} is not a readable image; re-export it as PNG or JPEG") from exc
    except _DAMAGED as exc:
        raise ImageError(
            f"{name} is damaged or truncated ({exc}); copy it again or leave it out"
        ) from exc


def _load(picture: PIL.Image.Image, data: bytes) -> PIL.Image.Image:
    if _format(picture) == "jpeg" and not _jpeg_ends(data):
        raise OSError("no end-of-image marker")
    picture.load()
    return picture


def _jpeg_ends(data: bytes) -> bool:
    """Whether the compressed data is closed by an end marker.

    libjpeg decodes a file whose tail is zeros (an interrupted write) to flat blocks without a word.
    """
    position = 2
    while position + 4 <= len(data):
        marker, length = data[position : position + 2], data[position + 2 : position + 4]
        if marker[0] != 0xFF or marker[1] in (0xFF, 0xDA):
            break
        position += 2 + int.from_bytes(length, "big")
    return data.find(b"\xff\xd9", position) >= 0


def _upright(picture: PIL.Image.Image) -> PIL.Image.Image:
    method = _UPRIGHT.get(_orientation(picture))
    return picture if method is None else picture.transpose(method)


def _orientation(picture: PIL.Image.Image) -> int:
    """1 to 8; a damaged EXIF block says nothing about the pixels and counts as upright."""
    try:
        # The base class's method: the one of PNG files decodes all pixels first.
        value = PIL.Image.Image.getexif(picture).get(_ORIENTATION, 1)
    except _DAMAGED:
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _to_bgr(picture: PIL.Image.Image) -> Image:
    if picture.mode.startswith("I;16"):
        grey = (np.asarray(picture) >> 8).astype(np.uint8)
        return np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR), np.uint8)
    colour = np.asarray(_opaque(picture).convert("RGB"))
    return np.asarray(cv2.cvtColor(colour, cv2.COLOR_RGB2BGR), np.uint8)


def _opaque(picture: PIL.Image.Image) -> PIL.Image.Image:
    if not picture.has_transparency_data:
        return picture
    colour = picture.convert("RGBA")
    white = PIL.Image.new("RGBA", colour.size, "white")
    return PIL.Image.alpha_composite(white, colour)


def _format(picture: PIL.Image.Image) -> str:
    name = (picture.format or "").lower()
    return {"mpo": "jpeg", "dib": "bmp"}.get(name, name)


def _bits(picture: PIL.Image.Image) -> int:
    if picture.mode == "1":
        return 1
    if picture.mode in ("I", "F"):
        return 32
    tiles = getattr(picture, "tile", ())
    raw = " ".join(str(tile[3]) for tile in tiles)
    return 16 if picture.mode.startswith("I;16") or ";16" in raw else 8
