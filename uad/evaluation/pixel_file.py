"""Per-image histograms in one small file, so that a later run can bootstrap pixel metrics."""

from collections.abc import Sequence
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from uad.errors import DataError
from uad.metrics import ImageHistogram

PIXELS_FILE = "pixels.npz"
UNKNOWN = -1


def write_pixels(histograms: Sequence[ImageHistogram | None], file: Path) -> Path:
    """Write all images' histograms, one after another; no pickle."""
    known = [histogram for histogram in histograms if histogram is not None]
    sizes = [UNKNOWN if histogram is None else histogram.bins.size for histogram in histograms]
    np.savez_compressed(
        file,
        sizes=np.array(sizes, np.int64),
        bins=np.concatenate([np.zeros(0, np.int32), *(one.bins for one in known)]),
        counts=np.concatenate([np.zeros((3, 0), np.float32), *(one.counts for one in known)], 1),
    )
    return file


def read_pixels(file: Path) -> tuple[ImageHistogram | None, ...]:
    """What `write_pixels` wrote.

    Raises:
        DataError: the file is damaged.
    """
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            sizes, bins, counts = stored["sizes"], stored["bins"], stored["counts"]
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as exc:
        raise DataError(f"{file} is damaged ({exc}). Evaluate again.") from exc
    ends = np.cumsum(np.maximum(sizes, 0))
    return tuple(
        None
        if size == UNKNOWN
        else ImageHistogram(bins[end - size : end], counts[:, end - size : end])
        for size, end in zip(sizes.tolist(), ends.tolist(), strict=True)
    )
