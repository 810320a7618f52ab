"""Pictures of every kind on disk, and a pipeline with random weights."""

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from uad.pipeline import Pipeline, create_pipeline

Picture = NDArray[np.uint8]


@pytest.fixture
def pipeline(random_bundle: Callable[[int], Path]) -> Iterator[Pipeline]:
    with create_pipeline(random_bundle(1)) as made:
        yield made


@pytest.fixture
def picture() -> Callable[[int], Picture]:
    """From a seed to a picture of its own size, (H, W, 3) uint8 BGR, never square."""

    def make(seed: int) -> Picture:
        rng = np.random.default_rng(seed)
        return rng.integers(0, 256, (40 + seed, 61 - seed, 3), np.uint8)

    return make


@pytest.fixture
def folder(tmp_path: Path, picture: Callable[[int], Picture]) -> Path:
    """Five readable pictures, one of them in a subfolder under a name that occurs twice."""
    root = tmp_path / "my photos"
    (root / "sub").mkdir(parents=True)
    for seed, name in enumerate(("x.png", "b c.JPG", "grün.bmp", "sub/x.png", "z.webp")):
        done, data = cv2.imencode(Path(name).suffix.lower(), picture(seed))
        assert done
        (root / name).write_bytes(data.tobytes())
    (root / "notes.txt").write_text("no picture")
    (root / ".hidden.png").write_text("no picture")
    return root
