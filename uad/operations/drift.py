"""Are a product's recent images still like those that its threshold was set on?"""

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from filelock import FileLock
from pydantic import BaseModel, ConfigDict

from uad.bundle import read_bundle
from uad.errors import CalibrationError
from uad.hot_reload import open_bundle
from uad.monitoring.drift import LEVEL, Drift, detect_drift, moved_by
from uad.monitoring.judged_images import JudgedImages, has_judged_images
from uad.monitoring.score_log import LoggedScore, ScoreLog
from uad.registry import ModelAddress, ModelRegistry
from uad.storage.atomic_writes import write_file
from uad.storage.names import ModelVersionNumber, ProductName, place_of
from uad.storage.paths import watch_dir

DRIFTED = "drift or defects"
"""Scores cannot show which of the two; also the reason of a retraining that this starts."""
ALARMS = "more alarms than expected"
IMAGES_TITLE = "The newest images with changed scores"
IMAGE_COLUMNS = ("time", "score", "said", "file")
SAY = (
    "Say good or defective on the page of `uad serve` (view Now, 'Compare the last 24 hours'). "
    "Then run `uad retrain` with --with-feedback."
)


class MovedImage(BaseModel):
    """A kept image whose score lies beyond nine of ten calibration scores."""

    model_config = ConfigDict(frozen=True)

    id: str
    at: datetime
    score: float
    file: str
    said: str
    """What people say of it so far; empty if nobody has said anything."""


class DriftReport(BaseModel):
    """What a look at the scores found, and what to do about it."""

    model_config = ConfigDict(frozen=True)

    product: ProductName
    version: ModelVersionNumber
    since: datetime
    until: datetime
    images: int
    detected: bool
    """One of the two tests reports: the scores changed, or there are too many alarms."""
    evidence: float
    level: float
    alarms: int
    expected_alarms: tuple[int, int] | None
    median_p_value: float | None
    advice: str
    scores_changed: bool = False
    too_many_alarms: bool = False
    moved: tuple[MovedImage, ...] = ()
    """The newest kept images that moved it, newest first, for a person to look at."""

    @property
    def verdict(self) -> str:
        """In a few words."""
        if self.scores_changed:
            return DRIFTED
        if self.too_many_alarms or self.above_range:
            return ALARMS
        return "no change found" if self.images else "no images"

    @property
    def above_range(self) -> bool:
        """Whether there are more alarms than 95 % of unchanged lines have."""
        return self.expected_alarms is not None and self.alarms > self.expected_alarms[1]

    def rows(self) -> list[tuple[str, object]]:
        """For a table."""
        return [
            ("version", self.version),
            ("images", f"{self.images} since {self.since.astimezone():%Y-%m-%d %H:%M}"),
            ("scores", self._scores()),
            ("alarms", self._alarms()),
            ("median p-value", self.median_p_value),
            ("verdict", self.verdict),
            ("advice", self.advice),
        ]

    def image_rows(self) -> list[tuple[str, ...]]:
        """The newest images that moved it, under `IMAGE_COLUMNS`."""
        return [
            (f"{each.at.astimezone():%m-%d %H:%M:%S}", f"{each.score:.4g}", each.said, each.file)
            for each in self.moved
        ]

    def markdown(self) -> str:
        """The tables for people."""
        return f"# {self.product}\n\n{_table(('', ''), self.rows())}{self._images()}"

    def _images(self) -> str:
        if not self.moved:
            return ""
        return f"\n## {IMAGES_TITLE}\n\n{_table(IMAGE_COLUMNS, self.image_rows())}\n{SAY}\n"

    def _scores(self) -> str:
        if not self.images:
            return "-"
        limit = f"{1 / self.level:.0f}"
        if self.scores_changed:
            return f"They changed (evidence {self.evidence:.3g}; {limit} is enough)."
        return f"No clear change yet (evidence {self.evidence:.3g} of the {limit} needed)."

    def _alarms(self) -> str:
        if self.expected_alarms is None:
            return "-"
        low, high = self.expected_alarms
        judged = "More than expected" if self.above_range else "As expected"
        return f"{self.alarms} of {self.images}. {judged}: {low} to {high} is usual."


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)


def look_at_scores(
    product: ProductName, hours: float = 24.0, level: float = LEVEL, now: datetime | None = None
) -> DriftReport:
    """Compare the champion's scores of the hours before `now` with its calibration scores.

    Raises:
        CalibrationError: the champion has no calibration for the engine that judged.
    """
    champion = ModelRegistry().resolve(ModelAddress.champion(product))
    now = now or datetime.now(UTC)
    since = now - timedelta(hours=hours)
    scored = [each for each in ScoreLog().read(product, champion.version, since) if each.at <= now]
    calibration = read_bundle(open_bundle(champion.address)).manifest.calibration
    if not calibration:
        raise CalibrationError(f"{champion.address} has no calibration: run `uad calibrate`")
    # Each engine's scores are only comparable with its own calibration: the one in use now.
    engine = scored[-1].engine if scored else next(iter(calibration))
    entry = calibration.get(engine)
    if entry is None:
        raise CalibrationError(
            f"{champion.address} has no calibration for {engine}, the engine that judged the images"
        )
    found = detect_drift(
        entry.scores,
        [each.score for each in scored if each.engine == engine],
        threshold=entry.threshold,
        alpha=entry.alpha,
        captures=entry.captures,
        level=level,
    )
    own = [each for each in scored if each.engine == engine]
    moved = _moved(product, moved_by(own, entry.scores, found.direction))
    return report(product, champion.version, since, now, found, moved)


def _moved(product: ProductName, scored: Sequence[LoggedScore]) -> tuple[MovedImage, ...]:
    """Those that are kept; looking makes no folder."""
    if not scored or not has_judged_images():
        return ()
    store = JudgedImages()
    return tuple(
        MovedImage(
            id=each.id,
            at=each.at,
            score=each.score,
            file=str(store.file(each)),
            said="; ".join(f"{word.author}: {word.said}" for word in each.words),
        )
        for each in store.of_product([one.image for one in scored], product)
    )


def report(
    product: ProductName,
    version: ModelVersionNumber,
    since: datetime,
    until: datetime,
    found: Drift,
    moved: tuple[MovedImage, ...] = (),
) -> DriftReport:
    """The finding in words."""
    return DriftReport(
        product=product,
        version=version,
        since=since,
        until=until,
        images=found.images,
        detected=found.detected or found.too_many_alarms,
        scores_changed=found.detected,
        too_many_alarms=found.too_many_alarms,
        evidence=found.evidence,
        level=found.level,
        alarms=found.alarms,
        expected_alarms=found.expected_alarms,
        median_p_value=found.median_p_value,
        advice=_advice(found),
        moved=moved if found.detected or found.above_range else (),
    )


def announced_first(found: DriftReport) -> bool:
    """Whether this look shares no images with the last announced one; remembers it.

    Looks that take longer than their interval run side by side, and drift lasts: one retraining is
    enough for it.
    """
    record = place_of(watch_dir(), found.product, prefix="drift-", suffix=".json")
    with FileLock(record.with_suffix(".lock")):
        version, until = _announced(record)
        if version == found.version and until > found.since:
            return False
        facts = {"version": found.version, "until": found.until.isoformat()}
        write_file(record, json.dumps(facts))
        return True


def _announced(record: Path) -> tuple[str, datetime]:
    """Champion and end of the look that was announced last."""
    try:
        facts = json.loads(record.read_text(encoding="utf-8"))
        return facts["version"], datetime.fromisoformat(facts["until"])
    except (OSError, ValueError, KeyError):
        return "", datetime.min.replace(tzinfo=UTC)


def _advice(found: Drift) -> str:
    if not found.images:
        return "No image was scored in this time. Is the server running, with this UAD_HOME?"
    if not (found.detected or found.above_range):
        return "The scores are like those of calibration. Nothing to do."
    change = (
        f"The scores are {found.direction} than in calibration from image {found.detected_at} on "
        f"({DRIFTED}). "
        if found.detected
        else f"There are {ALARMS}: defects, or good parts that look different. "
    )
    return change + "Look at the images, add the good ones to the training images, and retrain."
