"""The last verdicts of a product, in memory, for the page: scores over time, alarms an hour."""

from collections import OrderedDict, deque
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from serving.workers.messages import Reply
from uad.monitoring.judged_images import image_id

MOST_VERDICTS = 1000
MOST_HOURS = 24


@dataclass(frozen=True)
class Recent:
    """One verdict."""

    id: str
    at: datetime
    version: str
    score: float
    threshold: float
    is_anomalous: bool

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
                Recent(name, now, version, each.score, each.threshold, each.is_anomalous)
            )
            hour[0] += 1
            hour[1] += each.is_anomalous

    def touch(self) -> None:
        """There is something new to show."""
        self.revision += 1

    def newest(self, product: str, limit: int) -> list[Recent]:
        """The last verdicts, oldest first."""
        return list(self._verdicts.get(product, ()))[-limit:]

    def hours(self, product: str) -> list[dict[str, Any]]:
        """Images and alarms by hour, oldest first; hours without images are left out."""
        return [
            {"hour": hour.isoformat(), "images": images, "alarms": alarms}
            for hour, (images, alarms) in self._hours.get(product, {}).items()
        ]
