"""Decode and resize: the one place, used by training, evaluation and serving alike.

Everywhere else an image is an (H, W, 3) uint8 array in BGR order, pixel values in [0, 255].
"""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from uad.errors import ImageError

Image = NDArray[np.uint8]

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")

_INTERPOLATIONS = {"area": cv2.INTER_AREA, "linear": cv2.INTER_LINEAR, "cubic": cv2.INTER_CUBIC}


def read(path: Path) -> Image:
    """Decode the file at `path`; see `decode`."""
    try:
        data = Path(path).read_bytes()
    except OSError as exc:
        raise ImageError(f"cannot read {path}: {exc.strerror or exc}") from exc
    return decode(data, name=str(path))


def decode(data: bytes, *, name: str = "image") -> Image:
    """Decode an encoded image to (H, W, 3) uint8 BGR, EXIF orientation applied."""
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if image is None:
        raise ImageError(f"{name} is not a readable image; re-export it as PNG or JPEG")
    return np.asarray(image, np.uint8)


def resize(image: Image, size: tuple[int, int], interpolation: str = "area") -> Image:
    """Resize to `size` = (H, W); an image that already fits is returned as it is."""
    if image.shape[:2] == size:
        return image
    resized = cv2.resize(image, size[::-1], interpolation=_INTERPOLATIONS[interpolation])
    return np.asarray(resized, np.uint8)
