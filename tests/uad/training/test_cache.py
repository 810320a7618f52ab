import resource
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from uad.errors import TrainingError
from uad.training.cache import Cache


@pytest.fixture
def full_disk() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_arrays_beyond_the_bound_lie_on_the_disk_until_the_cache_closes(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 1000)
    assert not isinstance(cache.empty((1000,), np.uint8), np.memmap)
    beyond = cache.empty((500, 2), np.float16)
    assert isinstance(beyond, np.memmap)
    beyond[:] = 3
    assert (beyond == 3).all()
    cache.close()
    assert not list(tmp_path.iterdir())


def test_a_disk_without_room_is_a_sentence_and_not_the_end_of_the_process(
    tmp_path: Path, full_disk: None
) -> None:
    with pytest.raises(TrainingError, match="no room for"):
        Cache(tmp_path, 0).empty((1001,), np.uint8)
