"""A report's files: for machines (JSON, CSV, pixels), for trackers (PNG) and for people (HTML)."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import BadZipFile

import numpy as np

from uad.data import Sample
from uad.errors import DataError
from uad.evaluation import figures
from uad.evaluation.gallery import by_name, pictures, write_sheet
from uad.evaluation.pages import report_page
from uad.evaluation.ranking import (
    deciding_image,
    most_wrong_first,
    said_good,
    shelves,
    worst,
)
from uad.evaluation.report import Report
from uad.evaluation.scoring import judge_said_good
from uad.metrics import ImageHistogram
from uad.scoring.verdicts import spreadsheet_text

if TYPE_CHECKING:
    from uad.inference.detector import Detector

REPORT, PAGE, SCORES = "report.json", "report.html", "scores.csv"
SHEET_ROWS = 6


def write_report(
    report: Report,
    folder: Path,
    detector: "Detector",
    samples: Sequence[Sample],
    *,
    normals: Sequence[Sample] = (),
) -> dict[str, Path]:
    """Write all files of a report into `folder`.

    Args:
        report: what `evaluate` returned.
        folder: made if it is not there; files of an earlier report are replaced.
        detector: the one that was evaluated; it draws the heat maps again.
        samples: those that were evaluated.
        normals: the data set's normal images; a calibration image that decides the threshold is
            shown if it is among them, and those that people called good are judged.

    Returns:
        By name: `report.json`, `report.html` (self-contained), `scores.csv`, `pixels.npz` (for
        comparisons), and the figures `histogram.png`, `worst.png`, `best.png`, and, where both
        kinds of image are there, `roc.png`, `pr.png`, `pro.png`.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    report = report.model_copy(update={"said_good": judge_said_good(detector, normals)})
    files = [_write(folder / REPORT, report.to_json()), _write_scores(report, folder / SCORES)]
    if report.histograms:
        files.append(write_pixels(report.histograms, folder / PIXELS_FILE))
    charts = _charts(report, folder, detector.calibration.scores)
    known = by_name(samples)
    galleries = [
        (shelf, list(pictures(detector, known, shelf.images))) for shelf in shelves(report)
    ]
    decider, normal = deciding_image(report), by_name(normals)
    if decider is not None and decider.images[0].name in normal:
        galleries.insert(0, (decider, list(pictures(detector, normal, decider.images))))
    if (called_good := said_good(report)) is not None:
        galleries.append((called_good, list(pictures(detector, normal, called_good.images))))
    files.append(_write(folder / PAGE, report_page(report, charts, galleries)))
    clearest = most_wrong_first(report)[::-1][:SHEET_ROWS]
    for name, chosen in (("worst.png", worst(report, SHEET_ROWS)), ("best.png", clearest)):
        shown = list(pictures(detector, known, chosen))
        files.append(write_sheet(shown, folder / name))
    return {file.name: file for file in (*files, *(file for _, file in charts))}


def read_report(path: Path) -> Report:
    """Read a report's folder, or its report.json, with the pixels if they lie beside it.

    Raises:
        DataError: there is no report, or it cannot be understood.
    """
    file = Path(path) / REPORT if Path(path).is_dir() else Path(path)
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as exc:
        raise DataError(
            f"{file} could not be read: {exc.strerror}. Make it: `uad evaluate BUNDLE --data DATA "
            "--report DIR`"
        ) from exc
    report = Report.from_json(text)
    pixels = file.with_name(PIXELS_FILE)
    return report.with_histograms(read_pixels(pixels)) if pixels.is_file() else report


def _charts(report: Report, folder: Path, calibration: Sequence[float]) -> list[tuple[str, Path]]:
    drawn = [("score histogram", figures.histogram(report, folder / "histogram.png", calibration))]
    if report.image_auroc is not None:
        drawn.append(("ROC", figures.roc([report], folder / "roc.png")))
        drawn.append(
            ("precision and recall", figures.precision_recall([report], folder / "pr.png"))
        )
    if report.pro:
        drawn.append(("PRO", figures.pro([report], folder / "pro.png")))
    return drawn


def _write(file: Path, text: str) -> Path:
    file.write_text(text, encoding="utf-8")
    return file


def _write_scores(report: Report, file: Path) -> Path:
    names = (
        *("name", "label", "defect", "score", "is_anomalous", "raised_by", "p_value"),
        "peak_in_mask",
    )
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(names)
        writer.writerows([_cell(getattr(image, name)) for name in names] for image in report.images)
    return file


def _cell(value: object) -> object:
    return spreadsheet_text(value) if isinstance(value, str) else value


PIXELS_FILE = "pixels.npz"
UNKNOWN = -1


def write_pixels(histograms: Sequence[ImageHistogram | None], file: Path) -> Path:
    """Write all images' histograms, one after another; no pickle."""
    known = [histogram for histogram in histograms if histogram is not None]
    sizes = [UNKNOWN if histogram is None else histogram.bins.size for histogram in histograms]
    np.savez_compressed(
        file,
        sizes=np.array(sizes, np.int64),
        bins=np.concatenate([np.zeros(0, np.int32), *(one.bins for one in known)]),
        counts=np.concatenate([np.zeros((3, 0), np.float32), *(one.counts for one in known)], 1),
    )
    return file


def read_pixels(file: Path) -> tuple[ImageHistogram | None, ...]:
    """What `write_pixels` wrote.

    Raises:
        DataError: the file is damaged.
    """
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            sizes, bins, counts = stored["sizes"], stored["bins"], stored["counts"]
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as exc:
        raise DataError(f"{file} is damaged ({exc}). Evaluate again.") from exc
    ends = np.cumsum(np.maximum(sizes, 0))
    return tuple(
        None
        if size == UNKNOWN
        else ImageHistogram(bins[end - size : end], counts[:, end - size : end])
        for size, end in zip(sizes.tolist(), ends.tolist(), strict=True)
    )
