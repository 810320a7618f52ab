"""How fast and how large the pixel metrics are: 1,000 images of 1024 x 1024, half with defects.

Run by hand: `python tests/bench/pixel_metrics.py [IMAGES]`. The maps are made up beforehand, a
handful that are reused with other gains; only the time inside the metrics is counted.
"""

import resource
import sys
import time

import cv2
import numpy as np

from uad.metrics import PixelStream

SIDE = 1024


def main(images: int) -> None:
    rng = np.random.default_rng(0)
    coarse = rng.lognormal(sigma=1.5, size=(8, 64, 64)).astype(np.float32)
    maps = [cv2.resize(values, (SIDE, SIDE)) for values in coarse]
    mask = np.zeros((SIDE, SIDE), bool)
    for y, x, r in rng.integers(10, SIDE - 60, (40, 3)):
        mask[y : y + 10 + r % 40, x : x + 30] = True
    stream, seconds, processor = PixelStream(), 0.0, 0.0
    for index in range(images):
        values = maps[index % 8] * np.float32(1 + index / images) + 0.5 * mask
        start, busy = time.perf_counter(), time.process_time()
        if index % 2:
            stream.add(values, mask, f"kind {index % 6}")
        else:
            stream.add(values, None)
        seconds += time.perf_counter() - start
        processor += time.process_time() - busy
    start, busy = time.perf_counter(), time.process_time()
    metrics = stream.overall()
    stream.by_group()
    seconds += time.perf_counter() - start
    processor += time.process_time() - busy
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{images} images of {SIDE}x{SIDE}: {seconds:.1f} s in the metrics "
        f"({processor:.1f} s of processor time), peak {peak:.0f} MB"
    )
    print(f"pixel AUROC {metrics.auroc:.4f}, AP {metrics.ap:.4f}, AUPRO {metrics.aupro:.4f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
