"""What training reads again every epoch, made once: decoded images and the teacher's features."""

import os
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from uad.config import InputSpec
from uad.console import progress_bar
from uad.data import Sample
from uad.errors import TrainingError
from uad.images import read, resize
from uad.models.backbone import Pyramid, Tensor
from uad.models.stfpm import unit
from uad.paddle_runtime import paddle


class Cache:
    """Arrays in memory while they fit in `limit_bytes` together, beyond that in a disk file."""

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = tempfile.TemporaryDirectory(dir=folder, prefix="training-")
        self._left_bytes = limit_bytes

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """An uninitialised array.

        Raises:
            TrainingError: it belongs on the disk, and there is no room.
        """
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        if size <= self._left_bytes:
            self._left_bytes -= size
            return np.empty(shape, dtype)
        with tempfile.NamedTemporaryFile(dir=self._folder.name, delete=False) as file:
            self._reserve(file.fileno(), size)
            return np.memmap(file.name, dtype, "r+", shape=shape)

    def _reserve(self, descriptor: int, size: int) -> None:
        """Take the room now: a mapped file that runs out of it kills the process."""
        try:
            os.posix_fallocate(descriptor, 0, size)
        except OSError as exc:
            raise TrainingError(
                f"{self._folder.name} has no room for {size / 1e9:.1f} GB of decoded "
                f"images and teacher features ({exc.strerror}). Free some space, or set UAD_HOME "
                "to a folder on a larger disk."
            ) from exc

    def close(self) -> None:
        """Delete the disk files."""
        self._folder.cleanup()


def decoded(
    samples: Sequence[Sample], spec: InputSpec, cache: Cache, *, progress: bool = False
) -> NDArray[np.uint8]:
    """The samples' images at the input size, (N, H, W, 3) uint8 BGR."""
    images = cache.empty((len(samples), spec.height, spec.width, 3), np.uint8)

    def load(index: int) -> None:
        images[index] = resize(
            read(samples[index].path), (spec.height, spec.width), spec.interpolation
        )

    with progress_bar(visible=progress) as bar, ThreadPoolExecutor() as pool:
        task = bar.add_task("decode", total=len(samples), note="")
        for _ in pool.map(load, range(len(samples))):
            bar.advance(task)
    return images


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
        with progress_bar(visible=progress) as bar, paddle.no_grad():
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
