"""Parts of the image that are ignored, or have a false alarm rate of their own.

An area is one outer polygon and the holes in it. Corners are fractions of the image's width and
height, so an area fits images of any size. What lies in an area to ignore is painted over in one
colour before the network sees it, in training, calibration, evaluation and serving alike: no part
of the detector can depend on it. The areas of a `Zone` are seen like the rest of the image and have
a threshold of their own.
"""

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from uad.config import InputSpec, TrainingConfig
from uad.config.training import Areas, Zones
from uad.images import Image, resize

Mask = NDArray[np.uint8]

_SHIFT = 8
"""Corners are drawn at 1/256 of a pixel."""


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


@lru_cache(maxsize=32)
def zone_numbers(zones: Zones, ignore: Areas, size: tuple[int, int]) -> NDArray[np.uint16]:
    """(H, W): 1 in the first zone, 2 in the second, ..., 0 elsewhere. Not to be written to."""
    numbers = np.zeros(size, np.uint16)
    for number, zone in reversed(list(enumerate(zones, start=1))):
        numbers[ignored(zone.areas, size) > 0] = number
    numbers[ignored(ignore, size) > 0] = 0
    numbers.flags.writeable = False
    return numbers


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
    """A copy with the ignored areas in a neutral colour for the network."""
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


def share(areas: Areas) -> float:
    """Which share of the image the areas cover."""
    return float(np.count_nonzero(ignored(areas, (512, 512)))) / 512**2


def described(areas: Areas, zones: Zones = ()) -> str:
    """`2 ignored, 12.5 % of the image; logo, alpha 0.02, 3.1 % of the image`, or `none`."""
    told = [f"{len(areas)} ignored, {100 * share(areas):.1f} % of the image"] if areas else []
    told += [
        f"{zone.name}, alpha {zone.alpha:g}, {100 * share(zone.areas):.1f} % of the image"
        for zone in zones
    ]
    return "; ".join(told) or "none"
