"""Pixel metrics over any number of images in bounded memory.

A float32's bits, read as an integer, sort as the numbers do. These integers are cut into pages of
1,024 neighbouring floats, and pages that no pixel touched cost nothing. While the touched pages fit
into `MAX_BINS`, every distinct score has a bin of its own and the metrics are exact; beyond that,
neighbouring bins are merged two by two, in all pages alike. Ten octaves of scores keep 65,536 bins
an octave, and an octave never has fewer than 8,192. Scores in one bin count as ties, which moves
an AUROC by at most half of sum(share of normal * share of defect pixels) over the bins: below 1e-4
unless 2e-4 of one class's pixels lie within 1/8,192 of their own value.

AUPRO needs no histogram per component: the mean overlap of the components at a threshold is the sum
of 1 / (component's size) over the defect pixels above it, divided by the number of components. Each
defect pixel is counted with that weight.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce

import cv2
import numpy as np
from numpy.typing import NDArray

from uad.metrics import binned

MAX_BINS = 1 << 20
PAGE_BITS = 10
COARSE_BITS = 14
"""Neighbouring floats a bin in the per-image histograms for bootstraps: 512 bins an octave."""

NORMAL, ANOMALOUS, OVERLAP = range(3)

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class PixelMetrics:
    """Figures over pixels at the images' own size; None = undefined on these images."""

    auroc: float | None
    ap: float | None
    aupro: float | None
    """Up to a false positive rate of 0.3, divided by 0.3."""
    components: int
    """Defects: 8-connected parts of the masks."""
    roc: tuple[tuple[float, float], ...]
    """(false positive rate, true positive rate)."""
    pro: tuple[tuple[float, float], ...]
    """(false positive rate, mean overlap of the components)."""


@dataclass(frozen=True)
class ImageHistogram:
    """One image's pixels in coarse bins, sparse; enough to resample images in a bootstrap."""

    bins: NDArray[np.int32]
    counts: NDArray[np.float32]
    """(3, len(bins)): normal pixels, defect pixels, defect pixels weighted for AUPRO."""


class Histogram:
    """Counts of normal pixels, defect pixels and overlap by score."""

    def __init__(self) -> None:
        self.pages = np.zeros(0, np.int64)
        """Sorted; a page is a run of 2**PAGE_BITS neighbouring floats."""
        self.counts = np.zeros((3, 0, 1 << PAGE_BITS))
        """(3, pages, bins a page)."""

    def add(self, pages: NDArray[np.int64], counts: binned.Counts) -> None:
        """Add (3, n, width) counts of n sorted pages, width a power of two."""
        if not np.isin(pages, self.pages, assume_unique=True).all():
            self._make_room(pages)
        width = min(counts.shape[2], self.counts.shape[2])
        self.counts = _narrowed(self.counts, width)
        self.counts[:, np.searchsorted(self.pages, pages)] += _narrowed(counts, width)

    def merged(self, other: "Histogram") -> "Histogram":
        """A new histogram with the counts of both."""
        result = Histogram()
        for part in (self, other):
            result.add(part.pages, part.counts)
        return result

    def metrics(self) -> PixelMetrics:
        """AUROC, AP, AUPRO and their curves."""
        flat = self.counts.reshape(3, -1)
        used = flat[:, flat.any(axis=0)]
        normal, anomalous, overlap = used if used.size else np.zeros((3, 1))
        return PixelMetrics(
            auroc=_or_none(binned.auroc(normal, anomalous)),
            ap=_or_none(binned.average_precision(normal, anomalous)) if normal.any() else None,
            aupro=_or_none(binned.aupro(normal, overlap)),
            components=round(float(overlap.sum())),
            roc=tuple(binned.curve(normal, anomalous)),
            pro=tuple(binned.curve(normal, overlap)),
        )

    def _make_room(self, pages: NDArray[np.int64]) -> None:
        union = np.union1d(self.pages, pages)
        width = min(self.counts.shape[2], page_width(union.size))
        grown = np.zeros((3, union.size, width))
        grown[:, np.searchsorted(union, self.pages)] = _narrowed(self.counts, width)
        self.pages, self.counts = union, grown


class PixelStream:
    """Takes one anomaly map after another; remembers histograms only."""

    def __init__(self) -> None:
        self._groups: dict[str, Histogram] = {}

    def add(
        self, anomaly_map: NDArray[np.float32], mask: Mask | None, group: str = "good"
    ) -> ImageHistogram:
        """Count the pixels of one image under `group`.

        Args:
            anomaly_map: (H, W) float32, finite.
            mask: (H, W), True where the image is defective; None where it is normal all over.
            group: the kind of defect, or "good".
        """
        pages, counts = _count(_keys(anomaly_map), mask)
        self._groups.setdefault(group, Histogram()).add(pages, counts)
        return _sparse(pages, counts)

    def overall(self) -> PixelMetrics:
        """Over all images."""
        return reduce(Histogram.merged, self._groups.values(), Histogram()).metrics()

    def by_group(self, good: str = "good") -> Mapping[str, PixelMetrics]:
        """For each other group: its images against themselves and the good ones."""
        normal = self._groups.get(good, Histogram())
        return {
            name: histogram.merged(normal).metrics()
            for name, histogram in self._groups.items()
            if name != good
        }


def component_weights(mask: Mask) -> NDArray[np.float64]:
    """For each pixel 1 / (size of its 8-connected component), 0 outside the mask; (H, W)."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    weights = 1.0 / stats[:, cv2.CC_STAT_AREA].clip(1)
    weights[0] = 0.0
    return np.asarray(weights[labels], np.float64)


def _keys(anomaly_map: NDArray[np.float32]) -> NDArray[np.int64]:
    """Integers in the order of the scores, neighbours for neighbouring floats; (H * W,)."""
    values = np.ravel(anomaly_map).astype(np.float32) + np.float32(0)  # -0.0 becomes 0.0
    bits = values.view(np.int32)
    return np.where(bits < 0, bits ^ np.int32(0x7FFFFFFF), bits).astype(np.int64)


def page_width(pages: int) -> int:
    """Bins a page, the largest power of two that keeps `pages` pages within MAX_BINS."""
    return 1 << min(PAGE_BITS, max(0, (MAX_BINS // max(pages, 1)).bit_length() - 1))


def _count(keys: NDArray[np.int64], mask: Mask | None) -> tuple[NDArray[np.int64], binned.Counts]:
    """The touched pages of one image, sorted, and their (3, pages, width) counts."""
    page = keys >> PAGE_BITS
    first = page.min()
    page -= first
    touched = np.bincount(page) > 0
    pages = np.flatnonzero(touched)
    width = page_width(pages.size)
    within = (keys & ((1 << PAGE_BITS) - 1)) // ((1 << PAGE_BITS) // width)
    index = (np.cumsum(touched) - 1)[page] * width + within
    counts = _by_kind(index, pages.size * width, mask)
    return pages + first, counts.reshape(3, pages.size, width)


def _by_kind(index: NDArray[np.int64], size: int, mask: Mask | None) -> binned.Counts:
    counts = np.zeros((3, size))
    counts[NORMAL] = np.bincount(index, minlength=size)
    if mask is not None and mask.any():
        defect = np.ravel(mask)
        weights = np.ravel(component_weights(mask))[defect]
        counts[ANOMALOUS] = np.bincount(index[defect], minlength=size)
        counts[OVERLAP] = np.bincount(index[defect], weights=weights, minlength=size)
        counts[NORMAL] -= counts[ANOMALOUS]
    return counts


def _narrowed(counts: binned.Counts, width: int) -> binned.Counts:
    """Merge neighbouring bins of each page until it has `width` of them."""
    if counts.shape[2] == width:
        return counts
    return np.asarray(
        counts.reshape(3, counts.shape[1], width, counts.shape[2] // width).sum(axis=3)
    )


def _sparse(pages: NDArray[np.int64], counts: binned.Counts) -> ImageHistogram:
    coarse = pages >> (COARSE_BITS - PAGE_BITS)
    bins, starts = np.unique(coarse, return_index=True)
    summed = np.add.reduceat(counts.sum(axis=2), starts, axis=1)
    return ImageHistogram(bins.astype(np.int32), summed.astype(np.float32))


def _or_none(value: binned.Counts) -> float | None:
    return None if np.isnan(value) else float(value)
