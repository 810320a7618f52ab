"""The HTML page of two versions on the same images."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from uad.evaluation.explanations import percent
from uad.evaluation.gallery import Picture
from uad.evaluation.page import (
    Tile,
    chart_grid,
    gallery,
    page,
    scale,
    section,
    table,
    verdict,
)  # fmt: skip
from uad.evaluation.report import ImageResult, Report, short
from uad.metrics import Difference

NAMES = {
    "image_auroc": "image AUROC",
    "image_ap": "image AP",
    "f1": "F1",
    "recall": "recall",
    "false_alarm_rate": "false alarm rate",
    "pixel_auroc": "pixel AUROC",
    "pixel_ap": "pixel AP",
    "aupro": "AUPRO",
}

Pair = tuple[str, str]


@dataclass(frozen=True)
class Change:
    """An image on which two versions disagree."""

    a: ImageResult
    b: ImageResult


@dataclass(frozen=True)
class Row:
    """A change with its pictures."""

    change: Change
    a: Picture
    b: Picture


def comparison_page(
    reports: tuple[Report, Report],
    names: Pair,
    found: Mapping[str, Difference],
    charts: Iterable[tuple[str, Path]],
    changed: Sequence[Change],
    drawn: Sequence[Row],
) -> str:
    """The page; `found` holds A minus B."""
    a = reports[0]
    charts = list(charts)
    subtitle = (
        f"{a.n_normal} good and {a.n_anomalous} defective test images, the same for both; "
        f"fingerprint {a.provenance.test_fingerprint}"
    )
    return page(
        f"{names[0]} against {names[1]}",
        subtitle,
        section("In plain words", _words(names, found, changed)),
        section("Figures", metric_table(names, found)),
        section("Curves", chart_grid(charts)) if charts else "",
        section("Found by kind of defect", _defects(reports, names)) if a.defects else "",
        section("Images on which they disagree", _changes(reports, names, changed, drawn)),
        section("The two versions", _versions(reports, names)),
    )


def metric_table(names: Pair, found: Mapping[str, Difference]) -> str:
    """Each metric of both, the difference, its interval and what to make of it."""
    rows = [
        (
            *(NAMES[name], one.a, one.b, f"{one.difference:+.4f}"),
            *(f"{one.low:+.4f} to {one.high:+.4f}", conclusion(name, one, names)),
        )
        for name, one in found.items()
    ]
    head = ("", *names, "difference", "95 % interval", "")
    note = (
        "<p>Paired bootstrap over the images. With an interval that holds 0 these images cannot "
        "tell the two apart.</p>"
    )
    return table(head, rows, figures_in=range(1, 5)) + note


def conclusion(name: str, found: Difference, names: Pair) -> str:
    """Which version is better in this metric, if the interval says so."""
    if found.low <= 0 <= found.high:
        return "no clear difference"
    higher, lower = names if found.difference > 0 else names[::-1]
    return f"{lower if name == 'false_alarm_rate' else higher} is better"


def _words(names: Pair, found: Mapping[str, Difference], changed: Sequence[Change]) -> str:
    clear = [
        f"{NAMES[name]}: {conclusion(name, one, names)} ({one.a:.3f} against {one.b:.3f})"
        for name, one in found.items()
        if not one.low <= 0 <= one.high
    ]
    lost = sum(change.a.is_wrong for change in changed)
    lines = clear or ["No metric differs by more than chance would on these images."]
    lines.append(
        f"The verdict differs on {len(changed)} images: {names[0]} is right on "
        f"{len(changed) - lost} of them, {names[1]} on {lost}."
    )
    return "".join(f"<p>{escape(line)}</p>" for line in lines)


def _defects(reports: tuple[Report, Report], names: Pair) -> str:
    rows = [
        (one.defect, one.images, percent(one.recall), percent(two.recall), one.aupro, two.aupro)
        for one, two in zip(reports[0].defects, reports[1].defects, strict=True)
    ]
    head = ("defect", "images", *(f"{n} recall" for n in names), *(f"{n} AUPRO" for n in names))
    return table(head, rows, figures_in=range(1, 6))


def _changes(
    reports: tuple[Report, Report], names: Pair, changed: Sequence[Change], drawn: Sequence[Row]
) -> str:
    if not changed:
        return "<p>None: both give the same verdict on every image.</p>"
    if drawn:
        shown = ((_tiles(row, names), _caption(reports, names, row.change)) for row in drawn)
        more = len(changed) - len(drawn)
        note = f"<p>{more} more are not shown.</p>" if more else ""
        return scale() + gallery(shown, style="wide") + note
    rows = [
        (change.a.name, change.a.defect, *map(_said, (change.a, change.b))) for change in changed
    ]
    return table(("image", "kind", *names), rows)


def _tiles(row: Row, names: Pair) -> list[Tile]:
    tiles = [("image", row.a.image), (names[0], row.a.heatmap), (names[1], row.b.heatmap)]
    return tiles if row.a.mask is None else [*tiles, ("mask", row.a.mask)]


def _caption(reports: tuple[Report, Report], names: Pair, change: Change) -> str:
    lines = (
        f"{escape(name)}: {verdict(report, result)}"
        for name, report, result in zip(names, reports, (change.a, change.b), strict=True)
    )
    return f"<b>{escape(change.a.name)}</b>, {escape(change.a.defect)}<br>{'<br>'.join(lines)}"


def _said(result: ImageResult) -> str:
    said = "alarm" if result.is_anomalous else "no alarm"
    return f"{said} ({'wrong' if result.is_wrong else 'right'}), score {result.score:.4g}"


def _versions(reports: tuple[Report, Report], names: Pair) -> str:
    def facts(report: Report) -> tuple[str, ...]:
        source = report.provenance
        return (
            f"{source.bundle} ({source.bundle_path})",
            source.engine,
            source.teacher,
            f"{source.dataset or 'unnamed'} {source.dataset_version or ''}",
            f"{source.input_size[0]} x {source.input_size[1]}",
            source.score,
            f"{report.threshold:.6g}",
            f"{short(report.alpha)} from {report.n_calibration} images",
            f"{report.latency.median_ms:.1f} ms, 95 % within {report.latency.p95_ms:.1f} ms",
        )

    what = (
        *("bundle", "engine", "teacher", "trained on", "input", "score", "threshold"),
        *("alpha", "time an image"),
    )
    return table(("", *names), zip(what, *map(facts, reports), strict=True))
