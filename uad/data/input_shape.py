"""The network's input in the images' own shape.

The networks are convolutions and take any shape. Squashed into a square, long images lose fine
defects; in their own shape they cost the same time.
"""

import math
from collections.abc import Sequence

import numpy as np

from uad.config import InputConfig, InputSpec
from uad.data.samples import Sample

AREA = 256 * 256
STEP = 16
LEAST, MOST = 32, 4096
SQUASHED = 1.5
"""Images whose shape differs from the input's by more than this factor are reported."""
ALIKE = 1.1
"""Images whose shapes differ by less than this factor are of one shape."""


def fitted_input(config: InputConfig, samples: Sequence[Sample]) -> InputConfig:
    """`config` with numbers for `auto`: the images' median shape at the area of 256 x 256.

    Where one side is given the other follows from the shape.
    """
    ratio = _median_ratio(samples)
    height, width = config.height, config.width
    if height == "auto" and width == "auto":
        height, width = _side(math.sqrt(AREA / ratio)), _side(math.sqrt(AREA * ratio))
    elif height == "auto":
        height = _side(int(width) / ratio)
    elif width == "auto":
        width = _side(int(height) * ratio)
    return config.model_copy(update={"height": height, "width": width})


def remarks(spec: InputSpec, samples: Sequence[Sample]) -> list[str]:
    """What a person should know about the images' shapes and this input."""
    ratios = _ratios(samples)
    words = []
    if ratios.max() / ratios.min() > ALIKE:
        words.append(
            f"the good images have different shapes (width / height {ratios.min():.2f} to "
            f"{ratios.max():.2f}); all are resized to the median shape, {spec.height} x "
            f"{spec.width} (height x width); if they are different parts, train one product for "
            "each shape"
        )
    ratio = float(np.median(ratios))
    if max(ratio * spec.height / spec.width, spec.width / spec.height / ratio) > SQUASHED:
        long, short = ("wide", "high") if ratio > 1 else ("high", "wide")
        words.append(
            f"these images are {max(ratio, 1 / ratio):.1f} times as {long} as {short}, but are "
            f"resized to {spec.height} x {spec.width} (height x width), which hides fine defects; "
            "to keep their shape: --set input.height=auto --set input.width=auto"
        )
    return words


def _ratios(samples: Sequence[Sample]) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    """Width / height of each."""
    return np.asarray([sample.size[1] / sample.size[0] for sample in samples])


def _median_ratio(samples: Sequence[Sample]) -> float:
    return float(np.median(_ratios(samples)))


def _side(pixels: float) -> int:
    return min(MOST, max(LEAST, STEP * round(pixels / STEP)))
