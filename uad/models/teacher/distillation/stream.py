"""Endless seeded batches of crops, and a process that draws them ahead of the training."""

import multiprocessing
import queue
from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import numpy as np
from numpy.typing import NDArray

from uad.models.teacher.distillation.camera import Camera
from uad.models.teacher.distillation.scenes import Picture, draw_scene

Batch = NDArray[np.uint8]
Wish = tuple[int, int]
"""(count, edge in pixels) of a batch."""


class CropStream:
    """Crops from a pool of scenes that is renewed one scene at a time.

    A batch shows many scenes (batch norm wants variety) while each scene serves several crops
    (drawing one costs as much as some 30 crops).
    """

    def __init__(
        self,
        seed: tuple[int, ...],
        *,
        scene_px: int = 400,
        pool: int = 96,
        crops_a_scene: int = 40,
    ) -> None:
        self._rng = np.random.default_rng(seed)
        self._camera = Camera(self._rng)
        self._scene_px, self._pool_size, self._crops = scene_px, pool, crops_a_scene
        self._pool: list[Picture] = []
        self._since_renewal = 0

    def batch(self, count: int, edge: int) -> Batch:
        """(count, edge, edge, 3) uint8 RGB."""
        return np.stack([self._one(edge) for _ in range(count)])

    def _one(self, edge: int) -> Picture:
        self._renew()
        scene = self._pool[int(self._rng.integers(0, len(self._pool)))]
        return self._camera.shoot(scene, edge)

    def _renew(self) -> None:
        self._since_renewal += 1
        if len(self._pool) < self._pool_size:
            self._pool.append(draw_scene(self._rng, self._scene_px))
        elif self._since_renewal >= self._crops:
            place = int(self._rng.integers(0, self._pool_size))
            self._pool[place] = draw_scene(self._rng, self._scene_px)
            self._since_renewal = 0


class Prefetcher:
    """Asks a drawing process for batches ahead of time; `ask` then `take`, in the same order."""

    def __init__(
        self, wishes: "multiprocessing.Queue[Wish]", batches: "multiprocessing.Queue[Batch]"
    ) -> None:
        self._wishes, self._batches = wishes, batches

    def ask(self, count: int, edge: int) -> None:
        """Order one batch."""
        self._wishes.put((count, edge))

    def take(self, timeout_seconds: float = 300.0) -> Batch:
        """The oldest batch ordered and not yet taken.

        Raises:
            queue.Empty: the drawing process did not deliver in time.
        """
        return self._batches.get(timeout=timeout_seconds)


@contextmanager
def prefetching(seed: tuple[int, ...]) -> Iterator[Prefetcher]:
    """A drawing process of its own (one thread), ended on leaving."""
    context = multiprocessing.get_context("spawn")
    wishes: multiprocessing.Queue[Wish] = context.Queue()
    batches: multiprocessing.Queue[Batch] = context.Queue(maxsize=8)
    process = context.Process(target=_draw, args=(seed, wishes, batches), daemon=True)
    process.start()
    try:
        yield Prefetcher(wishes, batches)
    finally:
        process.terminate()
        process.join(10)


def _draw(
    seed: tuple[int, ...],
    wishes: "multiprocessing.Queue[Wish]",
    batches: "multiprocessing.Queue[Batch]",
) -> None:
    cv2.setNumThreads(1)
    stream = CropStream(seed)
    while True:
        try:
            count, edge = wishes.get(timeout=600)
        except queue.Empty:
            return
        batches.put(stream.batch(count, edge))
