"""Curves and the score histogram, drawn by matplotlib (imported when needed)."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from uad.evaluation.report import Points, Report, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GOOD, BAD, LINE, FAINT = "#2f7d4f", "#c0392b", "#1f4e79", "#9aa5b1"
COLOURS = (LINE, "#d9822b")


def histogram(report: Report, file: Path, calibration: Sequence[float] = ()) -> Path:
    """Scores of good and defective images, with the threshold and the calibration scores."""
    scores = np.array([image.score for image in report.images])
    labels = np.array([image.label for image in report.images])
    span = np.array([*scores, report.threshold])
    wide = span.min() > 0 and span.max() / span.min() > 20
    edges = (np.geomspace if wide else np.linspace)(span.min(), _above(span), 41).tolist()

    def draw(axes: "Axes") -> None:
        for label, colour, name in ((0, GOOD, "good"), (1, BAD, "defective")):
            own = scores[labels == label]
            axes.hist(own, edges, color=colour, alpha=0.6, label=f"{name} ({own.size})")
        if len(calibration):
            axes.plot(
                calibration, np.zeros(len(calibration)), "|", color="black", ms=12, clip_on=False,
                label=f"calibration ({len(calibration)})",
            )  # fmt: skip
        name = f"threshold {report.threshold:.4g}, alpha {short(report.alpha, 3)}"
        axes.axvline(report.threshold, color="black", linestyle="--", linewidth=1.2, label=name)
        if wide:
            axes.set_xscale("log")
        axes.margins(y=0.35)
        axes.legend(fontsize=9, loc="upper left", ncols=2, framealpha=0.9)

    return _draw(file, draw, "Scores", "image score", "images")


def roc(reports: Sequence[Report], file: Path, names: Sequence[str] = ("",)) -> Path:
    """Image and pixel ROC of one report or of several."""

    def draw(axes: "Axes") -> None:
        axes.plot([0, 1], [0, 1], ":", color=FAINT)
        for report, name, colour in zip(reports, names, COLOURS, strict=False):
            _line(axes, image_roc(report), colour, "-", f"{name} images", report.image_auroc)
            _line(axes, report.pixel_roc, colour, "--", f"{name} pixels", report.pixel_auroc)
        axes.legend(loc="lower right", fontsize=9)

    return _draw(file, draw, "ROC", "false alarm rate", "share found")


def precision_recall(reports: Sequence[Report], file: Path, names: Sequence[str] = ("",)) -> Path:
    """Precision against recall of the images."""

    def draw(axes: "Axes") -> None:
        for report, name, colour in zip(reports, names, COLOURS, strict=False):
            _line(axes, image_pr(report), colour, "-", f"{name} images", report.image_ap)
        axes.set_ylim(0, 1.03)
        axes.legend(loc="lower left", fontsize=9)

    return _draw(file, draw, "Precision and recall", "recall", "precision")


def pro(reports: Sequence[Report], file: Path, names: Sequence[str] = ("",)) -> Path:
    """Mean overlap of the defects against the false positive rate of pixels, up to 0.3."""

    def draw(axes: "Axes") -> None:
        for report, name, colour in zip(reports, names, COLOURS, strict=False):
            _line(axes, report.pro, colour, "-", f"{name} defects", report.aupro)
        axes.set_xlim(0, 0.3)
        axes.set_ylim(0, 1.03)
        axes.legend(loc="lower right", fontsize=9)

    return _draw(file, draw, "Overlap with the defects (PRO)", "good pixels marked", "mean overlap")


def image_roc(report: Report) -> Points:
    """(false alarm rate, recall) for falling thresholds; () where undefined."""
    if report.image_auroc is None:
        return ()
    from sklearn.metrics import roc_curve

    false, true, _ = roc_curve(*_labels_and_scores(report))
    return tuple(zip(false.tolist(), true.tolist(), strict=True))


def image_pr(report: Report) -> Points:
    """(recall, precision) for falling thresholds; () where undefined."""
    if report.image_ap is None:
        return ()
    from sklearn.metrics import precision_recall_curve

    precision, recall, _ = precision_recall_curve(*_labels_and_scores(report))
    return tuple(zip(recall[::-1].tolist(), precision[::-1].tolist(), strict=True))


def _labels_and_scores(report: Report) -> tuple[list[int], list[float]]:
    return [image.label for image in report.images], [image.score for image in report.images]


def _line(
    axes: "Axes", points: Points, colour: str, style: str, name: str, area: float | None
) -> None:
    if points:
        x, y = zip(*points, strict=True)
        axes.plot(x, y, style, color=colour, label=f"{name.strip()} {short(area, 3)}")


def _above(span: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> float:
    """A right edge without an empty range."""
    low, high = float(span.min()), float(span.max())
    return high if high > low else low + max(abs(low), 1.0) * 1e-3


def _draw(file: Path, draw: "Callable[[Axes], None]", title: str, x: str, y: str) -> Path:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.6, 4.2), dpi=130)
    # Fixed margins: a layout that is computed draws the figure twice.
    figure.subplots_adjust(left=0.15, right=0.97, bottom=0.13, top=0.92)
    axes = figure.add_subplot()
    draw(axes)
    axes.set(title=title, xlabel=x, ylabel=y)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    figure.savefig(file)
    return file
