"""Paired bootstrap: is model A better than model B on the same images, or is it chance?

Images are drawn with replacement, the same ones for both models, and the difference of each metric
is taken anew (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, ch. 13). Pixel metrics
are recomputed from per-image histograms of at most `BINS` bins, each with at most 3/BINS of all
pixels unless one 512th of an octave holds more. What binning changes is the same for all draws, so
the interval is moved by the exact difference minus the binned one.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from uad.errors import DataError
from uad.metrics import binned
from uad.metrics.image import percentiles, resample, score_bins
from uad.metrics.pixel import ImageHistogram

BINS = 1024
PART = 100
"""Resamples at a time, to bound memory."""

Values = dict[str, binned.Counts]


@dataclass(frozen=True)
class Judgement:
    """What one model said of the images; all sequences in the same order of images."""

    scores: Sequence[float]
    threshold: float
    histograms: Sequence[ImageHistogram | None] = ()
    """Pixels per image, None if they are unknown; () leaves out the pixel metrics."""
    figures: Mapping[str, float | None] = field(default_factory=dict)
    """The exact metrics, where known: pixel metrics are then reported by them."""


@dataclass(frozen=True)
class Difference:
    """A metric of two models and the 95 % interval of the first minus the second."""

    a: float
    b: float
    difference: float
    low: float
    high: float


def paired_bootstrap(
    labels: Sequence[int],
    a: Judgement,
    b: Judgement,
    *,
    clusters: Sequence[str] | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Difference]:
    """Intervals of A minus B for each metric that is defined on these images.

    Args:
        labels: 0 normal, 1 anomalous, one per image.
        a: the first model's scores, threshold and pixels.
        b: the second one's, for the same images in the same order.
        clusters: images that share a name are drawn together (several shots of one part are one
            piece of evidence). Normal and anomalous images are drawn apart.
        resamples: draws; a 95 % interval wants 1,000.
        seed: of the draws; the same seed gives the same interval.

    Returns:
        By metric: `image_auroc`, `image_ap`, `f1`, `recall`, `false_alarm_rate`, and, where both
        have pixels, `pixel_auroc`, `pixel_ap`, `aupro`.

    Raises:
        DataError: the two do not cover the same number of images.
    """
    truth = np.asarray(labels, np.int64)
    if not truth.size or {len(a.scores), len(b.scores)} != {truth.size}:
        raise DataError(
            f"cannot compare {len(a.scores)} with {len(b.scores)} scores for {truth.size} labels: "
            "evaluate both models on the same images"
        )
    sides = _Side(truth, a), _Side(truth, b)
    names = None if clusters is None else np.unique(list(clusters), return_inverse=True)[1]
    rng = np.random.default_rng(seed)
    strata = 2 * truth + np.maximum(sides[0].has_pixels, sides[1].has_pixels)
    whole = [side.values(np.ones((1, truth.size))) for side in sides]
    draws: dict[str, list[binned.Counts]] = {name: [] for name in whole[0] if name in whole[1]}
    for drawn in _draws(strata, resamples, rng, names):
        first, second = (side.values(drawn) for side in sides)
        for name, parts in draws.items():
            parts.append(first[name] - second[name])
    return {
        name: found
        for name, parts in draws.items()
        if (found := _difference(name, a, b, whole, np.concatenate(parts))) is not None
    }


def _draws(
    strata: NDArray[np.int64],
    resamples: int,
    rng: np.random.Generator,
    clusters: NDArray[np.int64] | None,
) -> Iterator[NDArray[np.float64]]:
    for start in range(0, resamples, PART):
        yield resample(strata, min(PART, resamples - start), rng, clusters)


def _difference(
    name: str, a: Judgement, b: Judgement, whole: Sequence[Values], draws: binned.Counts
) -> Difference | None:
    binned_a, binned_b = (float(values[name][0]) for values in whole)
    interval = percentiles(draws)
    if interval is None or np.isnan(binned_a - binned_b):
        return None
    exact_a, exact_b = a.figures.get(name), b.figures.get(name)
    if exact_a is None or exact_b is None:
        exact_a, exact_b = binned_a, binned_b
    moved = (exact_a - exact_b) - (binned_a - binned_b)
    low, high = interval
    return Difference(exact_a, exact_b, exact_a - exact_b, low + moved, high + moved)


class _Side:
    """One model's metrics under any weighting of the images."""

    def __init__(self, labels: NDArray[np.int64], judgement: Judgement) -> None:
        self.labels = labels
        self.scores = np.asarray(judgement.scores, np.float64)
        self.alarm = self.scores > judgement.threshold
        known = judgement.histograms or [None] * labels.size
        self.has_pixels = np.array([histogram is not None for histogram in known], np.int64)
        self.pixels = dense(known) if any(self.has_pixels) else None

    def values(self, drawn: NDArray[np.float64]) -> Values:
        """Each metric for each row of `drawn`, (resamples, images); NaN where undefined."""
        normal, anomalous = score_bins(self.labels, self.scores, drawn)
        found = drawn @ (self.alarm & (self.labels == 1))
        false = drawn @ (self.alarm & (self.labels == 0))
        positives, negatives = anomalous.sum(axis=1), normal.sum(axis=1)
        images = {
            "image_auroc": binned.auroc(normal, anomalous),
            "image_ap": _where(negatives, binned.average_precision(normal, anomalous)),
            "f1": _where(positives, 2 * found / np.maximum(found + false + positives, 1)),
            "recall": _where(positives, found / np.maximum(positives, 1)),
            "false_alarm_rate": _where(negatives, false / np.maximum(negatives, 1)),
        }
        return images | self._pixel_values(drawn)

    def _pixel_values(self, drawn: NDArray[np.float64]) -> Values:
        if self.pixels is None:
            return {}
        counts = np.tensordot(drawn, self.pixels, axes=1)  # (resamples, 3, bins)
        normal, anomalous, overlap = counts[:, 0], counts[:, 1], counts[:, 2]
        return {
            "pixel_auroc": binned.auroc(normal, anomalous),
            "pixel_ap": _where(normal.sum(axis=1), binned.average_precision(normal, anomalous)),
            "aupro": binned.aupro(normal, overlap),
        }


def dense(histograms: Sequence[ImageHistogram | None]) -> NDArray[np.float64]:
    """Bring sparse histograms to common bins of about equal mass, (images, 3, <= BINS)."""
    known = [histogram for histogram in histograms if histogram is not None]
    bins = np.unique(np.concatenate([histogram.bins for histogram in known]))
    total = np.zeros((3, bins.size))
    for histogram in known:
        total[:, np.searchsorted(bins, histogram.bins)] += histogram.counts
    share = total / np.maximum(total.sum(axis=1, keepdims=True), 1)
    mass = np.cumsum(share.sum(axis=0))
    target = np.minimum((mass - share.sum(axis=0) / 2) / mass[-1] * BINS, BINS - 1).astype(int)
    result = np.zeros((len(histograms), 3, BINS))
    for image, found in enumerate(histograms):
        if found is not None:
            place = target[np.searchsorted(bins, found.bins)]
            for kind in range(3):
                result[image, kind] = np.bincount(place, found.counts[kind], BINS)
    return result[:, :, result.any(axis=(0, 1))]


def _where(defined: binned.Counts, values: binned.Counts) -> binned.Counts:
    return np.where(defined > 0, values, np.nan)


def chance_of_rise(new: int, old: int) -> float:
    """How probable so uneven counts of errors are where both models are equally good.

    Given new + old errors in all, each is as likely to be the one's as the other's: a one-sided
    binomial test (the sign test), on images of which each model has at most one error.
    """
    from scipy.stats import binomtest

    return float(binomtest(new, new + old, 0.5, alternative="greater").pvalue) if new else 1.0
