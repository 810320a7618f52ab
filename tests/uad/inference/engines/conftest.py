"""Bundles for the engines, without training."""

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.bundles import write_random_bundle
from uad.bundle import Bundle, read_bundle
from uad.config.score import PARTS


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Every part, width 8, 32x32 px, random weights; shared, so not to be altered."""
    folder = tmp_path_factory.mktemp("engines") / "bundle"
    return read_bundle(write_random_bundle(folder, 5, parts=PARTS))


@pytest.fixture
def batch() -> NDArray[np.uint8]:
    """Five random images."""
    return np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
