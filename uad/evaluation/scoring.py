"""Run the detector over the test images: one result per image, pixels directly into histograms."""

import logging
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from uad import images
from uad.config.training import Areas
from uad.console import progress_bar
from uad.data import Sample
from uad.errors import EngineError
from uad.evaluation.report import ImageResult
from uad.images import Image
from uad.metrics import ImageHistogram, PixelStream
from uad.scoring.looks import ToldOnce
from uad.scoring.zones import ignored

if TYPE_CHECKING:
    from uad.inference.detector import Detection, Detector

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Judged:
    """One image."""

    result: ImageResult
    histogram: ImageHistogram | None
    seconds: float


def read_mask(
    sample: Sample, size: tuple[int, int], ignore: Areas = ()
) -> NDArray[np.bool_] | None:
    """The sample's defect pixels, (H, W) bool; None if it is normal, has no mask or an empty one.

    Pixels in the ignored regions do not count as defects.

    Raises:
        DataError: the file cannot be read, or has another size than the image's (H, W).
    """
    if sample.label == 0 or sample.mask is None:
        return None
    mask = images.read_mask(sample.mask, size) & (ignored(ignore, size) == 0)
    return mask if mask.any() else None


def judge_all(
    detector: "Detector",
    samples: tuple[Sample, ...],
    pixels: PixelStream,
    batch_size: int,
    progress: bool,
) -> Iterator[Judged]:
    """Judge each sample and count its pixels in `pixels`, under `good` or `defect <kind>`."""
    detector.detect([images.read(samples[0].path)])  # the first call is slower than all others
    once = ToldOnce()
    with progress_bar("images", visible=progress) as bar:
        task = bar.add_task("evaluate", total=len(samples), note="")
        for batch in (samples[i : i + batch_size] for i in range(0, len(samples), batch_size)):
            pictures = [images.read(sample.path) for sample in batch]
            start = time.perf_counter()
            detections = detector.detect(pictures)
            seconds = (time.perf_counter() - start) / len(batch)
            for sample, image, detection in zip(batch, pictures, detections, strict=True):
                for sentence in once.new(detection.warnings):
                    log.warning("%s: %s (Shown once.)", sample.name, sentence)
                yield _judge(detector, sample, image, detection, pixels, seconds)
                bar.advance(task)


def judge_said_good(detector: "Detector", samples: Iterable[Sample]) -> tuple[ImageResult, ...]:
    """What the detector says of those samples that people called good after a false alarm."""
    chosen = tuple(sample for sample in samples if sample.said_good)
    if not chosen:
        return ()
    judged = judge_all(detector, chosen, PixelStream(), batch_size=1, progress=False)
    return tuple(one.result for one in judged)


def _judge(
    detector: "Detector",
    sample: Sample,
    image: Image,
    detection: "Detection",
    pixels: PixelStream,
    seconds: float,
) -> Judged:
    if not np.isfinite(detection.score):
        raise EngineError(
            f"{sample.name} got the score {detection.score} on {detector.engine.key}. The model's "
            "weights are damaged or training diverged. Train again with a lower learning rate."
        )
    ignore = detector.bundle.manifest.input.ignore
    mask = read_mask(sample, (image.shape[0], image.shape[1]), ignore)
    counted = sample.label == 0 or mask is not None
    group = "good" if sample.label == 0 else f"defect {sample.defect}"
    histogram = pixels.add(detection.anomaly_map, mask, group) if counted else None
    peak = np.unravel_index(int(detection.anomaly_map.argmax()), detection.anomaly_map.shape)
    result = ImageResult(
        name=sample.name,
        label=sample.label,
        defect=sample.defect,
        score=detection.score,
        is_anomalous=detection.is_anomalous,
        p_value=detection.p_value,
        raised_by=detection.raised_by,
        zones=tuple(zone.name for zone in detection.zone_verdicts if zone.is_anomalous),
        has_mask=mask is not None,
        peak_in_mask=None if mask is None else bool(mask[peak]),
    )
    return Judged(result, histogram, seconds)
