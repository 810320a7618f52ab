"""Look whether a product's recent images are still like those its threshold was set on."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

from filelock import FileLock
from prefect import flow, runtime, task
from prefect.artifacts import create_markdown_artifact
from prefect.events import emit_event
from pydantic import BaseModel, ConfigDict

from flows import logs
from flows.retries import REGISTRY
from flows.schedule import cancel_overdue
from uad.bundle import read_bundle
from uad.errors import CalibrationError
from uad.hot_reload import open_bundle
from uad.monitoring.drift import LEVEL, Drift, watch
from uad.monitoring.score_log import ScoreLog
from uad.names import place_of
from uad.paths import watch_dir
from uad.registry import ModelAddress, ModelRegistry

EVENT = "uad.drift"
"""Name of the event that an automation in Prefect can listen to."""
REASON = "drift or defects"
"""Why a retraining that the event begins was begun: scores alone cannot say which."""


class DriftReport(BaseModel):
    """What the watch found, and what to do about it."""

    model_config = ConfigDict(frozen=True)

    product: str
    version: str
    since: datetime
    until: datetime
    images: int
    detected: bool
    evidence: float
    level: float
    alarms: int
    expected_alarms: tuple[int, int] | None
    median_p_value: float | None
    advice: str

    def rows(self) -> list[tuple[str, object]]:
        """For a table."""
        expected = "-" if self.expected_alarms is None else "{} to {}".format(*self.expected_alarms)
        return [
            ("version", self.version),
            ("images", f"{self.images} since {self.since.astimezone():%Y-%m-%d %H:%M}"),
            ("evidence", f"{self.evidence:.3g} (reported from {1 / self.level:.0f} on)"),
            ("median p-value", self.median_p_value),
            ("alarms", f"{self.alarms} (95 % of quiet lines: {expected})"),
            ("verdict", REASON if self.detected else "quiet" if self.images else "no images"),
            ("advice", self.advice),
        ]

    def markdown(self) -> str:
        """The table for people."""
        rows = "\n".join(f"| {name} | {value} |" for name, value in self.rows())
        return f"# {self.product}\n\n| | |\n|---|---|\n{rows}\n"


@task(name="check drift", task_run_name="check drift of {product}", **REGISTRY)
def check_drift(
    product: str, hours: float = 24.0, level: float = LEVEL, now: datetime | None = None
) -> DriftReport:
    """Compare the champion's scores of the hours before `now` with its calibration scores."""
    registry = ModelRegistry()
    champion = registry.resolve(ModelAddress.champion(product))
    now = now or datetime.now(UTC)
    since = now - timedelta(hours=hours)
    journal = ScoreLog().read(product, champion.version, since)
    scored = [each for each in journal if each.at <= now]
    calibration = read_bundle(open_bundle(champion.address)).manifest.calibration
    if not calibration:
        raise CalibrationError(f"{champion.address} has no calibration: run `uad calibrate`")
    # Each engine's scores are only comparable with its own calibration: the one in use now.
    engine = scored[-1].engine if scored else next(iter(calibration))
    entry = calibration.get(engine)
    if entry is None:
        raise CalibrationError(f"{champion.address} has no calibration for {engine}, which judged")
    scored = [each for each in scored if each.engine == engine]
    found = watch(
        entry.scores,
        [each.score for each in scored],
        threshold=entry.threshold,
        alpha=entry.alpha,
        level=level,
    )
    return report(product, champion.version, since, now, found)


@flow(name="drift", flow_run_name="drift of {product}")
def drift(
    product: str, hours: float = 24.0, level: float = LEVEL, now: datetime | None = None
) -> DriftReport:
    """Watch a product; a finding becomes an artifact and, once a window, the event `uad.drift`."""
    logs.prepare()
    cancel_overdue()
    found = check_drift(product, hours, level, now)
    tell(found)
    return found


def report(
    product: str, version: str, since: datetime, until: datetime, found: Drift
) -> DriftReport:
    """The finding in words."""
    return DriftReport(
        product=product,
        version=version,
        since=since,
        until=until,
        images=found.images,
        detected=found.detected,
        evidence=found.evidence,
        level=found.level,
        alarms=found.alarms,
        expected_alarms=found.expected_alarms,
        median_p_value=found.median_p_value,
        advice=_advice(found),
    )


def tell(found: DriftReport) -> None:
    """Put the finding where people and automations look."""
    logs.logger.info("%s: %s", found.product, found.advice)
    if not (found.detected and runtime.flow_run.id):
        return
    key = re.sub("[^a-z0-9]+", "-", f"drift-{found.product}".lower()).strip("-")
    create_markdown_artifact(found.markdown(), key=key, description=found.advice)
    if announced_first(found):
        resource = {"prefect.resource.id": f"uad.product.{found.product}"}
        emit_event(EVENT, resource=resource, payload=found.model_dump(mode="json"))


def announced_first(found: DriftReport) -> bool:
    """Whether no look at this champion was announced whose images this one saw too; remembers it.

    Looks that take longer than their interval run side by side, and drift lasts: one retraining is
    enough for it.
    """
    record = place_of(watch_dir(), found.product, prefix="drift-", suffix=".json")
    with FileLock(record.with_suffix(".lock")):
        version, until = _announced(record)
        if version == found.version and until > found.since:
            return False
        facts = {"version": found.version, "until": found.until.isoformat()}
        record.write_text(json.dumps(facts), encoding="utf-8")
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
        return "no image was scored in this time: is its server running, under this UAD_HOME?"
    if not found.detected:
        return "scores are like those of calibration"
    return (
        f"scores are {found.direction} than in calibration from image {found.detected_at} on: "
        f"{REASON}; look at the images, add the good ones to the data set, and retrain"
    )
