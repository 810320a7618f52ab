"""How good a detector is: image metrics by scikit-learn, pixel metrics by streaming histograms."""

from uad.metrics.image import ImageMetrics, Interval, clopper_pearson, image_auroc, image_metrics
from uad.metrics.paired import Difference, Judgement, paired_bootstrap
from uad.metrics.pixel import ImageHistogram, PixelMetrics, PixelStream

__all__ = [
    "Difference",
    "ImageHistogram",
    "ImageMetrics",
    "Interval",
    "Judgement",
    "PixelMetrics",
    "PixelStream",
    "clopper_pearson",
    "image_auroc",
    "image_metrics",
    "paired_bootstrap",
]
