"""The HTML page of two versions on the same images."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from uad.evaluation.explanations import calibrated_on, percent
from uad.evaluation.gallery import ImageTiles
from uad.evaluation.pages import Tile, render
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
class DrawnChange:
    """A change with its pictures."""

    change: Change
    tiles: Sequence[Tile]


def drawn_change(change: Change, a: ImageTiles, b: ImageTiles, names: Pair) -> DrawnChange:
    """The image, both heat maps and, if there is one, the mask."""
    tiles = [("image", a.image), (names[0], a.heatmap), (names[1], b.heatmap)]
    return DrawnChange(change, tiles if a.mask is None else [*tiles, ("mask", a.mask)])


def comparison_page(
    reports: tuple[Report, Report],
    names: Pair,
    found: Mapping[str, Difference],
    charts: Iterable[tuple[str, Path]],
    changed: Sequence[Change],
    drawn: Sequence[DrawnChange],
) -> str:
    """The page; `found` holds A minus B."""
    a = reports[0]
    return render(
        "comparison.html",
        title=f"{names[0]} against {names[1]}",
        subtitle=f"{a.n_normal} good and {a.n_anomalous} defective test images, the same for both; "
        f"fingerprint {a.provenance.test_fingerprint}",
        reports=reports,
        names=names,
        sentences=_sentences(names, found, changed),
        figures=[_figures(name, one, names) for name, one in found.items()],
        charts=list(charts),
        defects=_defects(reports),
        changed=[(each.a.name, each.a.defect, *map(_said, (each.a, each.b))) for each in changed],
        drawn=drawn,
        left_out=len(changed) - len(drawn),
        versions=_versions(reports),
    )


def conclusion(name: str, found: Difference, names: Pair) -> str:
    """Which version is better in this metric, if the interval says so."""
    if found.low <= 0 <= found.high:
        return "no clear difference"
    higher, lower = names if found.difference > 0 else names[::-1]
    return f"{lower if name == 'false_alarm_rate' else higher} is better"


def _figures(name: str, found: Difference, names: Pair) -> tuple[object, ...]:
    """A metric of both, the difference, its interval and its meaning."""
    return (
        *(NAMES[name], found.a, found.b, f"{found.difference:+.4f}"),
        *(f"{found.low:+.4f} to {found.high:+.4f}", conclusion(name, found, names)),
    )


def _sentences(
    names: Pair, found: Mapping[str, Difference], changed: Sequence[Change]
) -> list[str]:
    clear = [
        f"{NAMES[name]}: {conclusion(name, one, names)} ({one.a:.3f} against {one.b:.3f})."
        for name, one in found.items()
        if not one.low <= 0 <= one.high
    ]
    lost = sum(change.a.is_wrong for change in changed)
    return [
        *(clear or ["On these images, no metric differs by more than chance would explain."]),
        f"The verdicts differ on {len(changed)} images. {names[0]} is right on "
        f"{len(changed) - lost} of them, {names[1]} on {lost}.",
    ]


def _defects(reports: tuple[Report, Report]) -> list[tuple[object, ...]]:
    return [
        (one.defect, one.images, percent(one.recall), percent(two.recall), one.aupro, two.aupro)
        for one, two in zip(reports[0].defects, reports[1].defects, strict=True)
    ]


def _said(result: ImageResult) -> str:
    said = "alarm" if result.is_anomalous else "no alarm"
    return f"{said} ({'wrong' if result.is_wrong else 'right'}), score {result.score:.4g}"


def _versions(reports: tuple[Report, Report]) -> list[tuple[str, ...]]:
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
            f"{short(report.alpha)} from {calibrated_on(report)}",
            f"{report.latency.median_ms:.1f} ms, 95 % within {report.latency.p95_ms:.1f} ms",
        )

    what = (
        *("bundle", "engine", "teacher", "trained on", "input", "score", "threshold"),
        *("false alarm rate", "time per image"),
    )
    return list(zip(what, *map(facts, reports), strict=True))
