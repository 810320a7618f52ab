"""What the frozen teacher sees of images: one vector an image, and one a patch."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uad.config import InputSpec
from uad.console import progress_bar
from uad.data import Sample
from uad.images import Image, read, resize
from uad.models.backbone import Pyramid, Tensor
from uad.models.stfpm import unit
from uad.paddle_runtime import nn, paddle
from uad.training.cache import Cache, network_input
from uad.types import Teacher

BATCH = 8


@dataclass(frozen=True)
class Features:
    """Unit vectors, so that 1 - a.b is the cosine distance."""

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
) -> Features:
    """The teacher's features of each sample's image; what `cache` cannot hold lies on disk."""
    width = len(teacher.weights["bn1.weight"])
    network = Pyramid(width).load(teacher.weights).frozen()
    grid = (spec.height // 16, spec.width // 16)
    images = np.empty((len(samples), 7 * width), np.float32)
    patches = cache.empty((len(samples), grid[0] * grid[1], 6 * width), np.float16)

    def load(sample: Sample) -> Image:
        return resize(read(sample.path), (spec.height, spec.width), spec.interpolation)

    with progress_bar(visible=progress) as bar, ThreadPoolExecutor() as pool, paddle.no_grad():
        task = bar.add_task("describe", total=len(samples), note="")
        for start in range(0, len(samples), BATCH):
            batch = np.stack(list(pool.map(load, samples[start : start + BATCH])))
            levels = network(paddle.to_tensor(network_input(batch, spec)))
            end = start + len(batch)
            images[start:end] = _side_by_side([level.mean(axis=[2, 3]) for level in levels])
            patches[start:end] = _patches(levels)
            bar.advance(task, len(batch))
    return Features(images, patches, grid)


def _patches(levels: Sequence[Tensor]) -> NDArray[Any]:
    """(N, P, D): level 2 brought to the grid of level 3."""
    second = nn.functional.avg_pool2d(unit(levels[1]), 2)
    return _side_by_side([level.flatten(2).transpose([0, 2, 1]) for level in (second, levels[2])])


def _side_by_side(parts: Sequence[Tensor]) -> NDArray[Any]:
    """Joined along the last axis, each part of the same weight, the whole of length 1."""
    scaled = [part / part.norm(axis=-1, keepdim=True).clip(1e-6) for part in parts]
    return np.asarray((paddle.concat(scaled, axis=-1) / len(parts) ** 0.5).numpy())
