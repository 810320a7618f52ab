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
"""Neighbouring floats per bin in the per-image histograms for bootstraps: 512 bins per octave."""

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
        self._pages = np.zeros(0, np.int64)
        """Sorted; a page is a run of 2**PAGE_BITS neighbouring floats."""
        self._slots = np.zeros(0, np.int64)
        """Where in `_counts` each of them is."""
        self._counts = np.zeros((3, 0, 1 << PAGE_BITS))
        """(3, slots, bins per page); slots beyond the last page are free for new ones."""

    def add(self, keys: NDArray[np.int64], weights: NDArray[np.float64] | None) -> None:
        """Count the pixels of one image.

        Args:
            keys: `order_keys` of its map, (H * W,).
            weights: `component_weights` of its mask, (H * W,); None if nothing is defective.
        """
        page = keys >> PAGE_BITS
        first = page.min()
        page -= first
        touched = np.bincount(page) > 0
        slots = np.zeros(touched.size, np.int64)
        slots[touched] = self._slots_of(np.flatnonzero(touched) + first)
        width = self._counts.shape[2]
        per_bin = PAGE_BITS - (width.bit_length() - 1)
        index = slots[page] * width + ((keys & ((1 << PAGE_BITS) - 1)) >> per_bin)
        rows = self._counts.reshape(3, -1)
        if weights is None:
            np.add.at(rows[NORMAL], index, 1.0)
            return
        defect = weights > 0
        np.add.at(rows[NORMAL], index[~defect], 1.0)
        np.add.at(rows[ANOMALOUS], index[defect], 1.0)
        np.add.at(rows[OVERLAP], index[defect], weights[defect])

    def counts(self) -> binned.Counts:
        """(3, bins) in ascending order of score, without empty bins."""
        flat = self._counts[:, self._slots].reshape(3, -1)
        return np.asarray(flat[:, flat.any(axis=0)])

    def merged(self, other: "Histogram") -> "Histogram":
        """A new histogram with the counts of both."""
        result = Histogram()
        for part in (self, other):
            slots = result._slots_of(part._pages)
            width = min(result._counts.shape[2], part._counts.shape[2])
            result._counts = _narrowed(result._counts, width)
            result._counts[:, slots] += _narrowed(part._counts, width)[:, part._slots]
        return result

    def metrics(self) -> PixelMetrics:
        """AUROC, AP, AUPRO and their curves."""
        counts = self.counts()
        normal, anomalous, overlap = counts if counts.size else np.zeros((3, 1))
        return PixelMetrics(
            auroc=_or_none(binned.auroc(normal, anomalous)),
            ap=_or_none(binned.average_precision(normal, anomalous)) if normal.any() else None,
            aupro=_or_none(binned.aupro(normal, overlap)),
            components=round(float(overlap.sum())),
            roc=tuple(binned.curve(normal, anomalous)),
            pro=tuple(binned.curve(normal, overlap)),
        )

    def _slots_of(self, pages: NDArray[np.int64]) -> NDArray[np.int64]:
        """Slots of sorted `pages`, given to them where they are new."""
        new = pages[~np.isin(pages, self._pages, assume_unique=True, kind="sort")]
        if new.size:
            self._make_room(self._pages.size + new.size)
            slots = np.arange(self._pages.size, self._pages.size + new.size)
            merged = np.concatenate([self._pages, new])
            order = np.argsort(merged, kind="stable")
            self._pages, self._slots = merged[order], np.concatenate([self._slots, slots])[order]
        return self._slots[np.searchsorted(self._pages, pages)]

    def _make_room(self, pages: int) -> None:
        """Bins for `pages` pages: twice as many slots, or fewer bins per page."""
        width = self._counts.shape[2]
        while width > 1 and pages * width > MAX_BINS:
            width //= 2
        self._counts = _narrowed(self._counts, width)
        slots = self._counts.shape[1]
        if pages > slots:
            wanted = max(pages, min(2 * slots, MAX_BINS // width))
            self._counts = np.pad(self._counts, ((0, 0), (0, wanted - slots), (0, 0)))


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
            mask: (H, W), True where the image is defective; None if it is normal all over.
            group: the kind of defect, or "good".
        """
        keys = order_keys(anomaly_map)
        weights = None if mask is None or not mask.any() else np.ravel(component_weights(mask))
        self._groups.setdefault(group, Histogram()).add(keys, weights)
        return _coarse(keys, weights)

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


def order_keys(anomaly_map: NDArray[np.float32]) -> NDArray[np.int64]:
    """Integers in the order of the scores, neighbours for neighbouring floats; (H * W,)."""
    values = np.ravel(anomaly_map).astype(np.float32) + np.float32(0)  # -0.0 becomes 0.0
    bits = values.view(np.int32)
    return np.where(bits < 0, bits ^ np.int32(0x7FFFFFFF), bits).astype(np.int64)


def _narrowed(counts: binned.Counts, width: int) -> binned.Counts:
    """Merge neighbouring bins of each page until it has `width` of them."""
    while counts.shape[2] > width:
        counts = counts[:, :, 0::2] + counts[:, :, 1::2]
    return counts


def _coarse(keys: NDArray[np.int64], weights: NDArray[np.float64] | None) -> ImageHistogram:
    index = keys >> COARSE_BITS
    first = int(index.min())
    index -= first
    counts = np.zeros((3, int(index.max()) + 1))
    counts[NORMAL] = np.bincount(index)
    if weights is not None:
        defect = weights > 0
        counts[ANOMALOUS] = np.bincount(index[defect], minlength=counts.shape[1])
        counts[OVERLAP] = np.bincount(index[defect], weights[defect], counts.shape[1])
        counts[NORMAL] -= counts[ANOMALOUS]
    used = np.flatnonzero(counts.any(axis=0))
    return ImageHistogram((used + first).astype(np.int32), counts[:, used].astype(np.float32))


def _or_none(value: binned.Counts) -> float | None:
    return None if np.isnan(value) else float(value)
