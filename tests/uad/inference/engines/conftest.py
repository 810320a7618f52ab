"""Bundles for the engines, without training."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from uad.bundle import Bundle, read_bundle


@pytest.fixture(scope="session")
def bundle(random_bundle: Callable[[int], Path]) -> Bundle:
    """Width 8, 32x32 px, random weights; shared, so not to be altered."""
    return read_bundle(random_bundle(5))


@pytest.fixture
def batch() -> NDArray[np.uint8]:
    """Five random images."""
    return np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
