"""Reports with chosen figures."""

from datetime import UTC, datetime

from uad.evaluation import Latency, Provenance, Report

PROVENANCE = Provenance(
    bundle="0123456789ab",
    bundle_path="bundles/cookie",
    uad_version="0.1.0",
    model="STFPM-resnet18",
    engine="onnxruntime/fp32",
    teacher="random",
    teacher_sha256="0" * 64,
    dataset="cookie",
    dataset_version="abc",
    input_size=(64, 64),
    score="product",
    chosen_epoch=1,
    git_revision=None,
    test_fingerprint="f" * 64,
    created=datetime(2026, 1, 1, tzinfo=UTC),
)


def report(
    image_auroc: float | None = 0.9,
    aupro: float | None = 0.8,
    *,
    false_alarm_rate: float = 0.05,
    false_alarm_range: tuple[float, float] = (0.0, 0.2),
    median_ms: float = 20.0,
    missed: int = 0,
) -> Report:
    """A report on 20 normal images, and on 20 anomalous ones unless `image_auroc` is None."""
    anomalous = 0 if image_auroc is None else 20
    return Report(
        image_auroc=image_auroc,
        pixel_auroc=aupro,
        aupro=aupro,
        f1=None,
        recall=None,
        false_alarm_rate=false_alarm_rate,
        alpha=0.05,
        threshold=1.0,
        n_calibration=19,
        false_alarm_range=false_alarm_range,
        n_normal=20,
        n_anomalous=anomalous,
        false_alarms=round(20 * false_alarm_rate),
        missed=missed if anomalous else 0,
        n_masks=anomalous if aupro is not None else 0,
        n_without_mask=0 if aupro is not None else anomalous,
        latency=Latency(median_ms=median_ms, p95_ms=2 * median_ms, batch_size=1),
        images=(),
        provenance=PROVENANCE,
    )
