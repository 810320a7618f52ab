"""From a detection to what the answer holds, and to the files of an image that is to be kept.

The front decodes no image: previews are made here, where the image is decoded anyway.
"""

import base64
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
import orjson
from numpy.typing import NDArray

from serving.api.schemas import LabelMapEncoding
from serving.workers.messages import KeptImage
from uad.images import Image, resize
from uad.inference.detector import Detection
from uad.visualization import heatmap_layer, picture

JPEG_QUALITY = 90
FEW_RUNS = 4000
JPEG_LONGEST_PX = 65_500
PREVIEW_PX = 640
"""Longest side of the small pictures."""
PREVIEW_QUALITY = 85
FACTS = frozenset(
    {
        *("size", "alpha", "requestedAlpha", "regions", "regionsOmitted", "raisedBy", "minArea"),
        "warnings",
    }
)
"""Fields of a result that are stored besides the verdict, if the result has them."""


def encoded_label_map(label_map: NDArray[np.uint8], encoding: LabelMapEncoding) -> Any:
    """The label map (H, W) of 0 and 255 as `encoding` says, ready for orjson."""
    if encoding == "png":
        return _base64(".png", label_map, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    runs = run_lengths(label_map)
    if encoding == "rle":
        return runs
    return label_map.reshape(-1) if len(runs) > FEW_RUNS else _written_by_run(runs)


def array_bytes(label_map: NDArray[np.uint8]) -> int:
    """How long the list of the label map's numbers is as JSON text."""
    marked = int(np.count_nonzero(label_map))
    return 2 * label_map.size + 2 * marked


def _written_by_run(runs: NDArray[np.int64]) -> orjson.Fragment:
    """The flat list as JSON text; three times as fast as number by number if runs are long."""
    texts = (b"0,", b"255,")
    text = b"".join(texts[index % 2] * length for index, length in enumerate(runs.tolist()))
    return orjson.Fragment(b"[" + text[:-1] + b"]")


def run_lengths(label_map: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Lengths of the runs of equal values in row-major order, the first one of 0s (maybe 0)."""
    flat = label_map.reshape(-1)
    starts = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    edges = np.concatenate(([0], starts, [flat.size]))
    runs = np.diff(edges)
    return np.concatenate(([0], runs)) if flat[0] else runs


def encoded_picture(image: Image, detection: Detection) -> str:
    """The picture of the verdict as a base64 JPEG."""
    drawn = picture(
        image,
        detection.anomaly_map,
        detection.score,
        detection.threshold,
        detection.is_anomalous,
        [region.box for region in detection.regions.listed],
        map_threshold=detection.map_threshold,
        raised_by=detection.raised_by,
        min_area=detection.min_area,
        ignore=detection.ignore,
        zones=detection.zones,
    )
    return _base64(".jpg", _within_jpeg(drawn), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])


def _within_jpeg(image: Image) -> Image:
    """The image, made smaller if it is longer than a JPEG can be."""
    height, width = image.shape[:2]
    scale = JPEG_LONGEST_PX / max(height, width)
    if scale >= 1:
        return image
    return resize(image, (max(1, int(height * scale)), max(1, int(width * scale))))


def _base64(suffix: str, image: NDArray[np.uint8], options: list[int]) -> str:
    _, data = cv2.imencode(suffix, image, options)
    return base64.b64encode(data.tobytes()).decode("ascii")


def kept_image(
    data: bytes, image: Image, detection: Detection, result: Mapping[str, Any]
) -> KeptImage:
    """The file `data`, its preview, its heat map and the facts of its result."""
    preview = _small(image)
    heatmap = heatmap_layer(_small(detection.anomaly_map), detection.map_threshold)
    facts = {name: value for name, value in result.items() if name in FACTS}
    return KeptImage(
        facts=facts,
        original=data,
        preview=_file(".jpg", preview, [cv2.IMWRITE_JPEG_QUALITY, PREVIEW_QUALITY]),
        heatmap=_file(".png", heatmap, [cv2.IMWRITE_PNG_COMPRESSION, 1]),
    )


def _small(array: NDArray[Any]) -> NDArray[Any]:
    """At most PREVIEW_PX long. It first takes every n-th pixel, so large images are fast too."""
    longest = max(array.shape[:2])
    step = max(1, longest // (2 * PREVIEW_PX))
    coarse = array[::step, ::step]
    height, width = coarse.shape[:2]
    scale = PREVIEW_PX / max(height, width)
    if scale >= 1:
        return coarse
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(np.ascontiguousarray(coarse), size, interpolation=cv2.INTER_AREA))


def _file(suffix: str, image: NDArray[Any], options: list[int]) -> bytes:
    _, data = cv2.imencode(suffix, image, options)
    return data.tobytes()
