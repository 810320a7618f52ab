"""What the student learns to match: the teacher's features of each image, computed once."""

import numpy as np
from numpy.typing import NDArray

from uad.config import InputSpec
from uad.console import progress_bar
from uad.models.backbone import Pyramid, Tensor
from uad.models.paddle_runtime import paddle
from uad.models.stfpm import unit
from uad.training.cache import Cache


def network_input(images: NDArray[np.uint8], spec: InputSpec) -> NDArray[np.float32]:
    """(N, H, W, 3) uint8 BGR to the normalised (N, 3, H, W) float32 RGB that a pyramid takes."""
    scale = (1.0 / (255.0 * np.asarray(spec.std))).astype(np.float32)
    offset = (-np.asarray(spec.mean) / np.asarray(spec.std)).astype(np.float32)
    rgb = images[..., ::-1] * scale + offset
    return np.ascontiguousarray(rgb.transpose(0, 3, 1, 2), np.float32)


class TeacherFeatures:
    """The frozen teacher's unit features of each image: computed once, kept in half precision."""

    def __init__(
        self,
        teacher: Pyramid,
        images: NDArray[np.uint8],
        spec: InputSpec,
        cache: Cache,
        *,
        batch_size: int,
        progress: bool = False,
    ) -> None:
        self._levels: list[NDArray[np.float16]] = []
        starts = range(0, len(images), batch_size)
        with progress_bar("images", visible=progress) as bar, paddle.no_grad():
            task = bar.add_task("teacher", total=len(images), note="")
            for start in starts:
                batch = network_input(images[start : start + batch_size], spec)
                levels = [unit(level) for level in teacher(paddle.to_tensor(batch))]
                self._store(start, levels, len(images), cache)
                bar.advance(task, len(batch))

    def _store(self, start: int, levels: list[Tensor], count: int, cache: Cache) -> None:
        arrays = [level.numpy() for level in levels]
        if not self._levels:
            self._levels = [cache.empty((count, *array.shape[1:]), np.float16) for array in arrays]
        for kept, array in zip(self._levels, arrays, strict=True):
            kept[start : start + len(array)] = array

    def batch(self, indices: NDArray[np.intp]) -> list[NDArray[np.float32]]:
        """Per level the features (N, C, h, w) float32 of the images at `indices`."""
        return [level[indices].astype(np.float32) for level in self._levels]
