import subprocess
import sys
from pathlib import Path

import numpy as np

from uad.training.cache import Cache

FULL_DISK = """
import resource, sys
from pathlib import Path
from uad.errors import TrainingError
from uad.training.cache import Cache
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    Cache(Path(sys.argv[1]), 0).empty((1001,), "uint8")
except TrainingError as exc:
    print(exc)
"""


def test_arrays_beyond_the_bound_lie_on_the_disk_until_the_cache_closes(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 1000)
    assert not isinstance(cache.empty((1000,), np.uint8), np.memmap)
    beyond = cache.empty((500, 2), np.float16)
    assert isinstance(beyond, np.memmap)
    beyond[:] = 3
    assert (beyond == 3).all()
    cache.close()
    assert not list(tmp_path.iterdir())


def test_a_disk_without_room_is_a_sentence_and_not_the_end_of_the_process(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert "no room for" in ran.stdout
