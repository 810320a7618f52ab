"""Confidence intervals: Clopper-Pearson for rates, the bootstrap for everything else."""

import numpy as np
from numpy.typing import NDArray

Interval = tuple[float, float]

CONFIDENCE = 0.95


def clopper_pearson(hits: int, total: int, confidence: float = CONFIDENCE) -> Interval | None:
    """Exact binomial interval of the rate hits / total; None without trials.

    Clopper and Pearson, Biometrika 26 (1934).
    """
    if total == 0:
        return None
    from scipy.stats import binomtest

    found = binomtest(hits, total).proportion_ci(confidence, method="exact")
    return float(found.low), float(found.high)


def percentiles(values: NDArray[np.float64], confidence: float = CONFIDENCE) -> Interval | None:
    """The central `confidence` of bootstrap values; None where any is undefined."""
    if values.size == 0 or np.isnan(values).any():
        return None
    tail = 100 * (1 - confidence) / 2
    low, high = np.percentile(values, [tail, 100 - tail])
    return float(low), float(high)


def resample(
    strata: NDArray[np.int64],
    resamples: int,
    rng: np.random.Generator,
    clusters: NDArray[np.int64] | None = None,
) -> NDArray[np.float64]:
    """How often each of n items is drawn in each bootstrap resample, (resamples, n).

    Drawn with replacement within each stratum, so that every resample has both classes. Items
    that share a cluster are drawn together (clusters of one stratum, one draw a cluster).
    """
    counts = np.zeros((resamples, strata.size))
    for stratum in np.unique(strata):
        items = np.flatnonzero(strata == stratum)
        named = items if clusters is None else clusters[items]
        _, cluster = np.unique(named, return_inverse=True)
        size = int(cluster.max()) + 1
        drawn = rng.multinomial(size, np.full(size, 1.0 / size), size=resamples)
        counts[:, items] = drawn[:, cluster]
    return counts
