"""Several devices as one engine: each has a worker thread, a batch is shared out among them."""

import itertools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from uad.engines.base import Engine, LevelMaps


class SpreadEngine:
    """Equal engines on different devices; each runs one share at a time, so none need be shared.

    Results are those of one engine, in the batch's order. Single images take turns.
    """

    def __init__(self, engines: Sequence[Engine]) -> None:
        self._engines = list(engines)
        self._workers = [ThreadPoolExecutor(1, thread_name_prefix="device") for _ in engines]
        self._turn = itertools.count()

    @property
    def name(self) -> str:
        """See `Engine.name`."""
        return self._engines[0].name

    @property
    def precision(self) -> str:
        """See `Engine.precision`."""
        return self._engines[0].precision

    @property
    def key(self) -> str:
        """See `Engine.key`."""
        return self._engines[0].key

    def level_maps(self, batch: NDArray[np.uint8]) -> LevelMaps:
        """See `Engine.level_maps`."""
        count = len(self._engines)
        shares = [share for share in np.array_split(batch, count) if len(share)] or [batch]
        first = next(self._turn) if len(shares) < count else 0
        running = [
            self._workers[place].submit(self._engines[place].level_maps, share)
            for place, share in zip(self._places(first), shares, strict=False)
        ]
        parts = [future.result() for future in running]
        return [np.concatenate(level) for level in zip(*parts, strict=True)]

    def close(self) -> None:
        """See `Engine.close`."""
        for worker, engine in zip(self._workers, self._engines, strict=True):
            worker.shutdown()
            engine.close()

    def _places(self, first: int) -> list[int]:
        count = len(self._engines)
        return [(first + step) % count for step in range(count)]
