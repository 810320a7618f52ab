import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from uad.bundle import read_bundle
from uad.engines import load_engine
from uad.engines.spread import SpreadEngine


class Counting:
    """An engine on some device: says how many images it ran, and when two calls overlapped."""

    name, precision, key = "paddle", "fp32", "paddle/fp32"

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.closed = False
        self._busy = threading.Lock()

    def level_maps(self, batch: np.ndarray) -> list[np.ndarray]:
        assert self._busy.acquire(blocking=False), "two threads in one engine"
        self.sizes.append(len(batch))
        self._busy.release()
        return [batch[:, 0, :, 0].astype(np.float32)[:, None]]

    def close(self) -> None:
        self.closed = True


def numbered(count: int) -> np.ndarray:
    return np.arange(count, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 3, 3), np.uint8)


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_results_are_in_the_batchs_order_and_every_image_is_run_once(count: int) -> None:
    engines = [Counting(), Counting(), Counting()]
    spread = SpreadEngine(engines)
    (level,) = spread.level_maps(numbered(count))
    spread.close()
    assert level[:, 0, 0].tolist() == list(range(count))
    assert sum(sum(engine.sizes) for engine in engines) == count
    assert max(sum(engine.sizes) for engine in engines) == -(-count // 3)
    assert all(engine.closed for engine in engines)


def test_single_images_take_turns_also_from_many_threads() -> None:
    engines = [Counting(), Counting()]
    spread = SpreadEngine(engines)
    threads = [
        threading.Thread(target=lambda: [spread.level_maps(numbered(1)) for _ in range(10)])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    spread.close()
    assert [len(engine.sizes) for engine in engines] == [20, 20]


def test_two_real_engines_compute_what_one_does(random_bundle: Callable[[int], Path]) -> None:
    bundle = read_bundle(random_bundle(1))
    one = load_engine(bundle, "onnxruntime", threads=1)
    spread = SpreadEngine([load_engine(bundle, "onnxruntime", threads=1) for _ in range(2)])
    batch = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), np.uint8)
    for expected, level in zip(one.level_maps(batch), spread.level_maps(batch), strict=True):
        assert np.allclose(level, expected, rtol=0, atol=1e-5)
    one.close()
    spread.close()
