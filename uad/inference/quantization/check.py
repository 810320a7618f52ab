"""How close a quantised model is to float32: on normal images, and on planted defects.

Both models see the same images: normal ones that were not used for training, and copies with
planted defects whose pixels are known. A paired bootstrap over these images measures the loss from
8 bits.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from uad.bundle import Agreement, Bundle, MetricLoss
from uad.images import Image
from uad.inference.detector import Scorer
from uad.inference.engines import Engine
from uad.metrics import Difference, Judgement, PixelStream, paired_bootstrap
from uad.scoring.synthetic_defects import Mask, plant

PLANTED = 64
"""Least number of copies with planted defects, spread over the normal images."""
RESAMPLES = 500


@dataclass(frozen=True)
class Bounds:
    """How much an 8-bit model may differ."""

    noise: float = 1.0
    """Largest change of an image's log score, as a share of the standard deviation among normal
    images."""
    loss: float = 0.005
    """Largest certain loss of image or pixel AUROC on planted defects."""
    maps: float = 0.1
    """Largest change of a pixel of a normal image's anomaly map, as a share of the standard
    deviation among those pixels. Planted defects do not show losses on real, faint ones."""


class QuantizationCheck:
    """The float32 model's results, to compare 8-bit models with them."""

    def __init__(self, bundle: Bundle, exact: Engine, normals: Sequence[Image]) -> None:
        """`normals`: (H, W, 3) uint8 BGR, images that were not used for training."""
        rng = np.random.default_rng(0)
        copies = math.ceil(PLANTED / len(normals))
        planted = [plant(image, rng) for image in normals for _ in range(copies)]
        self._bundle = bundle
        self._images = [*normals, *(image for image, _ in planted)]
        self._masks: list[Mask | None] = [*[None] * len(normals), *(mask for _, mask in planted)]
        self._labels = [int(mask is not None) for mask in self._masks]
        self._exact, self._exact_maps = self._judged_by(exact)

    def of(self, rounded: Engine, *, images: int) -> Agreement:
        """Compare an 8-bit model with float32; `images` is the number of images for its ranges."""
        ours, maps = self._judged_by(rounded)
        found = paired_bootstrap(self._labels, self._exact, ours, resamples=RESAMPLES)
        return Agreement(
            images=images,
            noise=self._noise(ours),
            image_auroc=_rounded(found["image_auroc"]),
            pixel_auroc=_rounded(found["pixel_auroc"]),
            maps=self._moved(maps),
        )

    def _judged_by(self, engine: Engine) -> tuple[Judgement, NDArray[np.float32]]:
        """The engine's results for all images, and the normal ones' anomaly maps, (N, H, W)."""
        scorer, pixels = Scorer(self._bundle, engine), PixelStream()
        scores, histograms, maps = [], [], []
        for image, mask in zip(self._images, self._masks, strict=True):
            (scored,) = scorer.score([image])
            scores.append(scored.score)
            histograms.append(pixels.add(scored.anomaly_map, mask))
            if mask is None:
                maps.append(scored.anomaly_map)
        figures = {"pixel_auroc": pixels.overall().auroc}
        return Judgement(scores, 0.0, histograms, figures), np.stack(maps)

    def _moved(self, maps: NDArray[np.float32]) -> float:
        spread = float(self._exact_maps.std())
        return float((maps - self._exact_maps).std()) / spread if spread > 0 else 0.0

    def _noise(self, ours: Judgement) -> float:
        before, after = _logarithms(self._exact), _logarithms(ours)
        spread = float(before[np.asarray(self._labels) == 0].std())
        return float((after - before).std()) / spread if spread > 0 else 0.0


def objection(found: Agreement, bounds: Bounds) -> str | None:
    """Why a model with this agreement must not be used; None if it may be used."""
    image, pixel = found.image_auroc.least_loss, found.pixel_auroc.least_loss
    fits = found.noise <= bounds.noise and (found.maps or 0.0) <= bounds.maps
    if fits and max(image, pixel) <= bounds.loss:
        return None
    return (
        f"8-bit rounding moves scores by {found.noise:.2f} of normal images' spread (allowed "
        f"{bounds.noise:g}), their maps by {found.maps or 0.0:.2f} of theirs (allowed "
        f"{bounds.maps:g}) and costs at least {max(image, 0):.4f} image and {max(pixel, 0):.4f} "
        f"pixel AUROC of planted defects (allowed {bounds.loss:g})"
    )


def _rounded(found: Difference) -> MetricLoss:
    return MetricLoss(fp32=found.a, int8=found.b, least_loss=found.low)


def _logarithms(judgement: Judgement) -> NDArray[np.float64]:
    return np.log(np.maximum(np.asarray(judgement.scores, np.float64), 1e-30))
