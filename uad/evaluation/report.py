"""What an evaluation found: plain values that survive JSON; undefined figures are None."""

import json
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, PrivateAttr, ValidationError

from uad.errors import DataError
from uad.metrics import ImageHistogram

Points = tuple[tuple[float, float], ...]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ImageResult(_Part):
    """One test image."""

    name: str
    label: int
    """0 normal, 1 anomalous."""
    defect: str
    score: float
    is_anomalous: bool
    """Whether the alarm was raised."""
    p_value: float
    raised_by: str | None = None
    """What raised the alarm: `student`, `memory`, `whole image` or `zone NAME`; None: no alarm, or
    a report older than this."""
    zones: tuple[str, ...] = ()
    """The zones with an alpha of their own that raised the alarm."""
    has_mask: bool
    """Whether its defect pixels are known and counted."""
    peak_in_mask: bool | None = None
    """Whether the map's highest pixel lies on the defect; None without a mask."""

    @property
    def is_wrong(self) -> bool:
        """A false alarm or a missed defect."""
        return self.is_anomalous != bool(self.label)


class DefectResult(_Part):
    """One kind of defect against the good test images."""

    defect: str
    images: int
    masks: int
    found: int
    """Images that raised the alarm."""
    recall: float
    image_auroc: float | None
    pixel_auroc: float | None
    pixel_ap: float | None
    aupro: float | None


class ZoneResult(_Part):
    """One zone with an alpha of its own."""

    name: str
    alpha: float
    """Promised: the share of good images in which the zone raises an alarm, at most."""
    threshold: float
    false_alarms: int
    """Good test images in which it did."""
    found: int
    """Defective test images in which it did."""


class Latency(_Part):
    """Time of `detect` an image (resize, model, map at full size; no decoding), milliseconds."""

    median_ms: float
    p95_ms: float
    batch_size: int


class Provenance(_Part):
    """Where the figures come from."""

    bundle: str
    """The bundle's id: a hash of its files."""
    bundle_path: str
    uad_version: str
    model: str
    engine: str
    """`name/precision`."""
    teacher: str
    teacher_sha256: str
    dataset: str | None
    """The name of what it was trained on."""
    dataset_version: str | None
    input_size: tuple[int, int]
    """(H, W) pixels that the network sees."""
    score: str
    """How the parts become a score, and why."""
    parts: str | None = None
    """The parts and how they weigh in the score; None in reports older than the parts."""
    chosen_epoch: int | None
    git_revision: str | None
    test_fingerprint: str
    """Hash of the test images' content: reports with the same one saw the same images."""
    created: datetime


class ThresholdDependence(_Part):
    """One calibration image whose score lies far above the others and is the threshold."""

    image: str | None
    """Its name; None in bundles that do not know it."""
    threshold_without: float
    """The threshold that the other calibration images would give."""


class Report(_Part):
    """The figures of one model on one set of test images.

    `false_alarm_rate` is the rate on the good test images. `alpha` is the rate that the threshold
    guarantees (see `guaranteed_rate` in `uad.scoring.conformal` where images share captures). In
    95 % of cases the observed rate is in `false_alarm_range` if the guarantee holds.
    """

    image_auroc: float | None
    pixel_auroc: float | None
    aupro: float | None
    f1: float | None
    recall: float | None
    false_alarm_rate: float | None
    alpha: float
    threshold: float
    n_calibration: int
    n_captures: int | None = None
    """How many captures the calibration images show; None: each image is its own."""
    requested_alpha: float | None = None
    """What was asked for, where `alpha` is larger because n_calibration allows no less."""
    depends_on: ThresholdDependence | None = None
    """Set where the threshold is as high as it is because of one calibration image."""
    image_ap: float | None = None
    f1_max: float | None = None
    f1_max_threshold: float | None = None
    pixel_ap: float | None = None
    intervals: dict[str, tuple[float, float]] = {}
    """95 % confidence intervals by metric."""
    false_alarm_range: tuple[float, float] | None = None
    n_normal: int
    n_anomalous: int
    false_alarms: int
    missed: int
    n_masks: int
    """Anomalous images whose pixels were counted."""
    n_without_mask: int
    """Anomalous images without a mask (or with an empty one), left out of the pixel metrics."""
    components: int = 0
    """Connected defects in the masks."""
    defects: tuple[DefectResult, ...] = ()
    zones: tuple[ZoneResult, ...] = ()
    """Zones with an alpha of their own; what is left of `alpha` is for the rest of the image."""
    latency: Latency
    images: tuple[ImageResult, ...]
    said_good: tuple[ImageResult, ...] = ()
    """False alarms of earlier versions that a person called good. They train and do not test: no
    figure counts them."""
    pixel_roc: Points = ()
    pro: Points = ()
    provenance: Provenance

    _histograms: tuple[ImageHistogram | None, ...] = PrivateAttr(default=())

    @property
    def histograms(self) -> tuple[ImageHistogram | None, ...]:
        """Per image its pixels in coarse bins, for bootstraps; not in the JSON, () when read."""
        return self._histograms

    def with_histograms(self, histograms: tuple[ImageHistogram | None, ...]) -> "Report":
        """The same report with `histograms`, one per image (None: without mask)."""
        copy = self.model_copy()
        copy._histograms = histograms
        return copy

    def metrics(self) -> dict[str, float]:
        """The defined figures by name, for a tracker."""
        return {
            name: float(value)
            for name, value in (*_figures(self), *_defect_figures(self), *_times(self))
            if value is not None
        }

    def to_json(self) -> str:
        """Indented JSON; the required keys stand at the top."""
        return json.dumps(self.model_dump(mode="json"), indent=2, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Report":
        """Read what `to_json` wrote.

        Raises:
            DataError: the text is not a report.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as exc:
            first = exc.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "its start"
            raise DataError(
                f"This is not an evaluation report ({first['msg']} at {where}). Make one: `uad "
                "evaluate BUNDLE --data DATA --json FILE`"
            ) from exc


SCALARS = (
    *("image_auroc", "image_ap", "pixel_auroc", "pixel_ap", "aupro", "f1", "f1_max", "recall"),
    *("false_alarm_rate", "alpha", "threshold", "n_calibration", "n_normal", "n_anomalous"),
    *("n_captures", "false_alarms", "missed"),
)


def _figures(report: Report) -> list[tuple[str, float | None]]:
    return [(name, getattr(report, name)) for name in SCALARS]


def _defect_figures(report: Report) -> list[tuple[str, float | None]]:
    kinds = ("recall", "image_auroc", "pixel_auroc", "aupro")
    return [
        (f"defect.{_key(row.defect)}.{kind}", getattr(row, kind))
        for row in report.defects
        for kind in kinds
    ]


def _times(report: Report) -> list[tuple[str, float | None]]:
    return [
        ("latency_median_ms", report.latency.median_ms),
        ("latency_p95_ms", report.latency.p95_ms),
    ]


def _key(defect: str) -> str:
    """MLflow takes letters, digits, and `_-. /` in metric names."""
    return "".join(letter if letter.isalnum() or letter in "_-. /" else "_" for letter in defect)


def short(value: Any, digits: int = 4) -> str:
    """A figure for people: `-` where undefined."""
    if value is None:
        return "-"
    return f"{value:.{digits}f}" if isinstance(value, float) else str(value)
