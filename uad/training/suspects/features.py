"""The frozen teacher's features of images: one vector per image, and one per patch."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from uad.config import InputSpec
from uad.console import progress_bar
from uad.data import Sample
from uad.inference.features import decoded_batches, feature_extractor
from uad.models.parts import Teacher
from uad.training.cache import Cache


@dataclass(frozen=True)
class UnitFeatures:
    """Unit vectors, so that half the squared distance is the cosine distance."""

    images: NDArray[np.float32]
    """(N, C): each level averaged over the image, side by side."""
    patches: NDArray[np.float16]
    """(N, P, D): levels 2 and 3 side by side, a vector for each 16 x 16 pixels of the input."""
    grid: tuple[int, int]
    """(h, w), P = h * w."""


def describe(
    samples: Sequence[Sample],
    teacher: Teacher,
    spec: InputSpec,
    cache: Cache,
    *,
    progress: bool = False,
) -> UnitFeatures:
    """The teacher's features of each sample's image; what `cache` cannot hold lies on disk."""
    width = len(teacher.weights["bn1.weight"])
    grid = (spec.height // 16, spec.width // 16)
    images = np.empty((len(samples), 7 * width), np.float32)
    patches = cache.empty((len(samples), grid[0] * grid[1], 6 * width), np.float16)
    with (
        progress_bar("images", visible=progress) as bar,
        feature_extractor(teacher.weights, spec, as_directions=True) as extractor,
    ):
        task, start = bar.add_task("describe", total=len(samples), note=""), 0
        for batch in decoded_batches(samples, spec):
            found, end = extractor.of(batch), start + len(batch)
            means = found.moments[:, : 7 * width]
            images[start:end] = _side_by_side(means, (width, 3 * width))
            rows = found.patches.reshape(len(batch), -1, 6 * width)
            patches[start:end] = _side_by_side(rows, (2 * width,))
            bar.advance(task, len(batch))
            start = end
    return UnitFeatures(images, patches, grid)


def _side_by_side(levels: NDArray[np.float32], ends: Sequence[int]) -> NDArray[np.float32]:
    """Levels that end so along the last axis: each of the same weight, the whole of length 1."""
    parts = np.split(levels, ends, axis=-1)
    lengths = [np.linalg.norm(part, axis=-1, keepdims=True) for part in parts]
    scaled = [part / np.maximum(length, 1e-6) for part, length in zip(parts, lengths, strict=True)]
    return np.asarray(np.concatenate(scaled, axis=-1) / np.sqrt(len(parts)), np.float32)
