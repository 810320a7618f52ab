"""Records of each answer: scores for drift, images, and the last verdicts for the page.

No answer waits for the disk.
"""

import hashlib
import logging
from collections import OrderedDict, deque
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from serving.models.products import Product
from serving.telemetry.background_writer import BackgroundWriter
from serving.workers.messages import Reply
from uad.monitoring.judged_images import JudgedImage, JudgedImages, Pictures, image_id
from uad.monitoring.score_log import ScoreLog
from uad.scoring.looks import ToldOnce
from uad.storage.names import ModelVersionNumber

logger = logging.getLogger(__name__)

MOST_VERDICTS = 1000
MOST_HOURS = 24


class ScoreRecorder:
    """Hands the scores of registered products to the writer. A folder has no champion to watch."""

    def __init__(self, score_log: ScoreLog | None, writer: BackgroundWriter) -> None:
        """`score_log`: None keeps nothing."""
        self._score_log, self._writer = score_log, writer

    def keep(self, product: Product, version: str, engine: str, log_id: str, reply: Reply) -> None:
        """Keep the scores of one answer."""
        if self._score_log is None or not product.registered_name or not reply.verdicts:
            return
        scores = [
            (verdict.score, verdict.is_anomalous, image_id(log_id, verdict.position))
            for verdict in reply.verdicts
        ]
        name, now = product.registered_name, datetime.now(UTC)
        number = ModelVersionNumber(version)
        self._writer.offer(
            "scores", partial(self._score_log.add, name, number, engine, scores, now)
        )


class ImageRecorder:
    """Hands the images of answers to the writer."""

    def __init__(
        self, store: JudgedImages | None, writer: BackgroundWriter, megabytes: int
    ) -> None:
        """`store`: None keeps nothing."""
        self._store, self._writer = store, writer
        self._limit_bytes = megabytes * 10**6

    def keep(self, product: Product, version: str, engine: str, log_id: str, reply: Reply) -> None:
        """Keep the images that the engine process gave back with its reply."""
        if self._store is None:
            return
        now = datetime.now(UTC)
        for kept in reply.kept:
            verdict = reply.verdicts[kept.verdict]
            pictures = Pictures(kept.original, kept.preview, kept.heatmap)
            write = partial(
                _write,
                self._store,
                pictures,
                self._limit_bytes,
                id=image_id(log_id, verdict.position),
                log_id=log_id,
                position=verdict.position,
                product=product.registered_name or product.name,
                version=version,
                engine=engine,
                at=now,
                score=verdict.score,
                threshold=verdict.threshold,
                p_value=verdict.p_value,
                is_anomalous=verdict.is_anomalous,
                facts={**kept.facts, "images": reply.images},
            )
            self._writer.offer("images", write, pictures.total_bytes)


def _write(store: JudgedImages, pictures: Pictures, limit_bytes: int, **facts: object) -> None:
    image = JudgedImage(
        **facts,  # type: ignore[arg-type]
        alpha=float(facts["facts"]["alpha"]),  # type: ignore[index]
        sha256=hashlib.sha256(pictures.original).hexdigest(),
        suffix=pictures.suffix,
        bytes=pictures.total_bytes,
    )
    store.keep(image, pictures, limit_bytes=limit_bytes)


class WarningLog:
    """Logs each reason for which the scores of a version may mean nothing once."""

    def __init__(self) -> None:
        self._told: dict[tuple[str, str], ToldOnce] = {}

    def note(self, product: Product, version: str, log_id: str, reply: Reply) -> None:
        """Log what no earlier answer of this version said."""
        warnings = [each for verdict in reply.verdicts for each in verdict.warnings]
        once = self._told.setdefault((product.name, version), ToldOnce())
        for sentence in once.new(warnings):
            logger.warning(
                *("%s version %s, %s: %s (Shown once.)", product.name, version, log_id, sentence)
            )


@dataclass(frozen=True)
class Recent:
    """One verdict."""

    id: str
    at: datetime
    version: str
    score: float
    threshold: float
    is_anomalous: bool
    warnings: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """As the page reads it."""
        return {
            "id": self.id,
            "at": self.at.isoformat(),
            "version": self.version,
            "score": self.score,
            "threshold": self.threshold,
            "isAnomalous": self.is_anomalous,
        }


class RecentVerdicts:
    """Of each product, since the server started."""

    def __init__(self) -> None:
        self._verdicts: dict[str, deque[Recent]] = {}
        self._hours: dict[str, OrderedDict[datetime, list[int]]] = {}
        self.revision = 0
        """Another number whenever there is something new to show."""

    def note(self, product: str, version: str, log_id: str, reply: Reply) -> None:
        """Add the images of one answer."""
        self.touch()
        now = datetime.now(UTC)
        verdicts = self._verdicts.setdefault(product, deque(maxlen=MOST_VERDICTS))
        hours = self._hours.setdefault(product, OrderedDict())
        hour = hours.setdefault(now.replace(minute=0, second=0, microsecond=0), [0, 0])
        while len(hours) > MOST_HOURS:
            hours.popitem(last=False)
        for each in reply.verdicts:
            name = image_id(log_id, each.position)
            verdicts.append(
                Recent(
                    *(name, now, version, each.score, each.threshold, each.is_anomalous),
                    each.warnings,
                )
            )
            hour[0] += 1
            hour[1] += each.is_anomalous

    def touch(self) -> None:
        """There is something new to show."""
        self.revision += 1

    def newest(self, product: str, limit: int) -> list[Recent]:
        """The last verdicts, oldest first."""
        return list(self._verdicts.get(product, ()))[-limit:]

    def of_answer(self, log_id: str) -> list[Recent]:
        """The verdicts of one answer, if it is one of the last."""
        last = [each for verdicts in list(self._verdicts.values()) for each in list(verdicts)]
        return [each for each in last if each.id.partition(".")[0] == log_id]

    def hours(self, product: str) -> list[dict[str, Any]]:
        """Images and alarms per hour, oldest first; hours without images are left out."""
        return [
            {"hour": hour.isoformat(), "images": images, "alarms": alarms}
            for hour, (images, alarms) in self._hours.get(product, {}).items()
        ]
