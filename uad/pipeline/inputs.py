"""The inputs of a pipeline as a stream of images: arrays, files, folders, URLs, lists of them."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import cv2
import httpx
import numpy as np
from numpy.typing import NDArray

from uad.errors import DataError, ImageError
from uad.images import Image, decode, frames, read_bytes
from uad.images.folders import list_files, no_images, told_unreadable, without_results
from uad.network import http_client

log = logging.getLogger(__name__)

KEYS = ("img", "input")
MAX_URL_BYTES = 64 * 2**20
MAX_URL_SECONDS = 30.0
MAX_REDIRECTS = 5


@dataclass(frozen=True)
class InputImage:
    """One image, not read yet."""

    path: str | None
    """As the caller wrote it, or found in a folder; None for an array."""
    stem: str
    """What files about it are called."""
    suffix: str
    """Of the picture that is saved of it, with the dot."""
    load: Callable[[], Image]
    """(H, W, 3) uint8 BGR; ImageError if it is not an image."""


def items(value: Any) -> Iterator[InputImage]:
    """All images that `value` stands for, in its order; folders sorted, with their subfolders.

    Raises:
        DataError: a folder without images, or a value that is not an image.
        ImageError: a file that is not there.
    """
    if isinstance(value, np.ndarray):
        yield InputImage(None, "image", ".png", partial(from_array, value))
    elif isinstance(value, (str, Path)):
        yield from _named(value)
    elif isinstance(value, Mapping):
        yield from items(_unwrapped(value))
    elif isinstance(value, Iterable) and not isinstance(value, (bytes, bytearray)):
        for part in value:
            yield from items(part)
    else:
        raise DataError(
            f"A {type(value).__name__} is not an image. Give a BGR array, a path, a folder, a "
            "URL, a dict with 'img' or 'input', or a list of these."
        )


def from_array(array: NDArray[Any], *, name: str = "the array") -> Image:
    """A copy of an array as (H, W, 3) uint8 BGR, by the same rules as a file of its kind.

    A camera may fill its buffer with the next picture while this one waits in a batch or a result.

    Args:
        array: (H, W), (H, W, 1), (H, W, 3) BGR or (H, W, 4) BGRA; uint8, or uint16 of full range.
        name: what errors call it.

    Raises:
        ImageError: another shape or type, or no pixels.
    """
    if array.dtype not in (np.uint8, np.uint16):
        raise ImageError(
            f"{name} holds {array.dtype}: scale it to [0, 255] and convert it to uint8"
        )
    flat = array.ndim == 2
    if not array.size or not (flat or (array.ndim == 3 and array.shape[2] in (1, 3, 4))):
        raise ImageError(
            f"{name} has shape {array.shape}: an image is (H, W), (H, W, 3) or (H, W, 4)"
        )
    if array.dtype == np.uint8 and not flat and array.shape[2] == 3:
        return np.array(array, order="C", subok=False)
    done, png = cv2.imencode(".png", array, [cv2.IMWRITE_PNG_COMPRESSION, 0])
    if not done:
        raise ImageError(f"{name} of shape {array.shape} cannot be converted to colour")
    return decode(png.tobytes(), name=name)


def download(
    url: str, *, max_bytes: int = MAX_URL_BYTES, max_seconds: float = MAX_URL_SECONDS
) -> bytes:
    """The content at a URL that the user typed.

    Raises:
        ImageError: it cannot be had, or not within the limits of bytes, time and redirects.
    """
    deadline = time.monotonic() + max_seconds
    content = bytearray()
    try:
        with (
            http_client(follow_redirects=True, max_redirects=MAX_REDIRECTS, timeout=10) as client,
            client.stream("GET", url) as response,
        ):
            response.raise_for_status()
            for chunk in response.iter_bytes():
                content += chunk
                if len(content) > max_bytes:
                    raise ImageError(
                        f"{url} is larger than {max_bytes} bytes: fetch it and give the file"
                    )
                if time.monotonic() > deadline:
                    raise ImageError(
                        f"{url} took longer than {max_seconds:g} s: fetch it and give the file"
                    )
    except (httpx.HTTPError, httpx.InvalidURL) as exc:
        reason = str(exc).partition("\n")[0] or type(exc).__name__
        raise ImageError(f"cannot fetch {url}: {reason}; check the address") from exc
    return bytes(content)


def _fetch(url: str) -> Image:
    return _decoded(download(url), url)


def _read(path: Path) -> Image:
    return _decoded(read_bytes(path), str(path))


def _decoded(data: bytes, name: str) -> Image:
    image = decode(data, name=name)
    if (count := frames(data, name=name)) > 1:
        log.warning("%s holds %d pictures. Only the first is judged.", name, count)
    return image


def _unwrapped(value: Mapping[Any, Any]) -> Any:
    for key in KEYS:
        if key in value:
            return value[key]
    raise DataError(
        f"a dict needs the key 'img' or 'input'; this one has {sorted(map(str, value))}"
    )


def _named(value: str | Path) -> Iterator[InputImage]:
    text = str(value)
    if text.lower().startswith(("http://", "https://")):
        name = Path(unquote(urlsplit(text).path))
        yield _item(text, name, partial(_fetch, text))
    elif Path(text).is_dir():
        yield from _folder(Path(text))
    else:
        yield _item(text, Path(text), partial(_read, Path(text)))


def _folder(folder: Path) -> Iterator[InputImage]:
    files = list_files(folder)
    if not files.images:
        raise DataError(no_images(folder, files))
    if unreadable := told_unreadable(files):
        log.warning("%s: %s", folder, unreadable)
    images = without_results(files).images
    if made := len(files.images) - len(images):
        log.warning("%s: %d pictures that an earlier run wrote are left out", folder, made)
    for path in images:
        yield _item(str(path), path, partial(_read, path))


def _item(text: str, path: Path, load: Callable[[], Image]) -> InputImage:
    suffix = path.suffix.lower()
    writable = suffix in (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
    return InputImage(text, path.stem or "image", suffix if writable else ".png", load)


Batch = list[tuple[InputImage, Image]]


def batches(
    stream: Iterator[InputImage], size: int, on_bad_image: Callable[[ImageError], None] | None
) -> Iterator[tuple[Batch, DataError | None]]:
    """Full batches and a ragged last one; an error comes with the images before it.

    Args:
        stream: the images, not read yet.
        size: of a full batch.
        on_bad_image: is told of an image that cannot be read, which is left out; without it, the
            first such image ends the stream.
    """
    batch: Batch = []
    try:
        for item in stream:
            try:
                batch.append((item, item.load()))
            except ImageError as exc:
                exc.image = item.path
                if on_bad_image is None:
                    raise
                on_bad_image(exc)
            if len(batch) == size:
                yield batch, None
                batch = []
    except DataError as exc:
        yield batch, exc
        return
    yield batch, None
