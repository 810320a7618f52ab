"""The cache for data that training reads every epoch: decoded images and features."""

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
from uad.images import read
from uad.scoring.zones import prepared


class Cache:
    """Arrays in memory while they fit in `limit_bytes` together, beyond that in a disk file."""

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = tempfile.TemporaryDirectory(dir=folder, prefix="training-")
        self._left_bytes = limit_bytes

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """An uninitialised array.

        Raises:
            TrainingError: it must be stored on the disk, and the disk is full.
        """
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        if size <= self._left_bytes:
            self._left_bytes -= size
            return np.empty(shape, dtype)
        with tempfile.NamedTemporaryFile(dir=self._folder.name, delete=False) as file:
            self._reserve(file.fileno(), size)
            return np.memmap(file.name, dtype, "r+", shape=shape)

    def _reserve(self, descriptor: int, size: int) -> None:
        """Reserve the disk space now: if a mapped file runs out of space, the process is killed."""
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
        images[index] = prepared(read(samples[index].path), spec)

    with progress_bar("images", visible=progress) as bar, ThreadPoolExecutor() as pool:
        task = bar.add_task("decode", total=len(samples), note="")
        for _ in pool.map(load, range(len(samples))):
            bar.advance(task)
    return images
