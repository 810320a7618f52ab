"""Pictures of test images: the image, its heat map and its mask side by side."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from uad import images
from uad.data import Sample
from uad.evaluation.report import ImageResult
from uad.evaluation.scoring import read_mask
from uad.images import Image
from uad.metrics.pixel import Mask
from uad.visualization import (
    circle_most_unusual,
    draw_hatching,
    draw_outline,
    draw_zones,
    heatmap_overlay,
)

if TYPE_CHECKING:
    from uad.inference.detector import Detector

TILE_PX = 260
QUALITY = 82
_MARK = (60, 200, 60)


@dataclass(frozen=True)
class ImageTiles:
    """Three tiles of one test image, (h, w, 3) uint8 BGR each."""

    result: ImageResult
    image: Image
    heatmap: Image
    mask: Image | None
    """The image with the mask outlined; None without a mask."""


def by_name(samples: Sequence[Sample]) -> dict[str, Sample]:
    """Samples by the name that results carry."""
    return {sample.name: sample for sample in samples}


def pictures(
    detector: "Detector", samples: Mapping[str, Sample], results: Sequence[ImageResult]
) -> Iterator[ImageTiles]:
    """Run the detector again on the images of `results` and draw them, in that order."""
    for result in results:
        sample = samples[result.name]
        image = images.read(sample.path)
        (detection,) = detector.detect([image])
        heat = heatmap_overlay(image, detection.anomaly_map, detection.map_threshold)
        if detection.is_anomalous and not detection.label_map.any():
            circle_most_unusual(heat, detection.anomaly_map)
        heat = tile(heat)
        draw_zones(heat, detection.zones)
        draw_hatching(heat, detection.ignore)
        draw_outline(heat, _small_mask(detection.label_map > 0))
        yield ImageTiles(result, tile(image), heat, masked(sample, image))


def jpeg_uri(image: Image) -> str:
    """A `data:` address that holds the image as JPEG."""
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode("ascii")


def png_uri(file: Path) -> str:
    """A `data:` address that holds a PNG file."""
    return "data:image/png;base64," + base64.b64encode(file.read_bytes()).decode("ascii")


def write_sheet(shown: Sequence[ImageTiles], file: Path) -> Path:
    """All pictures below one another as one PNG: image, heat map, mask."""
    rows = [_row(picture) for picture in shown]
    width = max((row.shape[1] for row in rows), default=1)
    padded = [
        cv2.copyMakeBorder(
            row, 0, 6, 0, width - row.shape[1], cv2.BORDER_CONSTANT, value=(255, 255, 255)
        )
        for row in rows
    ]
    cv2.imwrite(str(file), np.vstack(padded) if padded else np.full((1, 1, 3), 255, np.uint8))
    return file


def _row(picture: ImageTiles) -> Image:
    tiles = [picture.image, picture.heatmap]
    if picture.mask is not None:
        tiles.append(picture.mask)
    gap = np.full((picture.image.shape[0], 6, 3), 255, np.uint8)
    joined = np.hstack([part for each in tiles for part in (each, gap)])
    verdict = "alarm" if picture.result.is_anomalous else "no alarm"
    text = f"{picture.result.name}  score {picture.result.score:.4g}  {verdict}"
    bar = np.full((20, joined.shape[1], 3), 255, np.uint8)
    cv2.putText(bar, text, (2, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (30, 30, 30), 1, cv2.LINE_AA)
    return np.vstack([bar, joined])


def masked(sample: Sample, image: Image) -> Image | None:
    """A tile with the sample's mask outlined; None without a mask."""
    mask = read_mask(sample, (image.shape[0], image.shape[1]))
    if mask is None:
        return None
    shown = tile(image)
    draw_outline(shown, _small_mask(mask), _MARK)
    return shown


def tile(image: Image) -> Image:
    """The image with TILE_PX on the longer side."""
    interpolation = cv2.INTER_AREA if max(image.shape[:2]) > TILE_PX else cv2.INTER_NEAREST
    resized = cv2.resize(image, _size(image.shape), interpolation=interpolation)
    return np.array(resized, np.uint8)


def _small_mask(mask: Mask) -> Image:
    """1 where a tile's pixel contains part of the mask, so that small defects stay visible."""
    share = cv2.resize(mask.astype(np.float32), _size(mask.shape), interpolation=cv2.INTER_AREA)
    return np.asarray(share > 0, np.uint8)


def _size(shape: tuple[int, ...]) -> tuple[int, int]:
    factor = TILE_PX / max(shape[:2])
    return max(1, round(shape[1] * factor)), max(1, round(shape[0] * factor))
