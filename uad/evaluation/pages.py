"""Self-contained HTML pages by Jinja2: no script, no outside address, pictures embedded."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uad.errors import DataError
from uad.evaluation.explanations import (
    calibrated_on,
    defect_rows,
    figures,
    percent,
    promise_kept,
    sentences,
)
from uad.evaluation.gallery import ImageTiles, jpeg_uri, png_uri
from uad.evaluation.ranking import Shelf, most_wrong_first
from uad.evaluation.report import ImageResult, Report, short
from uad.images import Image
from uad.visualization import legend

if TYPE_CHECKING:
    from jinja2 import Environment

Tile = tuple[str, Image]
"""What it shows, and the picture."""
Card = tuple[str, str, str, str]
"""What, the figure, of what, and `good`, `bad` or nothing."""

PER_PAGE = 2000
"""Rows of the table of all images; scores.csv has them all."""


@dataclass(frozen=True)
class Captioned:
    """A row of tiles with a plain caption."""

    tiles: Sequence[Tile]
    caption: str


@dataclass(frozen=True)
class TileRow:
    """A row of tiles of a test image with its result."""

    tiles: Sequence[Tile]
    result: ImageResult


def render(template: str, **values: Any) -> str:
    """A page made from `templates/<template>`; every value is escaped."""
    return _environment().get_template(template).render(values)


def report_page(
    report: Report,
    charts: Iterable[tuple[str, Path]],
    galleries: Sequence[tuple[Shelf, Sequence[ImageTiles]]],
) -> str:
    """The page of one report."""
    source = report.provenance
    ordered = most_wrong_first(report)
    return render(
        "report.html",
        title=f"Evaluation of the model for {source.dataset or 'unnamed images'}",
        subtitle=f"bundle {source.bundle} on {source.engine}, {source.created:%Y-%m-%d %H:%M} UTC",
        report=report,
        cards=cards(report),
        sentences=sentences(report),
        figures=figures(report),
        charts=list(charts),
        defects=defect_rows(report.defects),
        galleries=[
            (shelf, [TileRow(tiles(picture), picture.result) for picture in shown])
            for shelf, shown in galleries
        ],
        images=[_row(image) for image in ordered[:PER_PAGE]],
        left_out=len(ordered) - len(ordered[:PER_PAGE]),
        provenance=_provenance(report),
    )


def write_page(file: Path, html: str) -> Path:
    """Write a page where a person asked for it; returns its file.

    Raises:
        DataError: it cannot be written there.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(html, encoding="utf-8")
    except OSError as exc:
        raise DataError(f"{file} could not be written: {exc.strerror}. Choose another.") from exc
    return file


def cards(report: Report) -> list[Card]:
    """The four figures to look at first."""
    promise = {True: "good", False: "bad", None: ""}[promise_kept(report)]
    alarms = None if report.false_alarm_rate is None else percent(report.false_alarm_rate)
    found = None if report.recall is None else percent(report.recall)
    return [
        ("good from defective", short(report.image_auroc, 3), "image AUROC", ""),
        ("defects found", short(found), f"of {report.n_anomalous} defective images", ""),
        ("false alarms", short(alarms), f"of {report.n_normal} good images", promise),
        ("defects outlined", short(report.aupro, 3), "AUPRO", ""),
    ]


def tiles(picture: ImageTiles) -> list[Tile]:
    """Image, heat map and, if there is one, mask."""
    found = [("image", picture.image), ("heat map", picture.heatmap)]
    return found if picture.mask is None else [*found, ("mask", picture.mask)]


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader("uad.evaluation"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(short=short, jpeg_uri=jpeg_uri, png_uri=png_uri, times=_times)
    made.globals["legend"] = legend(240, 14)
    return made


def _times(score: float, limit: float) -> str:
    return f"{score / limit:.2f} x" if limit > 0 else "against"


def _row(image: ImageResult) -> tuple[str, ...]:
    return (
        image.name,
        image.defect,
        "alarm" if image.is_anomalous else "",
        "wrong" if image.is_wrong else "",
        f"{image.score:.5g}",
        f"{image.p_value:.3g}",
    )


def _provenance(report: Report) -> list[tuple[str, str]]:
    source = report.provenance
    trained_on = f"{source.dataset or 'unnamed'} {source.dataset_version or ''}".strip()
    return [
        ("bundle", f"{source.bundle} ({source.bundle_path})"),
        ("model", f"{source.model}, epoch {short(source.chosen_epoch)}, uad {source.uad_version}"),
        ("engine", source.engine),
        ("teacher", f"{source.teacher} (sha256 {source.teacher_sha256[:12]})"),
        ("trained on", trained_on),
        ("input", f"{source.input_size[0]} x {source.input_size[1]} pixels (height x width)"),
        ("score", source.score),
        ("threshold", f"{report.threshold:.6g} for a false alarm rate of {short(report.alpha)}, "
         f"from {calibrated_on(report)} that were used for nothing else"),
        ("test images", f"{report.n_normal} good, {report.n_anomalous} defective, {report.n_masks} "
         f"masks; fingerprint {source.test_fingerprint}"),
        ("git revision", source.git_revision or "-"),
        ("made", f"{source.created:%Y-%m-%d %H:%M:%S} UTC"),
    ]  # fmt: skip
