"""Run a detector over labelled images, one after another, and count."""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from uad.data import Sample
from uad.errors import DataError
from uad.evaluation.report import (
    DefectResult,
    ImageResult,
    Latency,
    Provenance,
    Report,
    ThresholdDependence,
    ZoneResult,
)
from uad.evaluation.scoring import Judged, judge_all
from uad.metrics import (
    ImageMetrics,
    PixelMetrics,
    PixelStream,
    image_auroc,
    image_metrics,
)
from uad.scoring.conformal import beta_binomial_range, dependence
from uad.scoring.parts import described, described_parts

if TYPE_CHECKING:
    from uad.inference.detector import Detector


def evaluate(
    detector: "Detector",
    samples: Sequence[Sample],
    *,
    progress: bool = False,
    batch_size: int = 1,
    seed: int = 0,
) -> Report:
    """Judge every sample and compare with its label and mask; memory does not grow with them.

    Nothing is chosen here: threshold and score definition are the detector's. Normal images count
    as normal in every pixel; anomalous ones without a mask are left out of the pixel metrics.

    Args:
        detector: a bundle with its engine and threshold.
        samples: the test images; masks optional, never resized.
        progress: show a progress bar on standard error.
        batch_size: images per call; 1 measures the latency of a single request.
        seed: of the bootstrap intervals.

    Raises:
        DataError: no samples, or a mask that cannot be read or has another size than its image.
        EngineError: a score is not a finite number.
    """
    samples = tuple(samples)
    if not samples:
        raise DataError(
            "There are no test images. Put them into test/good and test/<defect>, or say what the "
            "folders hold: --normal DIR --defects DIR. Good images that the model learned from do "
            "not count."
        )
    pixels = PixelStream()
    judged = list(judge_all(detector, samples, pixels, batch_size, progress))
    return _report(detector, samples, judged, pixels, batch_size, seed)


def _report(
    detector: "Detector",
    samples: tuple[Sample, ...],
    judged: Sequence[Judged],
    pixels: PixelStream,
    batch_size: int,
    seed: int,
) -> Report:
    results = tuple(one.result for one in judged)
    figures = _image_metrics(results, seed)
    pixel = pixels.overall()
    n_calibration = len(detector.calibration.scores)
    captures = detector.calibration.n_captures
    expected = (
        beta_binomial_range(n_calibration, figures.normal, detector.alpha, captures=captures)
        if figures.normal and n_calibration
        else None
    )
    return Report(
        image_auroc=figures.auroc,
        pixel_auroc=pixel.auroc,
        aupro=pixel.aupro,
        f1=figures.f1,
        recall=figures.recall,
        false_alarm_rate=figures.false_alarm_rate,
        alpha=detector.alpha,
        threshold=detector.threshold,
        n_calibration=n_calibration,
        n_captures=captures,
        requested_alpha=detector.requested_alpha,
        depends_on=_dependence(detector),
        image_ap=figures.ap,
        f1_max=figures.f1_max,
        f1_max_threshold=figures.f1_max_threshold,
        pixel_ap=pixel.ap,
        intervals=figures.intervals,
        false_alarm_range=expected,
        n_normal=figures.normal,
        n_anomalous=figures.anomalous,
        false_alarms=figures.false_alarms,
        missed=figures.missed,
        n_masks=sum(result.has_mask for result in results),
        n_without_mask=sum(result.label and not result.has_mask for result in results),
        components=pixel.components,
        zones=_zones(detector, results),
        defects=_defects(results, pixels.by_group()),
        latency=_latency(judged, batch_size),
        images=results,
        pixel_roc=pixel.roc,
        pro=pixel.pro,
        provenance=_provenance(detector, samples),
    ).with_histograms(tuple(one.histogram for one in judged))


def _dependence(detector: "Detector") -> ThresholdDependence | None:
    """The calibration image without which the threshold would be much lower, if there is one."""
    entry = detector.calibration
    found = dependence(entry.scores, entry.images, detector.threshold)
    return (
        ThresholdDependence(image=found.image, threshold_without=found.without) if found else None
    )


def _image_metrics(results: Sequence[ImageResult], seed: int) -> ImageMetrics:
    return image_metrics(
        [result.label for result in results],
        [result.score for result in results],
        [result.is_anomalous for result in results],
        seed=seed,
    )


def _zones(detector: "Detector", results: Sequence[ImageResult]) -> tuple[ZoneResult, ...]:
    good = [result for result in results if not result.label]
    defective = [result for result in results if result.label]

    def alarms(of: Sequence[ImageResult], name: str) -> int:
        return sum(name in result.zones for result in of)

    return tuple(
        ZoneResult(
            name=each.zone.name,
            alpha=each.zone.alpha,
            threshold=each.threshold,
            false_alarms=alarms(good, each.zone.name),
            found=alarms(defective, each.zone.name),
        )
        for each in detector.calibration.zones
    )


def _defects(
    results: Sequence[ImageResult], pixels: Mapping[str, PixelMetrics]
) -> tuple[DefectResult, ...]:
    kinds = sorted({result.defect for result in results if result.label})
    return tuple(_defect(kind, results, pixels.get(f"defect {kind}")) for kind in kinds)


def _defect(kind: str, results: Sequence[ImageResult], pixel: PixelMetrics | None) -> DefectResult:
    own = [result for result in results if result.label and result.defect == kind]
    good = [result for result in results if not result.label]
    found = sum(result.is_anomalous for result in own)
    return DefectResult(
        defect=kind,
        images=len(own),
        masks=sum(result.has_mask for result in own),
        found=found,
        recall=found / len(own),
        image_auroc=_auroc(own + good),
        pixel_auroc=pixel.auroc if pixel else None,
        pixel_ap=pixel.ap if pixel else None,
        aupro=pixel.aupro if pixel else None,
    )


def _auroc(results: Sequence[ImageResult]) -> float | None:
    labels = [result.label for result in results]
    return image_auroc(labels, [result.score for result in results])


def _latency(judged: Sequence[Judged], batch_size: int) -> Latency:
    times = [1000 * one.seconds for one in judged]
    median, p95 = np.percentile(times, [50, 95])
    return Latency(median_ms=float(median), p95_ms=float(p95), batch_size=batch_size)


def _provenance(detector: "Detector", samples: Sequence[Sample]) -> Provenance:
    bundle, manifest = detector.bundle, detector.bundle.manifest
    trained_on = manifest.dataset
    return Provenance(
        bundle=bundle.id,
        bundle_path=str(bundle.path),
        uad_version=manifest.uad_version,
        model=manifest.model,
        engine=detector.engine.key,
        teacher=manifest.teacher.id,
        teacher_sha256=manifest.teacher.sha256,
        dataset=trained_on.name if trained_on else None,
        dataset_version=trained_on.version if trained_on else None,
        input_size=(manifest.input.height, manifest.input.width),
        parts=described_parts(manifest.detector),
        score=described(manifest.score, manifest.detector),
        chosen_epoch=manifest.chosen_epoch,
        git_revision=manifest.git_revision,
        test_fingerprint=_fingerprint(samples),
        created=datetime.now(UTC),
    )


def _fingerprint(samples: Sequence[Sample]) -> str:
    lines = sorted(f"{sample.sha256} {sample.label} {sample.name}" for sample in samples)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]
