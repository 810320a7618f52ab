"""Whether an image is grey or in colour, from some of its pixels: well under a millisecond."""

import math
from typing import Literal

import numpy as np

from uad.images.decoding import Image

Colour = Literal["grey", "colour"]

SAMPLED = 2**14
"""Pixels that are looked at, on a grid over the image."""
ROUNDING = 3
"""Channels of a grey image that was saved as a lossy colour file differ by less than this."""
CLEAR = 8
"""Channels that differ by more make a pixel that is clearly coloured."""
CLEAR_SHARE = 0.05
"""Share of such pixels in an image that is clearly in colour."""


def colour_of(image: Image) -> Colour | None:
    """What an image is; None if it is not clear: almost grey, or grey with a coloured spot.

    Args:
        image: (H, W, 3) uint8 BGR.
    """
    step = max(1, math.isqrt(image.shape[0] * image.shape[1] // SAMPLED))
    some = image[::step, ::step]
    blue, green, red = some[..., 0], some[..., 1], some[..., 2]
    least = np.minimum(np.minimum(blue, green), red)
    spread = np.maximum(np.maximum(blue, green), red) - least  # never below 0
    if spread.max() < ROUNDING:
        return "grey"
    return "colour" if np.mean(spread > CLEAR) >= CLEAR_SHARE else None
