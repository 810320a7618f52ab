"""Zones as people draw them: a mask, or a YAML file with polygons.

size: [1280, 960]                # of the image they were drawn on; optional
ignore:                          # not looked at
- [[0, 0], [0.2, 0], [0.2, 0.1]]
zones:                           # with a false alarm rate of their own
- name: logo
alpha: 0.02
polygons:
- [[0.4, 0.4], [0.6, 0.4], [0.6, 0.6], [0.4, 0.6]]
"""

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from uad.config.loading import read_yaml
from uad.config.training import Area, Areas, Zone, Zones
from uad.errors import ConfigError
from uad.images import decode_mask, read_bytes
from uad.scoring.zones import ignored, zone_numbers

ASPECT_TOLERANCE = 0.02
"""How much the shape of a mask may differ from the images', as a ratio."""
_KEYS = ("ignore", "zones", "size")
_ZONE_KEYS = {"name", "alpha", "polygons"}
_GRID = (256, 256)
"""On which it is looked at whether zones leave something over."""


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
    if _is_yaml(file):
        areas, zones = _from_yaml(file, images)
        if zones:
            raise ConfigError(
                f"{file} also has zones with their own alpha. Use --file instead of --ignore."
            )
    else:
        areas = _from_mask(file, images)
    if not areas:
        raise ConfigError(
            f"{file} holds no region to ignore. Paint it white in a mask, or draw a polygon. To "
            "look at the whole image again use --clear."
        )
    _refuse_all_ignored(file, areas)
    return areas


def read_zones(file: Path, images: Sequence[tuple[int, int]]) -> tuple[Areas, Zones]:
    """All that a YAML file holds: the areas to ignore, and the zones with an alpha of their own.

    Raises:
        ConfigError: as `read_areas`; or a zone has nothing to look at, or nothing is left outside.
    """
    if not _is_yaml(file):
        raise ConfigError(
            f"{file} is not a YAML file. A mask of regions to ignore is for --ignore."
        )
    areas, zones = _from_yaml(file, images)
    if not areas and not zones:
        raise ConfigError(
            f"{file} has neither 'ignore' nor 'zones'. To remove all zones use --clear."
        )
    _refuse_all_ignored(file, areas)
    numbers = zone_numbers(zones, areas, _GRID)
    for number, zone in enumerate(zones, start=1):
        if not (numbers == number).any():
            raise ConfigError(
                f"{file}: the zone {zone.name} is empty: it is too small, or ignored regions or "
                "zones before it cover it. Draw it larger, or remove it."
            )
    if zones and not ((numbers == 0) & (ignored(areas, _GRID) == 0)).any():
        raise ConfigError(
            f"{file}: the zones cover the whole image. Leave a part outside of them. It gets the "
            "rest of the image's alpha."
        )
    return areas, zones


def _is_yaml(file: Path) -> bool:
    return file.suffix.lower() in (".yaml", ".yml")


def _refuse_all_ignored(file: Path, areas: Areas) -> None:
    if ignored(areas, _GRID).all():
        raise ConfigError(f"{file} ignores the whole image. Leave a part to look at.")


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


def _from_yaml(file: Path, images: Sequence[tuple[int, int]]) -> tuple[Areas, Zones]:
    values = read_yaml(file)
    if unknown := sorted(set(values) - set(_KEYS)):
        raise ConfigError(
            f"{file}: unknown key '{unknown[0]}'. Known are: ignore (polygons), zones (each with "
            "name, alpha and polygons) and size ([width, height] of the image they were drawn on; "
            "optional)."
        )
    if "size" in values:
        _check_shape(file, _size(file, values["size"]), images)
    listed = values.get("zones") or []
    if not isinstance(listed, list):
        raise ConfigError(f"{file}: 'zones' must be a list; each has name, alpha and polygons")
    zones = tuple(_zone(file, number, one) for number, one in enumerate(listed, start=1))
    if twice := [name for name, n in Counter(zone.name for zone in zones).items() if n > 1]:
        raise ConfigError(f"{file}: two zones have the name {twice[0]}. Give each its own name.")
    return _areas(f"{file}: ", "ignore", values.get("ignore")), zones


def _zone(file: Path, number: int, value: Any) -> Zone:
    where = f"{file}: zone {number}"
    if not isinstance(value, dict) or set(value) != _ZONE_KEYS:
        raise ConfigError(f"{where} must have the keys name, alpha and polygons, and no other")
    areas = _areas(f"{where}: ", "polygons", value["polygons"])
    if not areas:
        raise ConfigError(f"{where} has no polygon")
    if not _is_number(value["alpha"]) or not 0 < value["alpha"] < 1:
        raise ConfigError(
            f"{where}: alpha is the share of good images in which the zone may raise an alarm, a "
            f"number between 0 and 1, for example 0.02; not {value['alpha']!r}"
        )
    try:
        return Zone(name=value["name"], areas=areas, alpha=value["alpha"])
    except ValidationError as exc:
        raise ConfigError(
            f"{where}: its name must begin with a letter from A to Z or a digit and hold only "
            f"these, spaces, - and _, at most 40; not {value['name']!r}"
        ) from exc


def _areas(where: str, key: str, polygons: Any) -> Areas:
    if not isinstance(polygons or [], list):
        raise ConfigError(f"{where}'{key}' must be a list of polygons")
    return tuple(
        _area(f"{where}polygon {number}", one) for number, one in enumerate(polygons or [], start=1)
    )


def _area(where: str, polygon: Any) -> Area:
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
