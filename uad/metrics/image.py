"""Image metrics: scikit-learn's figures, None if undefined, with confidence intervals."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from uad.metrics import binned

Interval = tuple[float, float]
CONFIDENCE = 0.95

RESAMPLES = 1000


@dataclass(frozen=True)
class ImageMetrics:
    """How well image scores and verdicts tell good from bad; None = undefined on these images."""

    auroc: float | None
    ap: float | None
    f1: float | None
    """At the threshold in force."""
    f1_max: float | None
    """The best F1 of any threshold, in hindsight."""
    f1_max_threshold: float | None
    recall: float | None
    """Share of the anomalous images that raise the alarm."""
    false_alarm_rate: float | None
    """Share of the normal images that raise the alarm."""
    normal: int
    anomalous: int
    false_alarms: int
    missed: int
    intervals: dict[str, Interval] = field(default_factory=dict)
    """95 %: Clopper-Pearson for `recall` and `false_alarm_rate`, else bootstrap over images."""


def image_metrics(
    labels: Sequence[int], scores: Sequence[float], alarms: Sequence[bool], *, seed: int = 0
) -> ImageMetrics:
    """Compare image scores and alarms with labels.

    Args:
        labels: 0 normal, 1 anomalous; one per score.
        scores: higher = more anomalous.
        alarms: whether each image raised the alarm.
        seed: of the bootstrap.
    """
    truth = np.asarray(labels, np.int64)
    values = np.asarray(scores, np.float64)
    alarm = np.asarray(alarms, np.bool_)
    normal, anomalous = int((truth == 0).sum()), int((truth == 1).sum())
    false_alarms = int((alarm & (truth == 0)).sum())
    found = int((alarm & (truth == 1)).sum())
    best, best_threshold = _f1_max(truth, values) if anomalous else (None, None)
    both = normal > 0 and anomalous > 0
    return ImageMetrics(
        auroc=image_auroc(labels, scores),
        ap=_average_precision(truth, values) if both else None,
        f1=2 * found / (found + false_alarms + anomalous) if anomalous else None,
        f1_max=best,
        f1_max_threshold=best_threshold,
        recall=found / anomalous if anomalous else None,
        false_alarm_rate=false_alarms / normal if normal else None,
        normal=normal,
        anomalous=anomalous,
        false_alarms=false_alarms,
        missed=anomalous - found,
        intervals=_intervals(truth, values, alarm, seed),
    )


def image_auroc(labels: Sequence[int], scores: Sequence[float]) -> float | None:
    """Area under the ROC curve; None unless both kinds of image are there."""
    if len(set(labels)) < 2:
        return None
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(labels, scores))


def score_bins(
    labels: NDArray[np.int64], scores: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[binned.Counts, binned.Counts]:
    """Exact bins, one per distinct score: (normal, anomalous) counts, each (resamples, B).

    Args:
        labels: (n,) 0 or 1.
        scores: (n,).
        weights: (resamples, n), how often each image is drawn.
    """
    order = np.argsort(scores)
    starts = np.flatnonzero(np.diff(scores[order], prepend=-np.inf) > 0)
    drawn, kind = weights[:, order], labels[order]
    normal = np.add.reduceat(drawn * (kind == 0), starts, axis=1)
    return normal, np.add.reduceat(drawn * (kind == 1), starts, axis=1)


def _average_precision(labels: NDArray[np.int64], scores: NDArray[np.float64]) -> float:
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(labels, scores))


def _f1_max(labels: NDArray[np.int64], scores: NDArray[np.float64]) -> tuple[float, float]:
    from sklearn.metrics import precision_recall_curve

    precision, recall, thresholds = precision_recall_curve(labels, scores)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    best = int(np.argmax(f1[:-1]))
    return float(f1[best]), float(thresholds[best])


def _intervals(
    labels: NDArray[np.int64], scores: NDArray[np.float64], alarm: NDArray[np.bool_], seed: int
) -> dict[str, Interval]:
    found: dict[str, Interval | None] = {
        "recall": clopper_pearson(int((alarm & (labels == 1)).sum()), int((labels == 1).sum())),
        "false_alarm_rate": clopper_pearson(
            int((alarm & (labels == 0)).sum()), int((labels == 0).sum())
        ),
    }
    if np.unique(labels).size == 2:
        found |= _bootstrapped(labels, scores, alarm, seed)
    return {name: interval for name, interval in found.items() if interval is not None}


def _bootstrapped(
    labels: NDArray[np.int64], scores: NDArray[np.float64], alarm: NDArray[np.bool_], seed: int
) -> dict[str, Interval | None]:
    values: dict[str, list[binned.Counts]] = defaultdict(list)
    rng = np.random.default_rng(seed)
    for _ in range(10):  # in parts, so that 10,000 images need no gigabytes
        drawn = resample(labels, RESAMPLES // 10, rng)
        normal, anomalous = score_bins(labels, scores, drawn)
        values["image_auroc"].append(binned.auroc(normal, anomalous))
        values["image_ap"].append(binned.average_precision(normal, anomalous))
        values["f1_max"].append(binned.f1_max(normal, anomalous))
        true, false = drawn @ (alarm & (labels == 1)), drawn @ (alarm & (labels == 0))
        values["f1"].append(2 * true / (true + false + (labels == 1).sum()))
    return {name: percentiles(np.concatenate(parts)) for name, parts in values.items()}


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
    """The central `confidence` of bootstrap values; None if any is undefined."""
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
    that share a cluster are drawn together (clusters of one stratum, one draw per cluster).
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
