"""AUPRO as its definition reads, one threshold and one component at a time."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage


def slow_aupro(
    maps: Sequence[NDArray[np.float32]], masks: Sequence[NDArray[np.bool_]], limit: float = 0.3
) -> float:
    """Every distinct score is a threshold; overlap is taken per 8-connected component."""
    components = []
    for values, mask in zip(maps, masks, strict=True):
        labels, count = ndimage.label(mask, structure=np.ones((3, 3)))
        components += [values[labels == number] for number in range(1, count + 1)]
    normal = np.concatenate([v[~m] for v, m in zip(maps, masks, strict=True)])
    thresholds = np.unique(np.concatenate([values.ravel() for values in maps]))[::-1]
    curve = [(0.0, 0.0)]
    for threshold in thresholds:
        overlaps = [(component >= threshold).mean() for component in components]
        curve.append((float((normal >= threshold).mean()), float(np.mean(overlaps))))
    area = 0.0
    for (x0, y0), (x1, y1) in pairwise(curve):
        if x1 > limit:  # the last piece ends at the limit, on the straight line
            return (area + (limit - x0) * (y0 + _between(x0, y0, x1, y1, limit)) / 2) / limit
        area += (x1 - x0) * (y0 + y1) / 2
    return area / limit


def _between(x0: float, y0: float, x1: float, y1: float, x: float) -> float:
    return y0 + (y1 - y0) * (x - x0) / (x1 - x0)
