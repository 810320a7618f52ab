"""The connected regions that a label map marks: box, area, score and centre of each.

Pixels that touch at a side or a corner belong to one region.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from uad.errors import CalibrationError

Map = NDArray[np.float32]
Labels = NDArray[np.uint8]
Box = tuple[int, int, int, int]
"""x, y, width and height in pixels; (x, y) is the top left pixel."""

MOST_REGIONS = 100
"""Regions that an answer lists; the others are counted."""
NO_ALARM = "not enough for an alarm"
"""What a person is told of a region on an image whose score is below its own threshold."""
_BLOCK_PX = 8
"""A row of a block is one 64-bit word."""
_SMALL_PX = 2**18
"""Images with at most this many pixels are labelled as a whole."""
_FEW = 200
"""Up to this many regions are measured one by one; more are faster all at once."""


@dataclass(frozen=True)
class Region:
    """One connected region of the label map, in the image's own pixels."""

    box: Box
    area: int
    """Marked pixels."""
    score: float
    """The anomaly map's maximum in the region."""
    centre: tuple[float, float]
    """(x, y) of the mean of its pixels."""

    def as_json(self) -> dict[str, object]:
        """Plain values under the names that JSON and HTTP answers use."""
        return {
            "box": list(self.box),
            "area": self.area,
            "score": self.score,
            "centre": [round(self.centre[0], 2), round(self.centre[1], 2)],
        }


@dataclass(frozen=True)
class Regions:
    """The regions of one image, largest score first."""

    listed: tuple[Region, ...] = ()
    omitted: int = 0
    """Regions beyond the first `MOST_REGIONS`."""

    @property
    def count(self) -> int:
        """All regions, listed or not."""
        return len(self.listed) + self.omitted

    @property
    def largest(self) -> Region | None:
        """The listed region with the most pixels; None if there is no region."""
        return max(self.listed, key=lambda region: region.area, default=None)


def check_fits(min_area: int, size: tuple[int, ...]) -> None:
    """Refuse a smallest defect that no region of an image of `size` = (H, W) can have.

    Raises:
        CalibrationError: says both areas.
    """
    height, width = size[:2]
    if min_area > height * width:
        raise CalibrationError(
            f"the smallest defect (min_area) is {min_area} pixels, but an image has {width} x "
            f"{height} = {width * height}: no region could raise an alarm. Give the area of the "
            "smallest defect in pixels of the image."
        )


def find_regions(anomaly_map: Map, label_map: Labels, *, most: int = MOST_REGIONS) -> Regions:
    """List the regions of the label map.

    Large images cost little: blocks of 8 x 8 pixels without a marked pixel are not looked at again.

    Args:
        anomaly_map: (H, W) float32; higher = more anomalous.
        label_map: (H, W) uint8; not 0 where a pixel is marked.
        most: how many regions are listed; the others are counted in `omitted`.
    """
    found: list[Region] = []
    for left, top, marked in _parts(label_map):
        height, width = marked.shape
        values = anomaly_map[top : top + height, left : left + width]
        found += _labelled(values, marked, left, top)
    found.sort(key=lambda region: (-region.score, region.box[1], region.box[0]))
    return Regions(tuple(found[:most]), max(0, len(found) - most))


def without_small(label_map: Labels, min_area: int) -> Labels:
    """The label map without regions of fewer than `min_area` pixels."""
    if min_area <= 1:
        return label_map
    kept = label_map.copy()
    for left, top, marked in _parts(label_map):
        _, labels, stats, _ = cv2.connectedComponentsWithStats(marked)
        small = stats[:, cv2.CC_STAT_AREA] < min_area
        small[0] = False
        height, width = marked.shape
        kept[top : top + height, left : left + width][small[labels]] = 0
    return kept


def opened_maximum(values: Map, min_area: float) -> float:
    """The highest level at which the map still has a connected region of that area.

    That is the maximum of the map's area opening (Vincent, "Grayscale area openings and closings",
    1993): the largest v of the map such that the pixels of v and above hold a connected region of
    at least `min_area` pixels. Found by bisection over the map's values, so it is exact.

    Args:
        values: (h, w) float32.
        min_area: in pixels of `values`; up to 1 gives the maximum, beyond the map its minimum.
    """
    if min_area <= 1:
        return float(values.max())
    descending = np.sort(values, axis=None)[::-1]
    low = min(int(np.ceil(min_area)), values.size) - 1  # at least this many pixels are needed
    high = low
    while high < values.size - 1 and not _holds(values >= descending[high], min_area):
        low, high = high + 1, min(2 * high + 2, values.size - 1)
    while low < high:
        middle = (low + high) // 2
        if _holds(values >= descending[middle], min_area):
            high = middle
        else:
            low = middle + 1
    return float(descending[high])


def _holds(marked: NDArray[np.bool_], min_area: float) -> bool:
    """Whether a connected region has at least that area."""
    count, _, stats, _ = cv2.connectedComponentsWithStats(marked.view(np.uint8))
    return count > 1 and bool(stats[1:, cv2.CC_STAT_AREA].max() >= min_area)


def _parts(label_map: Labels) -> Iterator[tuple[int, int, Labels]]:
    """Rectangles (left, top, pixels); each region is completely in exactly one of them."""
    height, width = label_map.shape
    if height * width <= _SMALL_PX:
        if label_map.any():
            yield 0, 0, label_map
        return
    blocks = _occupied_blocks(label_map)
    # Pixels that touch lie in blocks that are the same or touch: a group of blocks holds
    # whole regions.
    count, groups, stats, _ = cv2.connectedComponentsWithStats(blocks)
    covered = int(stats[1:, cv2.CC_STAT_WIDTH].astype(np.int64) @ stats[1:, cv2.CC_STAT_HEIGHT])
    if count > _FEW or covered > blocks.size:
        yield 0, 0, label_map
        return
    for group in range(1, count):
        x, y, columns, rows = (int(value) for value in stats[group, :4])
        left, top = x * _BLOCK_PX, y * _BLOCK_PX
        right, bottom = left + columns * _BLOCK_PX, top + rows * _BLOCK_PX
        marked = label_map[top:bottom, left:right]
        own = groups[y : y + rows, x : x + columns] == group
        if (blocks[y : y + rows, x : x + columns].astype(bool) != own).any():
            mask = np.repeat(np.repeat(own, _BLOCK_PX, axis=0), _BLOCK_PX, axis=1)
            marked = np.where(mask[: marked.shape[0], : marked.shape[1]], marked, np.uint8(0))
        yield left, top, marked


def _occupied_blocks(label_map: Labels) -> Labels:
    """(ceil(H / 8), ceil(W / 8)) uint8: 1 where a block of 8 x 8 pixels has a marked pixel."""
    height, width = label_map.shape
    below, beside = -height % _BLOCK_PX, -width % _BLOCK_PX
    if below or beside:
        label_map = np.asarray(
            cv2.copyMakeBorder(label_map, 0, below, 0, beside, cv2.BORDER_CONSTANT, value=0),
            np.uint8,
        )
    words = np.ascontiguousarray(label_map).view(np.uint64)
    rows = words.reshape(-1, _BLOCK_PX, words.shape[1])
    return np.asarray(np.bitwise_or.reduce(rows, axis=1) != 0, np.uint8)


def _labelled(values: Map, marked: Labels, left: int, top: int) -> list[Region]:
    """The regions of one rectangle whose top left pixel is (left, top) of the image."""
    count, labels, stats, centres = cv2.connectedComponentsWithStats(marked)
    scores = _maxima(values, labels, stats, count)
    return [
        Region(
            box=(
                left + int(stats[index, cv2.CC_STAT_LEFT]),
                top + int(stats[index, cv2.CC_STAT_TOP]),
                int(stats[index, cv2.CC_STAT_WIDTH]),
                int(stats[index, cv2.CC_STAT_HEIGHT]),
            ),
            area=int(stats[index, cv2.CC_STAT_AREA]),
            score=float(scores[index]),
            centre=(left + float(centres[index, 0]), top + float(centres[index, 1])),
        )
        for index in range(1, count)
    ]


def _maxima(
    values: Map, labels: NDArray[Any], stats: NDArray[Any], count: int
) -> NDArray[np.float32]:
    """The map's maximum under each label."""
    maxima = np.full(count, -np.inf, np.float32)
    if count > _FEW:
        inside = labels > 0
        np.maximum.at(maxima, labels[inside], values[inside])
        return maxima
    for index in range(1, count):
        x, y, width, height = (int(value) for value in stats[index, :4])
        box = (slice(y, y + height), slice(x, x + width))
        maxima[index] = values[box][labels[box] == index].max()
    return maxima
