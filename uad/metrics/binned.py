"""Metrics of counts per score bin: one implementation for pixels, bootstraps and curves.

Arrays are (..., B), bins in ascending order of score; leading axes (bootstrap resamples) are
computed at once. Scores that share a bin count as ties. Undefined is NaN; callers turn it to None.
"""

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.float64]

FPR_LIMIT = 0.3
"""AUPRO integrates up to this false positive rate (Bergmann et al., MVTec AD, IJCV 2021)."""


def auroc(normal: Counts, anomalous: Counts) -> Counts:
    """P(anomalous > normal) + P(equal) / 2, the area under the ROC curve with its ties."""
    below = np.cumsum(normal, axis=-1) - normal / 2
    pairs = normal.sum(axis=-1) * anomalous.sum(axis=-1)
    return _ratio((anomalous * below).sum(axis=-1), pairs)


def average_precision(normal: Counts, anomalous: Counts) -> Counts:
    """Sum of precision times step in recall over falling thresholds, as scikit-learn has it."""
    found, alarms = _falling(anomalous), _falling(normal)
    precision = _ratio(found, found + alarms, empty=0.0)
    step = np.flip(anomalous, axis=-1)
    return _ratio((precision * step).sum(axis=-1), anomalous.sum(axis=-1))


def f1_max(normal: Counts, anomalous: Counts) -> Counts:
    """The best F1 that any threshold reaches; a look in hindsight, no setting to use."""
    found, alarms = _falling(anomalous), _falling(normal)
    total = anomalous.sum(axis=-1, keepdims=True)
    best = _ratio(2 * found, found + alarms + total, empty=0.0).max(axis=-1)
    return np.where(total[..., 0] > 0, best, np.nan)


def aupro(normal: Counts, overlap: Counts, limit: float = FPR_LIMIT) -> Counts:
    """Area under per-region overlap against false positive rate up to `limit`, over `limit`.

    Args:
        normal: pixels without defect per bin.
        overlap: per bin the sum over defect pixels of 1 / (size of the pixel's component), so
            that its total is the number of components and its tail sum their mean overlap.
        limit: the highest false positive rate counted, in (0, 1].
    """
    fpr, pro = _curve(normal, overlap)
    x0, x1 = fpr[..., :-1], np.minimum(fpr[..., 1:], limit)
    y0, rise = pro[..., :-1], np.diff(pro, axis=-1)
    width = np.clip(x1 - x0, 0.0, None)
    share = _ratio(width, np.diff(fpr, axis=-1), empty=1.0)  # of the segment that is counted
    area = (width * (y0 + rise * share / 2)).sum(axis=-1) / limit
    defined = (normal.sum(axis=-1) > 0) & (overlap.sum(axis=-1) > 0)
    return np.where(defined, area, np.nan)


def curve(normal: Counts, part: Counts, points: int = 200) -> list[tuple[float, float]]:
    """(share of `normal`, share of `part`) above falling thresholds, thinned to about `points`.

    The corners (0, 0) and (1, 1) are kept; empty when either side has no counts. (B,) only.
    """
    if not normal.sum() or not part.sum():
        return []
    x, y = _curve(normal, part)
    travelled = np.maximum.accumulate(x + y)  # equal steps along the curve, steep parts included
    wanted = np.linspace(0.0, 2.0, points)
    kept = np.unique(
        np.concatenate([[0], np.searchsorted(travelled, wanted - 1e-12), [x.size - 1]])
    )
    kept = kept[kept < x.size]
    return [(float(x[i]), float(y[i])) for i in kept]


def _curve(normal: Counts, part: Counts) -> tuple[Counts, Counts]:
    """Both tail shares over falling thresholds, (..., B + 1), from 0 to 1."""
    axes = []
    for counts in (normal, part):
        share = _ratio(_falling(counts), counts.sum(axis=-1, keepdims=True), empty=0.0)
        axes.append(np.concatenate([np.zeros_like(share[..., :1]), share], axis=-1))
    return axes[0], axes[1]


def _falling(counts: Counts) -> Counts:
    """Counts at or above each bin, from the highest bin down."""
    return np.asarray(np.cumsum(np.flip(counts, axis=-1), axis=-1))


def _ratio(over: Counts, under: Counts, empty: float = np.nan) -> Counts:
    result = np.full(np.broadcast_shapes(over.shape, under.shape), empty)
    return np.asarray(np.divide(over, under, out=result, where=under > 0))
