"""Small real image files, and a small dataset in the MVTec layout."""

import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from uad.cli import main

Draw = Callable[..., Path]
LONG_AGO = 1_600_000_000


def run(*arguments: str) -> int:
    """The exit status of a command."""
    with pytest.raises(SystemExit) as stopped:
        main(list(arguments))
    return int(stopped.value.code or 0)


def write_long_ago(file: Path, data: bytes) -> Path:
    """A damaged file that nobody is still writing."""
    file.write_bytes(data)
    os.utime(file, (LONG_AGO, LONG_AGO))
    return file


@pytest.fixture
def draw(tmp_path: Path) -> Draw:
    """Write an image file of random pixels; the same seed gives the same bytes."""

    def write(name: str, seed: int, size: tuple[int, int] = (32, 40)) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(seed).integers(0, 255, (*size, 3), np.uint8)
        path.write_bytes(cv2.imencode(path.suffix.lower(), pixels)[1].tobytes())
        return path

    return write


@pytest.fixture
def draw_mask(tmp_path: Path) -> Draw:
    """Write a mask file with a square of `value`."""

    def write(name: str, value: int = 255, size: tuple[int, int] = (32, 40)) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        mask = np.zeros(size, np.uint8)
        mask[4:12, 4:12] = value
        path.write_bytes(cv2.imencode(".png", mask)[1].tobytes())
        return path

    return write


@pytest.fixture
def parts(tmp_path: Path, draw: Draw, draw_mask: Draw) -> Path:
    """12 normal images, 3 good and 4 cracked test images, the cracked ones with masks."""
    for index in range(12):
        draw(f"parts/train/good/{index:03}.png", seed=index)
    for index in range(3):
        draw(f"parts/test/good/{index:03}.png", seed=100 + index)
    for index in range(4):
        draw(f"parts/test/cracked/{index:03}.png", seed=200 + index)
        draw_mask(f"parts/ground_truth/cracked/{index:03}_mask.png")
    return tmp_path / "parts"
