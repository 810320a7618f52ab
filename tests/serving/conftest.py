from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from tests.serving.running import Running, encoded, running

Bundles = Callable[[int], Path]


@pytest.fixture
def serve() -> Iterator[Callable[..., Running]]:
    """Starts servers that end with the test."""
    with ExitStack() as servers:
        yield lambda **values: servers.enter_context(running(**values))


@pytest.fixture(scope="session")
def server(random_bundle: Bundles) -> Iterator[Running]:
    """One server for all tests that only ask."""
    with running(models=[str(random_bundle(1))], workers=2, limits={"pixels": 100_000}) as run:
        yield run


@pytest.fixture(scope="session")
def part() -> np.ndarray:
    """(48, 64, 3) uint8 BGR."""
    return np.random.default_rng(7).integers(0, 256, (48, 64, 3), np.uint8)


@pytest.fixture(scope="session")
def image(part: np.ndarray) -> str:
    """`part` as a base64 PNG."""
    return encoded(part)
