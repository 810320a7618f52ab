"""Two reports on the same images, metric by metric."""

from collections.abc import Sequence

from uad.errors import DataError
from uad.evaluation.report import Report
from uad.metrics import Difference, Judgement, paired_bootstrap


def compare(
    a: Report,
    b: Report,
    *,
    clusters: Sequence[str] | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Difference]:
    """A's metrics minus B's, with paired 95 % bootstrap intervals; undefined ones are left out.

    Pixel metrics need reports that `evaluate` returned in this process or `read_report` read with
    their pixels beside them; reports from JSON alone are compared by image metrics.

    Args:
        a: for example a challenger's report.
        b: for example the champion's.
        clusters: one name an image, in the reports' order; see `metrics.paired_bootstrap`.
        resamples: bootstrap draws.
        seed: of the draws.

    Raises:
        DataError: the reports are about different images.
    """
    require_same_images(a, b)
    labels = [image.label for image in a.images]
    return paired_bootstrap(
        labels, _judgement(a), _judgement(b), clusters=clusters, resamples=resamples, seed=seed
    )


def require_same_images(a: Report, b: Report) -> None:
    """Raise DataError unless both reports saw the same images in the same order."""
    named = [[(image.name, image.label) for image in report.images] for report in (a, b)]
    if named[0] != named[1] or a.provenance.test_fingerprint != b.provenance.test_fingerprint:
        raise DataError(
            f"the reports of {a.provenance.bundle} and {b.provenance.bundle} are about different "
            "test images: evaluate both on the same data set version"
        )


def _judgement(report: Report) -> Judgement:
    return Judgement(
        scores=[image.score for image in report.images],
        threshold=report.threshold,
        histograms=report.histograms,
        figures={
            "pixel_auroc": report.pixel_auroc,
            "pixel_ap": report.pixel_ap,
            "aupro": report.aupro,
        },
    )
