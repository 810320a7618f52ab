"""Light changes to training images, declared in the settings."""

import numpy as np
from numpy.typing import NDArray

from uad.config.training import AugmentationConfig


def augmented(
    images: NDArray[np.uint8], options: AugmentationConfig, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Each image, (N, H, W, 3) uint8 BGR, flipped and brightened as `options` allow."""
    return np.stack([_one(image, options, rng) for image in images])


def _one(
    image: NDArray[np.uint8], options: AugmentationConfig, rng: np.random.Generator
) -> NDArray[np.uint8]:
    if options.flip_horizontal and rng.random() < 0.5:
        image = image[:, ::-1]
    if options.flip_vertical and rng.random() < 0.5:
        image = image[::-1]
    if options.brightness > 0:
        factor = rng.uniform(1 - options.brightness, 1 + options.brightness)
        image = np.clip(np.rint(image * factor), 0, 255).astype(np.uint8)
    return image
