"""What adding 100 images to 10,000 costs an ingest.

Run by hand: `python tests/bench/ingest.py [IMAGES] [ADDED]`. Tiny images (64 x 48, PNG), so that
the figures are those of the bookkeeping; a real image adds its decoding.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from uad.data import ingest
from uad.data.checks import scan

YESTERDAY = time.time() - 86400


def main(images: int = 10_000, added: int = 100) -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["UAD_HOME"] = f"{folder}/home"
        source = Path(folder) / "photos"
        source.mkdir()
        _draw(source, range(images))
        _timed(f"{images} images, all new", source)
        _timed("the same again", source)
        _draw(source, range(images, images + added))
        read = scan(source, progress=False).files_read
        print(f"with {added} more, a scan reads {read} files")
        (Path(folder) / "home/cache/files-v2.sqlite").unlink()
        _timed("after the index was lost", source)
        _draw(source, range(images + added, images + 2 * added))
        _timed(f"with another {added}", source)


def _draw(folder: Path, seeds: range) -> None:
    for seed in seeds:
        pixels = np.random.default_rng(seed).integers(0, 256, (48, 64, 3), np.uint8)
        file = folder / f"{seed:06}.png"
        cv2.imwrite(str(file), pixels)
        os.utime(file, (YESTERDAY, YESTERDAY))


def _timed(title: str, source: Path) -> None:
    started, busy = time.perf_counter(), time.process_time()
    version = ingest(source, "photos", progress=False)
    print(
        f"{title}: {version.counts['normal']} in version {version.version}, "
        f"{time.perf_counter() - started:.1f} s, {time.process_time() - busy:.1f} s of processor "
        "time",
        flush=True,
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
