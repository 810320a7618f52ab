"""What an engine process gives back of an image that is to be kept: its file, two small pictures.

The front decodes no image: the small pictures are made here, where the image is decoded anyway.
"""

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from serving.workers.messages import KeptImage
from uad.images import Image
from uad.inference.detector import Detection
from uad.visualization import heatmap_layer

PREVIEW_PX = 640
"""Longest side of the small pictures."""
JPEG_QUALITY = 85
FACTS = frozenset(
    {"size", "alpha", "requestedAlpha", "regions", "regionsOmitted", "raisedBy", "minArea"}
)
"""What of a result is kept besides the verdict, where the result has it."""


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
        preview=_file(".jpg", preview, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]),
        heatmap=_file(".png", heatmap, [cv2.IMWRITE_PNG_COMPRESSION, 1]),
    )


def _small(array: NDArray[Any]) -> NDArray[Any]:
    """At most PREVIEW_PX long. First every n-th pixel, so that a large image costs little more."""
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
