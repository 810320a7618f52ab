"""Self-contained HTML: no script, no address outside the page, pictures embedded."""

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Literal

from uad.errors import DataError
from uad.evaluation.explanations import defect_rows, figures, percent, sentences, within_promise
from uad.evaluation.gallery import Picture, file_uri, jpeg_uri
from uad.evaluation.ranking import Shelf, most_wrong_first
from uad.evaluation.report import DefectResult, ImageResult, Report, short
from uad.images import Image
from uad.visualization import legend

Tile = tuple[str, Image]
"""What it shows, and the picture."""

TEMPLATE = Path(__file__).with_name("page.html")
PER_PAGE = 2000
"""Rows of the table of all images; scores.csv has them all."""


def report_page(
    report: Report,
    charts: Iterable[tuple[str, Path]],
    galleries: Sequence[tuple[Shelf, Sequence[Picture]]],
) -> str:
    """The page of one report."""
    trained_on = report.provenance.dataset or "unnamed images"
    title = f"Evaluation of the model for {trained_on}"
    source = report.provenance
    subtitle = f"bundle {source.bundle} on {source.engine}, {source.created:%Y-%m-%d %H:%M} UTC"
    return page(
        title,
        subtitle,
        cards(report),
        section("In plain words", "".join(f"<p>{escape(s)}</p>" for s in sentences(report))),
        section("Figures", table(("", "", ""), figures(report), figures_in=(1,))),
        section("Curves", chart_grid(charts)),
        section("By kind of defect", defect_table(report.defects)) if report.defects else "",
        *(_gallery(report, shelf, shown) for shelf, shown in galleries),
        section("All images", _all_images(report)),
        section("Where these figures come from", _provenance(report)),
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
        raise DataError(f"cannot write {file}: {exc.strerror}; choose another file") from exc
    return file


def page(title: str, subtitle: str, *parts: str) -> str:
    """The frame with its style around `parts`."""
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        title=escape(title),
        subtitle=escape(subtitle),
        body="\n".join(part for part in parts if part),
    )


def section(title: str, body: str) -> str:
    """A titled part of the page."""
    return f"<section><h2>{escape(title)}</h2>{body}</section>"


def table(
    head: Sequence[str], rows: Iterable[Sequence[object]], *, figures_in: Sequence[int] = ()
) -> str:
    """A table of escaped cells; columns in `figures_in` are aligned right."""

    def row(cells: Sequence[object], tag: str) -> str:
        parts = (
            f"<{tag}{' class=num' if index in figures_in else ''}>{escape(short(cell))}</{tag}>"
            for index, cell in enumerate(cells)
        )
        return f"<tr>{''.join(parts)}</tr>"

    top = f"<thead>{row(head, 'th')}</thead>" if any(head) else ""
    return f"<table>{top}<tbody>{''.join(row(cells, 'td') for cells in rows)}</tbody></table>"


def chart_grid(charts: Iterable[tuple[str, Path]]) -> str:
    """Embedded pictures of charts with their descriptions."""
    shown = (f'<img src="{file_uri(file)}" alt="{escape(alt)}">' for alt, file in charts)
    return f'<div class="charts">{"".join(shown)}</div>'


def cards(report: Report) -> str:
    """The four figures to look at first."""
    promise = {True: "good", False: "bad", None: ""}[within_promise(report)]
    alarms = None if report.false_alarm_rate is None else percent(report.false_alarm_rate)
    found = None if report.recall is None else percent(report.recall)
    items = (
        ("good from defective", short(report.image_auroc, 3), "image AUROC", ""),
        ("defects found", short(found), f"of {report.n_anomalous} defective images", ""),
        ("false alarms", short(alarms), f"of {report.n_normal} good images", promise),
        ("defects outlined", short(report.aupro, 3), "AUPRO", ""),
    )
    return (
        '<div class="cards">'
        + "".join(
            f'<div class="card {kind}"><span>{what}</span><b>{escape(value)}</b><i>{of}</i></div>'
            for what, value, of, kind in items
        )
        + "</div>"
    )


def defect_table(defects: Sequence[DefectResult]) -> str:
    """One line a kind of defect, the least found first."""
    head = ("defect", "images", "found", "recall", "image AUROC", "pixel AUROC", "AUPRO", "masks")
    return table(head, defect_rows(defects), figures_in=range(1, 8))


def gallery(
    shown: Iterable[tuple[Sequence[Tile], str]],
    *,
    style: Literal["", "wide", "pairs", "single"] = "",
) -> str:
    """Rows of tiles, each row with its caption (HTML).

    Args:
        shown: rows of up to three tiles; four if `wide`, two if `pairs`, one if `single`.
        style: see `shown`.
    """
    items = (
        f"<figure>{''.join(map(_tile, row))}<figcaption>{text}</figcaption></figure>"
        for row, text in shown
    )
    return f'<div class="gallery {style}">{"".join(items)}</div>'


def scale() -> str:
    """What the heat map's colours mean."""
    return (
        f'<p class="scale"><img src="{jpeg_uri(legend(240, 14))}" alt="colour scale"> grey: far '
        "below the threshold; where yellow begins: the threshold; magenta: far above. The same "
        "colour means the same in every picture. Outlined white: above the threshold; green: the "
        "mask.</p>"
    )


def caption(report: Report, result: ImageResult) -> str:
    """The verdict on one image, HTML."""
    return f"<b>{escape(result.name)}</b><br>{escape(result.defect)}: {verdict(report, result)}"


def verdict(report: Report, result: ImageResult) -> str:
    """`alarm, score 0.02 (1.3 x threshold), p 0.05`, coloured by whether it is right; HTML."""
    said = "alarm" if result.is_anomalous else "no alarm"
    return (
        f'<em class="{"bad" if result.is_wrong else "good"}">{said}</em>, score {result.score:.4g} '
        f"({_times(result.score, report.threshold)} threshold), p {result.p_value:.3g}"
    )


def tiles(picture: Picture) -> list[Tile]:
    """Image, heat map and, where there is one, mask."""
    found = [("image", picture.image), ("heat map", picture.heatmap)]
    return found if picture.mask is None else [*found, ("mask", picture.mask)]


def _gallery(report: Report, shelf: Shelf, shown: Sequence[Picture]) -> str:
    rows = ((tiles(picture), caption(report, picture.result)) for picture in shown)
    return section(shelf.title, f"<p>{escape(shelf.why)}</p>{scale()}{gallery(rows)}")


def _tile(tile: Tile) -> str:
    alt, image = tile
    return f'<img src="{jpeg_uri(image)}" alt="{escape(alt)}" title="{escape(alt)}">'


def _times(score: float, threshold: float) -> str:
    return f"{score / threshold:.2f} x" if threshold > 0 else "against"


def _all_images(report: Report) -> str:
    ordered = most_wrong_first(report)
    rows = [
        (
            *(image.name, image.defect, "alarm" if image.is_anomalous else ""),
            *("wrong" if image.is_wrong else "", f"{image.score:.5g}", f"{image.p_value:.3g}"),
        )
        for image in ordered[:PER_PAGE]
    ]
    head = ("image", "kind", "verdict", "", "score", "p")
    left_out = len(ordered) - len(rows)
    note = f"<p>{left_out} more in scores.csv.</p>" if left_out else ""
    shown = table(head, rows, figures_in=(4, 5))
    return (
        f"<details><summary>{len(rows)} images, most wrong first</summary>{shown}{note}</details>"
    )


def _provenance(report: Report) -> str:
    source = report.provenance
    trained_on = f"{source.dataset or 'unnamed'} {source.dataset_version or ''}".strip()
    rows = [
        ("bundle", f"{source.bundle} ({source.bundle_path})"),
        ("model", f"{source.model}, epoch {short(source.chosen_epoch)}, uad {source.uad_version}"),
        ("engine", source.engine),
        ("teacher", f"{source.teacher} (sha256 {source.teacher_sha256[:12]})"),
        ("trained on", trained_on),
        ("input", f"{source.input_size[0]} x {source.input_size[1]} pixels (height x width)"),
        ("score", source.score),
        ("threshold", f"{report.threshold:.6g} for alpha {short(report.alpha)}, from "
         f"{report.n_calibration} normal images that chose nothing else"),
        ("test images", f"{report.n_normal} good, {report.n_anomalous} defective, {report.n_masks} "
         f"masks; fingerprint {source.test_fingerprint}"),
        ("git revision", source.git_revision or "-"),
        ("made", f"{source.created:%Y-%m-%d %H:%M:%S} UTC"),
    ]  # fmt: skip
    return table(("", ""), rows) + (
        "<p>The test images chose nothing: not the epoch, not the threshold, not the score. Pixel "
        "figures are over every pixel at the images' own size; AUPRO is over 8-connected parts of "
        "the masks, up to a false positive rate of 0.3, divided by 0.3.</p>"
    )
