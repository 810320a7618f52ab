"""Pictures of what was found: heat map, contour, caption. numpy and OpenCV only.

A colour means the same in every picture: it depends only on score / threshold, never on the image's
own range. Transparent below two thirds of the threshold, more and more blue up to it, yellow at it,
then orange, red and, far above, magenta.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from uad.config.training import Areas, Zones
from uad.images import Image
from uad.scoring.regions import NO_ALARM, Box, without_small
from uad.scoring.zones import ignored

Map = NDArray[np.float32]
Colour = tuple[int, int, int]

# (score / (score + threshold), BGR, opacity): 0.5 is the threshold, 2/3 twice as much.
_STOPS: tuple[tuple[float, Colour, float], ...] = (
    (0.0, (160, 60, 0), 0.0),
    (0.4, (160, 60, 0), 0.0),
    (0.46, (200, 95, 10), 0.2),
    (0.499, (240, 130, 20), 0.6),
    (0.5, (40, 230, 255), 0.65),
    (0.6, (0, 140, 255), 0.7),
    (0.75, (20, 20, 230), 0.75),
    (1.0, (200, 0, 200), 0.8),
)
_RED: Colour = (40, 40, 200)
_GREEN: Colour = (70, 130, 40)
_WHITE: Colour = (255, 255, 255)
_BLACK: Colour = (0, 0, 0)
_BOX: Colour = (255, 255, 0)
_ZONE: Colour = (255, 235, 190)
_DARK: Colour = (40, 36, 34)
_SMALLEST_SIDE_PX = 360
_LARGEST_SIDE_PX = 4096


def heatmap_overlay(image: Image, anomaly_map: Map, threshold: float) -> Image:
    """Lay the anomaly map over the image, coloured by score / threshold.

    Args:
        image: (H, W, 3) uint8 BGR.
        anomaly_map: (H, W) float32, higher = more anomalous.
        threshold: the one in force; a fixed colour marks it.

    Returns:
        (H, W, 3) uint8 BGR.
    """
    index = colour_index(anomaly_map, threshold)
    tint, remaining = _tables()
    shown = cv2.applyColorMap(index, remaining)
    cv2.multiply(image, shown, dst=shown, scale=1 / 255)
    cv2.add(shown, cv2.applyColorMap(index, tint), dst=shown)
    return np.asarray(shown, np.uint8)


def heatmap_layer(anomaly_map: Map, threshold: float) -> NDArray[np.uint8]:
    """The colours of `heatmap_overlay` alone, to be laid over a picture: (H, W, 4) uint8 BGRA."""
    at = np.arange(256) / 255
    places = [place for place, _, _ in _STOPS]
    columns = [[*colour, 255 * opacity] for _, colour, opacity in _STOPS]
    table = np.stack([np.interp(at, places, each) for each in zip(*columns, strict=True)], axis=1)
    return np.asarray(table.round().astype(np.uint8)[colour_index(anomaly_map, threshold)])


def picture(
    image: Image,
    anomaly_map: Map,
    score: float,
    threshold: float,
    is_anomalous: bool,
    boxes: Sequence[Box] = (),
    *,
    map_threshold: float | None = None,
    raised_by: str | None = None,
    min_area: int = 0,
    ignore: Areas = (),
    zones: Zones = (),
) -> Image:
    """The image under its heat map, with what lies above the threshold outlined, and a caption.

    If an anomalous image has no such location, for example because the whole image is unusual, the
    most unusual location is circled and the caption says so. Small images are enlarged so that the
    caption can be read; the caption comes below the image.

    Args:
        image: (H, W, 3) uint8 BGR.
        anomaly_map: (H, W) float32.
        score: of the image.
        threshold: the one in force.
        is_anomalous: the verdict.
        boxes: of the marked regions, drawn round them.
        map_threshold: the map's own; None: `threshold`.
        raised_by: the part that raised the alarm, for the caption.
        min_area: smaller regions are not outlined.
        ignore: regions that were not looked at, hatched.
        zones: parts with an alpha of their own, outlined.

    Returns:
        (H', W', 3) uint8 BGR, H' > H, W' >= W.
    """
    marks = threshold if map_threshold is None else map_threshold
    shown = _enlarged(heatmap_overlay(image, anomaly_map, marks), cv2.INTER_NEAREST)
    draw_zones(shown, zones)
    draw_hatching(shown, ignore)
    found = without_small(np.asarray(anomaly_map > marks, np.uint8), min_area)
    caption = _caption(score, threshold, is_anomalous, raised_by)
    scale = shown.shape[0] // image.shape[0]
    if is_anomalous and not found.any():
        circle_most_unusual(shown, anomaly_map, scale=scale)
        caption += "  circled: most unusual place"
    elif found.any() and not is_anomalous:
        caption += f"  outlined: {NO_ALARM}"
    draw_outline(shown, _enlarged(found, cv2.INTER_NEAREST))
    draw_boxes(shown, boxes, scale=scale)
    return _captioned(shown, caption, is_anomalous)


def circle_most_unusual(image: Image, anomaly_map: Map, *, scale: int = 1) -> None:
    """Circle the map's highest place in `image`, which is the map's image enlarged, in place."""
    y, x = np.unravel_index(int(anomaly_map.argmax()), anomaly_map.shape)
    size = max(image.shape[:2])
    width = max(1, round(size / 256))
    centre = (round((x + 0.5) * scale), round((y + 0.5) * scale))
    for colour, line in ((_BLACK, width + 2), (_WHITE, width)):
        cv2.circle(image, centre, size // 16, colour, line, cv2.LINE_AA)


def draw_outline(image: Image, mask: NDArray[np.uint8], colour: Colour = _WHITE) -> None:
    """Outline the non-zero parts of `mask`, (H, W) uint8, in `image`, in place."""
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    width = max(1, round(max(image.shape[:2]) / 512))
    cv2.drawContours(image, contours, -1, _BLACK, width + 2, cv2.LINE_4)
    cv2.drawContours(image, contours, -1, colour, width, cv2.LINE_4)


def draw_hatching(image: Image, areas: Areas) -> None:
    """Hatch the ignored areas with grey and white lines, in place."""
    if not areas:
        return
    height, width = image.shape[:2]
    mask = np.ascontiguousarray(ignored(areas, (height, width)))
    line = max(1, round(max(height, width) / 512))
    lines = np.zeros((height, width), np.uint8)
    for start in range(-height, width, 8 * line):
        cv2.line(lines, (start, height), (start + height, 0), 255, line)
    grey = cv2.addWeighted(image, 0.5, np.full_like(image, 128), 0.5, 0)
    image[mask > 0] = grey[mask > 0]
    image[(mask > 0) & (lines > 0)] = _WHITE
    draw_outline(image, mask)


def draw_zones(image: Image, zones: Zones) -> None:
    """Outline each zone and write its name at its top left corner, in place."""
    size = (image.shape[0], image.shape[1])
    scale = min(max(image.shape[1] / 1000, 0.5), 1.5)
    for zone in zones:
        mask = np.ascontiguousarray(ignored(zone.areas, size))
        if not mask.any():
            continue
        draw_outline(image, mask, _ZONE)
        x, y, _, _ = cv2.boundingRect(mask)
        at = (x + round(8 * scale), y + round(32 * scale))
        for colour, line in ((_BLACK, 3), (_ZONE, 1)):
            cv2.putText(
                image, zone.name, at, cv2.FONT_HERSHEY_SIMPLEX, scale, colour, line, cv2.LINE_AA
            )


def draw_boxes(image: Image, boxes: Sequence[Box], *, scale: int = 1) -> None:
    """Draw each box (x, y, width, height) a little outside of what it holds, in place.

    Args:
        image: (H, W, 3) uint8 BGR.
        boxes: in the pixels of the image before it was enlarged by `scale`.
        scale: how much larger `image` is.
    """
    line = max(1, round(max(image.shape[:2]) / 512))
    for x, y, width, height in boxes:
        start = (scale * x - 2 * line, scale * y - 2 * line)
        end = (scale * (x + width) - 1 + 2 * line, scale * (y + height) - 1 + 2 * line)
        cv2.rectangle(image, start, end, _BOX, line, cv2.LINE_4)


def colour_index(anomaly_map: Map, threshold: float) -> NDArray[np.uint8]:
    """Where on the colour scale each pixel is: 0 to 255, and 128 just above the threshold."""
    if threshold <= 0:  # no ratio: above or not
        return np.where(anomaly_map > threshold, np.uint8(255), np.uint8(0))
    values = np.maximum(anomaly_map, np.float32(0))
    share = values + np.float32(threshold)
    np.divide(values, share, out=share)
    return np.asarray(cv2.convertScaleAbs(share, alpha=255), np.uint8)


def legend(width: int, height: int) -> Image:
    """The colour scale from nothing (left) over the threshold (middle) to far above, on grey."""
    ramp = np.linspace(0, 1, width, dtype=np.float32)
    values = np.divide(ramp, np.maximum(1 - ramp, 1e-6)).astype(np.float32)
    grey = np.full((height, width, 3), 190, np.uint8)
    return heatmap_overlay(grey, np.tile(values, (height, 1)), 1.0)


def _tables() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """By index: the colour times its opacity, and 255 times what shows through; (256, 1, 3)."""
    at = np.arange(256) / 255
    places = [place for place, _, _ in _STOPS]
    opacity = np.interp(at, places, [alpha for _, _, alpha in _STOPS])
    channels = [
        np.interp(at, places, [colour[channel] for _, colour, _ in _STOPS]) for channel in range(3)
    ]
    tint = (np.stack(channels, axis=1) * opacity[:, None]).round()
    remaining = np.repeat((255 * (1 - opacity)).round()[:, None], 3, axis=1)
    return tint.astype(np.uint8)[:, None], remaining.astype(np.uint8)[:, None]


def _enlarged(image: NDArray[np.uint8], interpolation: int) -> NDArray[np.uint8]:
    """Enlarge small images by a whole number, so pixels stay square and exact."""
    height, width = image.shape[:2]
    factor = -(-_SMALLEST_SIDE_PX // width)
    factor = max(1, min(factor, _LARGEST_SIDE_PX // max(height, width)))
    if factor == 1:
        return image
    size = (width * factor, height * factor)
    return np.asarray(cv2.resize(image, size, interpolation=interpolation), np.uint8)


def _caption(score: float, threshold: float, is_anomalous: bool, raised_by: str | None) -> str:
    verdict = "ANOMALOUS" if is_anomalous else "NORMAL"
    if raised_by:
        verdict += f" by {raised_by}"
    return f"{verdict}  score {score:.4g}  threshold {threshold:.4g}"


def _captioned(image: Image, text: str, is_anomalous: bool) -> Image:
    height, width = image.shape[:2]
    scale = min(max(width / 900, 0.45), 2.0)
    thickness = max(1, round(1.4 * scale))
    (text_width, text_height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, thickness)
    bar, margin = round(2.4 * text_height), text_height
    right = max(0, text_width + 3 * margin - width)
    canvas = np.asarray(
        cv2.copyMakeBorder(image, 0, bar, 0, right, cv2.BORDER_CONSTANT, value=_DARK), np.uint8
    )
    canvas[height:, : margin // 2] = canvas[height:, -(margin // 2) :] = (
        _RED if is_anomalous else _GREEN
    )
    origin = (round(1.3 * margin), height + (bar + text_height) // 2)
    cv2.putText(
        canvas, text, origin, cv2.FONT_HERSHEY_SIMPLEX, scale, _WHITE, thickness, cv2.LINE_AA
    )
    return canvas
