"""The figures in plain words, for the page and the terminal."""

from collections import Counter
from collections.abc import Sequence

from uad.evaluation.report import DefectResult, Report, short
from uad.scoring.conformal import Dependence, shortfall_sentence

Row = tuple[str, str, str]
"""(what, figure, what it means)."""


def percent(rate: float) -> str:
    """`3.2 %`; whole per cents from 10 on."""
    value = 100 * rate
    return f"{value:.0f} %" if value >= 9.95 or value == 0 else f"{value:.1f} %"


def figures(report: Report) -> list[Row]:
    """The main figures with their intervals and a short explanation each."""
    return [
        _row(report, "image AUROC", "image_auroc", ("chance that a defective image scores higher "
                                                   "than a good one")),
        _row(report, "image AP", "image_ap", "area under precision and recall"),
        _row(report, "F1", "f1", "precision and recall at the threshold, combined"),
        _row(report, "F1, best", "f1_max", ("F1 at the best possible threshold, known only "
                                           "afterwards")),
        _rate(report, "recall", "recall", f"{report.n_anomalous - report.missed} of "
              f"{report.n_anomalous} defective images raised the alarm"),
        _rate(report, "false alarm rate", "false_alarm_rate", _promise(report)),
        ("pixel AUROC", short(report.pixel_auroc), ("chance that a defective pixel scores higher "
                                                   "than a good one")),
        ("pixel AP", short(report.pixel_ap), "area under precision and recall of pixels"),
        ("AUPRO", short(report.aupro), f"overlap with {report.components} defects while at most "
         "30 % of the good pixels are marked"),
        ("threshold", f"{report.threshold:.6g}", ("alarm above this score; false alarm rate "
                                                 f"{short(report.alpha, 3)} from "
                                                 f"{calibrated_on(report)}")),
        ("parts", report.provenance.parts or "student", ("what the score is made of; each part's "
                                                        "weight, if it is not 1")),
        ("time an image", f"{report.latency.median_ms:.1f} ms",
         f"median; 95 % within {report.latency.p95_ms:.1f} ms, {report.latency.batch_size} at a "
         f"time, {report.provenance.engine}"),
    ]  # fmt: skip


def defect_rows(defects: Sequence[DefectResult]) -> list[tuple[object, ...]]:
    """defect, images, found, recall, image AUROC, pixel AUROC, AUPRO, masks; least found first."""
    return [
        (
            *(row.defect, row.images, row.found, percent(row.recall), row.image_auroc),
            *(row.pixel_auroc, row.aupro, row.masks),
        )
        for row in sorted(defects, key=lambda row: row.recall)
    ]


def sentences(report: Report) -> list[str]:
    """What a person should know, the most important first."""
    return [
        sentence
        for sentence in (
            _found(report),
            _false_alarms(report),
            _raised_by(report),
            *_zones(report),
            said_good_sentence(report),
            _unmet_alpha(report),
            _dependence(report),
            _located(report),
            _weakest(report),
            _unmasked(report),
        )
        if sentence
    ]


def within_promise(report: Report) -> bool | None:
    """Whether the observed false alarm rate lies at or below the upper end of its range."""
    if report.false_alarm_rate is None or report.false_alarm_range is None:
        return None
    return report.false_alarm_rate <= report.false_alarm_range[1] + 1e-9


def promise_kept(report: Report) -> bool | None:
    """True: at most alpha; False: above what chance allows; None: between, or not known."""
    within = within_promise(report)
    return within if not within else (True if _at_most_alpha(report) else None)


def _at_most_alpha(report: Report) -> bool:
    return report.false_alarm_rate is not None and report.false_alarm_rate <= report.alpha + 1e-9


def interval(report: Report, name: str) -> str:
    """The 95 % interval of a metric, or nothing."""
    found = report.intervals.get(name)
    return f"{found[0]:.3f} to {found[1]:.3f}" if found else ""


def _row(report: Report, what: str, name: str, meaning: str) -> Row:
    bounds = interval(report, name)
    return what, short(getattr(report, name)), meaning + (f" (95 %: {bounds})" if bounds else "")


def _rate(report: Report, what: str, name: str, meaning: str) -> Row:
    value = getattr(report, name)
    if value is None:
        return what, "-", "there are no such images in the test set"
    low, high = report.intervals[name]
    return what, short(value), f"{meaning} (95 %: {percent(low)} to {percent(high)})"


def calibrated_on(report: Report) -> str:
    """`142 calibration images of 25 captures`."""
    text = f"{report.n_calibration} calibration images"
    return text if report.n_captures is None else f"{text} of {report.n_captures} captures"


def _promise(report: Report) -> str:
    counted = f"{report.false_alarms} of {report.n_normal} good images"
    if report.false_alarm_range is None:
        return counted
    low, high = report.false_alarm_range
    return (
        f"{counted}; a rate of {short(report.alpha, 3)} is set, {percent(low)} to "
        f"{percent(high)} is expected here"
    )


def _found(report: Report) -> str:
    if report.recall is None:
        return "The test set has only good images. How many defects are found is not known."
    found = report.n_anomalous - report.missed
    text = f"Found {found} of {report.n_anomalous} defective images ({percent(report.recall)})."
    if report.missed and (report.image_auroc or 0) > 0.9:
        text += (
            " The scores separate good from defective better than the threshold does. A higher "
            "false alarm rate would find more defects. More calibration images make the "
            "threshold more exact."
        )
    return text


def _false_alarms(report: Report) -> str:
    if report.false_alarm_rate is None:
        return "The test set has no good images. The false alarm rate is not known."
    text = (
        f"{report.false_alarms} of {report.n_normal} good images raised a false alarm "
        f"({percent(report.false_alarm_rate)})."
    )
    if report.false_alarm_range is None:
        return text
    low, high = report.false_alarm_range
    text += (
        f" The threshold is set for {percent(report.alpha)} on average. With "
        f"{calibrated_on(report)} and {report.n_normal} good test images, {percent(low)} to "
        f"{percent(high)} is expected in 95 of 100 cases"
    )
    if _at_most_alpha(report):
        return text + ": as guaranteed."
    if within_promise(report):
        return text + (
            ". It is more than the average that is set. So few images cannot tell chance from a "
            "real rise: test with more good images."
        )
    return text + (
        ": this is more. The good test images differ from the training images (light, position, "
        "batch). Add such images to the training folder and train again."
    )


def _raised_by(report: Report) -> str:
    counts = Counter(image.raised_by for image in report.images if image.raised_by)
    if len(counts) < 2 and "whole image" not in counts:
        return ""
    told = ", ".join(f"{part} {count}" for part, count in counts.most_common())
    return (
        f"The part that raised the alarm: {told}. An alarm of the whole image may mark nothing: "
        "something is missing, extra or in the wrong place."
    )


def said_good_sentence(report: Report) -> str:
    """What became of earlier false alarms; nothing where there were none."""
    count = len(report.said_good)
    if not count:
        return ""
    still = sum(image.is_anomalous for image in report.said_good)
    return (
        f"Of {count} image{'s' if count > 1 else ''} that people called good after a false alarm, "
        f"{still} still raise{'' if still != 1 else 's'} one. They are used for training, so no "
        "figure counts them."
    )


def _zones(report: Report) -> list[str]:
    return [
        f"Zone {zone.name}: {zone.false_alarms} of {report.n_normal} good images raised a false "
        f"alarm there. At most {percent(zone.alpha)} on average is set, out of the image's "
        f"{percent(report.alpha)}. It raised the alarm in {zone.found} of {report.n_anomalous} "
        "defective images."
        for zone in report.zones
    ]


def _unmet_alpha(report: Report) -> str:
    return shortfall_sentence(
        report.requested_alpha or report.alpha,
        report.alpha,
        report.n_calibration,
        report.n_captures,
        len(report.zones),
    )


def _dependence(report: Report) -> str:
    one = report.depends_on
    if one is None:
        return ""
    return Dependence(one.image, report.threshold, one.threshold_without).sentence()


def _located(report: Report) -> str:
    if report.aupro is None:
        return "There are no masks. Whether the right place was marked was not measured."
    peaks = [image.peak_in_mask for image in report.images if image.peak_in_mask is not None]
    return (
        f"The highest point of the map was on the defect in {sum(peaks)} of {len(peaks)} images "
        f"with masks (AUPRO {short(report.aupro, 3)}, pixel AUROC {short(report.pixel_auroc, 3)})."
    )


def _weakest(report: Report) -> str:
    if len(report.defects) < 2:
        return ""
    worst = min(report.defects, key=lambda row: (row.recall, row.image_auroc or 0.0))
    if worst.found == worst.images:
        return "Every defective image raised the alarm, whatever its kind of defect."
    return (
        f"Weakest on {worst.defect}: found {worst.found} of {worst.images} "
        f"({percent(worst.recall)}), AUPRO {short(worst.aupro, 3)}."
    )


def _unmasked(report: Report) -> str:
    if not report.n_without_mask or report.aupro is None:
        return ""
    return (
        f"{report.n_without_mask} defective images have no mask or an empty one. They do not "
        "count in the pixel figures."
    )
