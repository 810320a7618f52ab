"""Regions of the image to ignore: glare on a tray, a date stamp, the background.

An area is one outer polygon and the holes in it. Corners are fractions of the image's width and
height, so an area fits images of any size. What lies in an area is painted over in one colour
before the network sees it, in training, calibration, evaluation and serving alike: no part of the
detector can depend on it.
"""

import math
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from uad.config import InputSpec, TrainingConfig
from uad.config.loading import read_yaml
from uad.config.training import Area, Areas
from uad.errors import ConfigError
from uad.images import Image, decode_mask, read_bytes, resize

Mask = NDArray[np.uint8]

ASPECT_TOLERANCE = 0.02
"""How much the shape of a mask may differ from the images', as a ratio."""
_SHIFT = 8
"""Corners are drawn at 1/256 of a pixel."""
_KEYS = ("ignore", "size")


@lru_cache(maxsize=32)
def ignored(areas: Areas, size: tuple[int, int]) -> Mask:
    """(H, W) uint8: 255 in the areas, else 0. Not to be written to."""
    height, width = size
    mask = np.zeros(size, np.uint8)
    scale = np.asarray([width, height], np.float64)
    for area in areas:
        corners = [
            np.round((np.asarray(polygon) * scale - 0.5) * 2**_SHIFT).astype(np.int32)
            for polygon in area
        ]
        own = np.zeros(size, np.uint8)  # polygons of one area alternate: a hole in an outer one
        cv2.fillPoly(own, corners, 255, shift=_SHIFT)
        mask |= own
    mask.flags.writeable = False
    return mask


def prepared(image: Image, spec: InputSpec) -> Image:
    """What the network sees of an image: its ignored areas painted over, at the input size.

    Args:
        image: (H, W, 3) uint8 BGR of any size; not changed.
        spec: of the model.

    Returns:
        (spec.height, spec.width, 3) uint8 BGR.
    """
    if spec.ignore:
        image = painted_over(image, spec)
    return resize(image, (spec.height, spec.width), spec.interpolation)


def painted_over(image: Image, spec: InputSpec) -> Image:
    """A copy with the ignored areas in the colour that the network takes for nothing."""
    mask = ignored(spec.ignore, (image.shape[0], image.shape[1]))
    colour = [round(255 * value) for value in reversed(spec.mean)]  # BGR
    painted = image.copy()
    painted[mask > 0] = colour
    return painted


def with_zones(config: TrainingConfig, areas: Areas) -> TrainingConfig:
    """The settings of a training on a dataset with these areas; its own stay if it has none."""
    if not areas:
        return config
    return config.model_copy(update={"input": config.input.model_copy(update={"ignore": areas})})


def read_areas(file: Path, images: Sequence[tuple[int, int]]) -> Areas:
    """The areas that a file holds.

    Args:
        file: a YAML file with polygons (`ignore: [[[x, y], ...], ...]`), or a mask: a picture that
            is white where the image is to be ignored.
        images: (H, W) of the images that the areas are for.

    Raises:
        ConfigError: the file holds no area, an impossible one, leaves nothing to look at, or was
            drawn on images of another shape.
        ImageError: the mask cannot be read.
    """
    if file.suffix.lower() in (".yaml", ".yml"):
        areas = _from_yaml(file, images)
    else:
        areas = _from_mask(file, images)
    if not areas:
        raise ConfigError(
            f"{file} holds no region to ignore. Paint it white in a mask, or draw a polygon. To "
            "look at the whole image again use --clear."
        )
    if ignored(areas, (256, 256)).all():
        raise ConfigError(f"{file} ignores the whole image. Leave a part to look at.")
    return areas


def share(areas: Areas) -> float:
    """Which share of the image the areas cover."""
    return float(np.count_nonzero(ignored(areas, (512, 512)))) / 512**2


def described(areas: Areas) -> str:
    """`2 ignored, 12.5 % of the image`, or `none`."""
    return f"{len(areas)} ignored, {100 * share(areas):.1f} % of the image" if areas else "none"


def _from_mask(file: Path, images: Sequence[tuple[int, int]]) -> Areas:
    white = decode_mask(read_bytes(file), name=str(file)).view(np.uint8)
    height, width = white.shape
    _check_shape(file, (height, width), images)
    contours, tree = cv2.findContours(white, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    if not contours:
        return ()
    size = np.asarray([width, height], np.float64)
    finest = max(height, width) / 2000
    polygons = [_fractions(cv2.approxPolyDP(one, finest, closed=True), size) for one in contours]
    parents = [int(row[3]) for row in np.asarray(tree)[0]]
    return tuple(
        (outer, *(polygons[hole] for hole, parent in enumerate(parents) if parent == index))
        for index, outer in enumerate(polygons)
        if parents[index] < 0
    )


def _fractions(contour: Any, size: NDArray[np.float64]) -> tuple[tuple[float, float], ...]:
    corners = np.clip((np.asarray(contour).reshape(-1, 2) + 0.5) / size, 0.0, 1.0)
    found = [(round(float(x), 5), round(float(y), 5)) for x, y in corners]
    return tuple(found * 3 if len(found) == 1 else found + found[:1] if len(found) == 2 else found)


def _from_yaml(file: Path, images: Sequence[tuple[int, int]]) -> Areas:
    values = read_yaml(file)
    if unknown := sorted(set(values) - set(_KEYS)):
        raise ConfigError(
            f"{file}: unknown key '{unknown[0]}'. Known are: ignore (polygons) and size ([width, "
            "height] of the image they were drawn on; optional)."
        )
    if "size" in values:
        _check_shape(file, _size(file, values["size"]), images)
    polygons = values.get("ignore") or []
    if not isinstance(polygons, list):
        raise ConfigError(f"{file}: 'ignore' must be a list of polygons")
    return tuple(_area(file, number, one) for number, one in enumerate(polygons, start=1))


def _area(file: Path, number: int, polygon: Any) -> Area:
    where = f"{file}: polygon {number}"
    if not isinstance(polygon, list) or len(polygon) < 3:
        raise ConfigError(f"{where} needs three corners or more: [[x, y], [x, y], [x, y]]")
    corners = []
    for corner in polygon:
        usable = isinstance(corner, list) and len(corner) == 2 and all(map(_is_number, corner))
        if not usable:
            raise ConfigError(f"{where}: a corner is two numbers, [x, y], not {corner!r}")
        x, y = (float(value) for value in corner)
        if not (0 <= x <= 1 and 0 <= y <= 1):
            raise ConfigError(
                f"{where}: the corner [{x:g}, {y:g}] lies outside of the image. Corners are "
                "fractions of its width and height: divide pixels by the image's size."
            )
        corners.append((x, y))
    if len(set(corners)) < 3:
        raise ConfigError(f"{where} needs three different corners or more")
    return (tuple(corners),)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _size(file: Path, value: Any) -> tuple[int, int]:
    if isinstance(value, list) and len(value) == 2 and all(type(each) is int for each in value):
        width, height = value
        if width > 0 and height > 0:
            return height, width
    raise ConfigError(f"{file}: 'size' must be [width, height] in pixels, not {value!r}")


def _check_shape(file: Path, size: tuple[int, int], images: Sequence[tuple[int, int]]) -> None:
    """Refuse what was drawn on images of another shape than most of these."""
    if not images:
        return
    (height, width), _ = Counter(images).most_common(1)[0]
    ratio = (size[1] / size[0]) / (width / height)
    if not 1 / (1 + ASPECT_TOLERANCE) <= ratio <= 1 + ASPECT_TOLERANCE:
        raise ConfigError(
            f"{file} is {size[1]} x {size[0]} pixels (width x height), but the images are {width} "
            f"x {height}, which is another shape. Draw it on one of these images."
        )
