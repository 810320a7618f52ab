"""Decode and resize: the one place, used by training, evaluation and serving alike.

Everywhere else an image is an (H, W, 3) uint8 array in BGR order, pixel values in [0, 255].
One rule for each kind of file, so that the same part gives the same pixels everywhere:

- The content decides what a file is, not its suffix: PNG, JPEG, BMP, TIFF, WebP, PGM and its kin,
  GIF, JPEG 2000 or AVIF.
- EXIF orientation is applied; (H, W) is always the upright size.
- 16 bits a channel become 8 by keeping the high byte: one fixed scale for all images, never
  stretched to an image's own range, so that exposures stay comparable. 32-bit and floating-point
  files have no such scale and are refused.
- Grey is repeated in three channels; 1-bit, palette and CMYK become colour.
- Transparency is composited over white, as viewers and JPEG exports show it.
- The first frame of a file with several is used; colour profiles are ignored.
- Truncated files are refused, never filled with grey.

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
from typing import Any

import cv2
import numpy as np
import PIL.Image
import PIL.TiffImagePlugin
from numpy.typing import NDArray
from PIL.Image import Transpose

from uad.errors import DataError, ImageError, ImageTooLargeError, UnsupportedImageError

Image = NDArray[np.uint8]

SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib", ".tif", ".tiff", ".webp",
    ".pgm", ".ppm", ".pnm", ".pbm", ".gif", ".jp2", ".j2k", ".avif",
)  # fmt: skip
MAX_JPEG_SCANS = 64
"""A progressive JPEG has about 10."""
_SCAN = b"\xff\xda"
MAX_PIXELS = 80_000_000
"""Default limit of height times width; 240 MB once decoded."""

_FORMATS = ("PNG", "JPEG", "BMP", "DIB", "TIFF", "WEBP", "PPM", "GIF", "JPEG2000", "AVIF")
_LOSSY = frozenset({"jpeg", "webp", "avif", "jp2"})
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
_PHOTOMETRIC = 262
_BITS_PER_SAMPLE, _SAMPLE_FORMAT = 258, 339
_FLOATING = 3
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
    """`png`, `jpeg`, `bmp`, `tiff`, `webp`, `pnm`, `gif`, `jp2` or `avif`."""
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
        if Path(path).is_fifo() and not str(path).startswith(("/dev/", "/proc/")):
            raise ImageError(f"{path} is a named pipe, not a file; name an image file")
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
            depth = "32-bit floating-point" if picture.mode == "F" else "32-bit"
            raise UnsupportedImageError(_no_scale(name, depth))
        return _to_bgr(_upright(_load(picture, data)), picture)


def header(data: bytes, *, name: str = "image", max_pixels: int = MAX_PIXELS) -> Header:
    """Format, size and depth, read without decoding; the same errors as `decode`."""
    with _opened(data, name, max_pixels) as picture:
        width, height = picture.size
        # Pillow has turned a TIFF's size already.
        sideways = _orientation(picture) >= 5 and _format(picture) != "tiff"
        size = (width, height) if sideways else (height, width)
        return Header(_format(picture), size, _bits(picture))


def frames(data: bytes, *, name: str = "image") -> int:
    """How many pictures a file holds, of which the first is used: pages, or frames of a film.

    The second picture of a phone's JPEG, a preview, does not count; nor does what is damaged.
    """
    with _opened(data, name, MAX_PIXELS) as picture:
        if _format(picture) == "jpeg":
            return 1
        try:
            return int(getattr(picture, "n_frames", 1))
        except _DAMAGED:
            return 1


def fits_either_way(data: bytes, *, name: str = "image") -> bool:
    """Whether EXIF turns or mirrors the picture, and it has the same size as before."""
    with _opened(data, name, MAX_PIXELS) as picture:
        turned = _orientation(picture)
        return turned != 1 and (turned < 5 or picture.size[0] == picture.size[1])


def read_mask(path: Path, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Read a defect mask that belongs to an image of `size` = (H, W); it is never resized.

    - A pixel is defective where the mask reaches half of its range (128 of 255).
    - A mask whose every pixel is below that holds small label numbers instead (0, 1, 2, ...):
      there any non-zero pixel is defective. Beside such numbers 255 means "ignore", as in
      PaddleSeg, and is not defective.
    - A palette counts by its colours. In a mask of several colours everything that is not the
      background is defective; the background is black, or white where nothing is black.
    - Transparent pixels of a mask are not defective.

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
        if upright.mode.startswith(("I", "F")):
            values = _deep(upright, picture)
            return np.asarray(values >= _limit(values, 0.5 * _full(values)), np.bool_)
        marked = _marked(upright, lossless=_format(picture) not in _LOSSY)
        if upright.has_transparency_data:
            marked &= np.asarray(upright.convert("RGBA"))[:, :, 3] >= 128
        return np.asarray(marked, np.bool_)


def looks_like_mask(path: Path) -> bool:
    """Whether a file holds what masks hold: a few flat colours, or one; False if it is broken."""
    try:
        image = read(path)
    except ImageError:
        return False
    return is_flat(image)


def is_flat(image: Image) -> bool:
    """Whether an image has at most 8 colours, or is black and white but for a few pixels.

    Photographs have noise, and with it hundreds of colours; masks have none. The second rule is for
    masks that were saved as JPEG.
    """
    step = max(1, image.shape[0] * image.shape[1] // 4096)
    return _is_flat(image.reshape(-1, 3)[::step]) and _is_flat(image.reshape(-1, 3))


def _is_flat(pixels: NDArray[np.uint8]) -> bool:
    """`pixels` is (N, 3)."""
    extreme = ((pixels <= 8) | (pixels >= 247)).all(axis=1)
    if extreme.mean() > 0.97:
        return True
    packed = pixels.astype(np.uint32) @ np.array([1, 256, 65536], np.uint32)
    return len(np.unique(packed)) <= 8


def resize(image: Image, size: tuple[int, int], interpolation: str = "area") -> Image:
    """Resize to `size` = (H, W); an image that already fits is returned as it is."""
    if image.shape[:2] == size:
        return image
    resized = cv2.resize(image, size[::-1], interpolation=_INTERPOLATIONS[interpolation])
    return np.asarray(resized, np.uint8)


def _marked(picture: PIL.Image.Image, *, lossless: bool) -> NDArray[np.bool_]:
    """Where a mask of 8 bits a channel marks a defect, (H, W) bool; transparency left aside."""
    colours = np.asarray(picture.convert("RGB"))
    bright, dim = colours.max(axis=2), colours.min(axis=2)
    ignored = np.zeros(bright.shape, np.bool_)
    if picture.mode == "P":
        index = np.asarray(picture)
        if bright.max(initial=0) == bright.min(initial=255):  # a palette of one colour says nothing
            return np.asarray(index != 0, np.bool_)
        ignored = index == 255
    coloured = lossless and bool((bright.astype(np.int16) - dim > 32).any())
    if coloured and bool((dim >= 224).any()) and not bool((bright < 32).any()):
        return np.asarray(dim < 224, np.bool_)
    if coloured and picture.mode == "P":
        marked = bright >= 32
        return np.asarray(marked & ~ignored if (marked & ~ignored).any() else marked, np.bool_)
    if lossless and not coloured and _are_labels(bright):
        return np.asarray((bright > 0) & (bright < 255), np.bool_)
    return np.asarray(bright >= _limit(bright, 128), np.bool_)


def _are_labels(values: NDArray[np.uint8]) -> bool:
    """Whether these are label numbers from 1 on beside 255, which then means `ignore`."""
    found = set(np.unique(values).tolist()) - {0}
    labels = found - {255}
    return 255 in found and bool(labels) and labels == set(range(1, len(labels) + 1))


def _limit(values: NDArray[Any], half: float) -> float:
    """Half of the range, or the smallest number above 0 where no value is that high."""
    return half if values.max(initial=0) >= half else np.nextafter(0, 1)


def _full(values: NDArray[Any]) -> float:
    """The largest value that the type stands for; floating-point masks end at 1 or at 255."""
    if values.dtype.kind == "f":
        return 1.0 if values.max(initial=0) <= 1 else 255.0
    return 65535.0


def _deep(upright: PIL.Image.Image, picture: PIL.Image.Image) -> NDArray[Any]:
    """16-bit values; a TIFF file that counts from white is turned, which Pillow leaves out."""
    values = np.asarray(upright)
    inverted = _format(picture) == "tiff" and _tag(picture, _PHOTOMETRIC) == 0
    return 65535 - values if inverted and upright.mode.startswith("I;16") else values


def _tag(picture: PIL.Image.Image, tag: int) -> object:
    return getattr(picture, "tag_v2", {}).get(tag)


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
        if not data:
            raise ImageError(f"{name} is empty; copy it again or leave it out") from exc
        if (depth := _tiff_depth(data)) is not None:
            raise UnsupportedImageError(_no_scale(name, depth)) from exc
        raise ImageError(f"{name} is not a readable image; re-export it as PNG or JPEG") from exc
    except _DAMAGED as exc:
        raise ImageError(
            f"{name} is damaged or truncated ({exc}); copy it again or leave it out"
        ) from exc


def _no_scale(name: str, depth: str) -> str:
    return (
        f"{name} holds {depth} values, and nothing says which value is black and which is white; "
        "export it as 8 or 16 bit"
    )


def _tiff_depth(data: bytes) -> str | None:
    """`64-bit` or `floating-point` of a TIFF file that Pillow has no mode for; None of others."""
    if data[:4] not in (b"II*\0", b"MM\0*"):
        return None
    stream = io.BytesIO(data)
    tags = PIL.TiffImagePlugin.ImageFileDirectory_v2(stream.read(8))
    try:
        stream.seek(tags.next)
        tags.load(stream)
    except _DAMAGED:
        return None
    bits = max((int(b) for b in tags.get(_BITS_PER_SAMPLE, (1,))), default=1)
    if _FLOATING in tags.get(_SAMPLE_FORMAT, ()):
        return f"{bits}-bit floating-point"
    return f"{bits}-bit" if bits > 16 else None


def _load(picture: PIL.Image.Image, data: bytes) -> PIL.Image.Image:
    if _format(picture) == "jpeg":
        if not _jpeg_ends(data):
            raise OSError("no end-of-image marker")
        _refuse_many_scans(data)
    picture.load()
    return picture


def _refuse_many_scans(data: bytes) -> None:
    """Refuse a JPEG that would take minutes: each of its scans goes over the whole image.

    In compressed data the marker of a scan cannot occur by chance. Before the first scan it can,
    in a thumbnail; so can it after the end, in a second image. Both have few.
    """
    scans = data.count(_SCAN)
    if scans > MAX_JPEG_SCANS:
        raise UnsupportedImageError(
            f"the image is a JPEG with {scans} scans, more than the limit of {MAX_JPEG_SCANS}; "
            "save it as an ordinary (baseline) JPEG or as PNG"
        )


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


def _to_bgr(picture: PIL.Image.Image, source: PIL.Image.Image) -> Image:
    if picture.mode.startswith("I"):
        grey = (_deep(picture, source) >> 8).astype(np.uint8)
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
    return {"mpo": "jpeg", "dib": "bmp", "ppm": "pnm", "jpeg2000": "jp2"}.get(name, name)


def _bits(picture: PIL.Image.Image) -> int:
    if picture.mode == "1":
        return 1
    if picture.mode == "I" and picture.format == "PPM":
        return 16  # Pillow scales any range above 255 to 16 bits
    if picture.mode in ("I", "F"):
        return 32
    tiles = getattr(picture, "tile", ())
    raw = " ".join(str(tile[3]) for tile in tiles)
    return 16 if picture.mode.startswith("I;16") or ";16" in raw else 8
