"""Two reports on the same images, metric by metric."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from uad.data import Sample
from uad.errors import DataError
from uad.evaluation import figures
from uad.evaluation.comparison_page import Change, DrawnChange, Pair, comparison_page, drawn_change
from uad.evaluation.gallery import by_name, pictures
from uad.evaluation.report import Report
from uad.metrics import Difference, Judgement, paired_bootstrap

if TYPE_CHECKING:
    from uad.inference.detector import Detector

PAGE = "comparison.html"
SHOWN = 24


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
        clusters: one name per image, in the reports' order; see `metrics.paired_bootstrap`.
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


def write_comparison(
    report_a: Report,
    report_b: Report,
    folder: Path,
    *,
    names: tuple[str, str] | None = None,
    detectors: "tuple[Detector, Detector] | None" = None,
    samples: Sequence[Sample] = (),
    clusters: Sequence[str] | None = None,
) -> dict[str, Path]:
    """Write a self-contained page that compares two versions on the same images.

    Args:
        report_a: for example the challenger's.
        report_b: for example the champion's.
        folder: made if it is not there.
        names: what to call them; their bundles' ids by default.
        detectors: with `samples`, they draw the images whose verdict changed; else a table does.
        samples: those that were evaluated.
        clusters: see `compare`.

    Returns:
        By name: `comparison.html` and the figures `roc.png`, `pr.png`, `pro.png` that it embeds.

    Raises:
        DataError: the reports are about different images.
    """
    found = compare(report_a, report_b, clusters=clusters)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    reports = (report_a, report_b)
    called = names or (report_a.provenance.bundle, report_b.provenance.bundle)
    charts = _charts(reports, called, folder)
    changed = changes(report_a, report_b)
    drawn = _drawn(changed[:SHOWN], detectors, samples, called) if detectors and samples else []
    page = folder / PAGE
    page.write_text(
        comparison_page(reports, called, found, charts, changed, drawn), encoding="utf-8"
    )
    return {PAGE: page, **{file.name: file for _, file in charts}}


def changes(a: Report, b: Report) -> list[Change]:
    """Images on which the two disagree: first those that A gets wrong and B right."""
    pairs = zip(a.images, b.images, strict=True)
    changed = [Change(one, two) for one, two in pairs if one.is_anomalous != two.is_anomalous]
    return sorted(changed, key=lambda change: (not change.a.is_wrong, change.a.name))


def require_same_images(a: Report, b: Report) -> None:
    """Raise DataError unless both reports saw the same images in the same order."""
    named = [[(image.name, image.label) for image in report.images] for report in (a, b)]
    if named[0] != named[1] or a.provenance.test_fingerprint != b.provenance.test_fingerprint:
        raise DataError(
            f"The reports of {a.provenance.bundle} and {b.provenance.bundle} are about different "
            "test images. Evaluate both on the same dataset version."
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


def _charts(
    reports: tuple[Report, Report], names: tuple[str, str], folder: Path
) -> list[tuple[str, Path]]:
    if reports[0].image_auroc is None:
        return []
    drawn = [
        ("ROC", figures.roc(reports, folder / "roc.png", names)),
        ("precision and recall", figures.precision_recall(reports, folder / "pr.png", names)),
    ]
    if reports[0].pro:
        drawn.append(("PRO", figures.pro(reports, folder / "pro.png", names)))
    return drawn


def _drawn(
    changed: Sequence[Change],
    detectors: "tuple[Detector, Detector]",
    samples: Sequence[Sample],
    names: Pair,
) -> list[DrawnChange]:
    known = by_name(samples)
    shown_a = pictures(detectors[0], known, [change.a for change in changed])
    shown_b = pictures(detectors[1], known, [change.b for change in changed])
    return [
        drawn_change(change, a, b, names)
        for change, a, b in zip(changed, shown_a, shown_b, strict=True)
    ]
