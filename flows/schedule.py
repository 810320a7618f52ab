"""When runs happen: at an interval in seconds, or at the times of a cron line."""

import asyncio
import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from prefect import runtime

from uad.errors import ConfigError

if TYPE_CHECKING:
    from prefect.schedules import Schedule as PrefectSchedule


@dataclass(frozen=True)
class Schedule:
    """Exactly one of `interval_seconds` and `cron`."""

    interval_seconds: float | None = None
    cron: str | None = None
    timezone: str = "UTC"
    """IANA name; of cron's times."""

    def __post_init__(self) -> None:
        if (self.interval_seconds is None) == (self.cron is None):
            raise ConfigError("a schedule is either --interval SECONDS or --cron 'M H D M W'")
        if self.interval_seconds is not None and self.interval_seconds <= 0:
            raise ConfigError(f"--interval must be above 0 seconds, not {self.interval_seconds}")

    def __str__(self) -> str:
        if self.interval_seconds is not None:
            return f"every {timedelta(seconds=self.interval_seconds)} (h:mm:ss), starting now"
        return f"cron '{self.cron}', {self.timezone} time"

    def prefect(self) -> "PrefectSchedule":
        """As Prefect's object; an interval counts from now, and its first run is made apart.

        Raises:
            ConfigError: the cron line or the time zone makes no sense.
        """
        from prefect.schedules import Cron, Interval

        if self.interval_seconds is not None:
            return Interval(timedelta(seconds=self.interval_seconds))
        self.next(1)
        return Cron(str(self.cron), timezone=self.timezone)

    def next(self, count: int, after: datetime | None = None) -> list[datetime]:
        """The next times, in the schedule's time zone.

        Raises:
            ConfigError: the cron line or the time zone makes no sense.
        """
        from prefect.server.schemas.schedules import CronSchedule

        after = after or datetime.now(UTC)
        if self.interval_seconds is not None:
            step = timedelta(seconds=self.interval_seconds)
            return [after.astimezone() + step * index for index in range(count)]
        try:
            schedule = CronSchedule(cron=str(self.cron), timezone=self.timezone)
            return [*asyncio.run(schedule.get_dates(n=count, start=after))]
        except ValueError as exc:
            reason = str(exc).split("\n", 1)[0]
            raise ConfigError(
                f"'{self.cron}' with time zone '{self.timezone}' is not a schedule ({reason}). "
                "Write five fields, for example --cron '0 3 * * *' --timezone Europe/Berlin"
            ) from exc


def local_timezone() -> str:
    """This machine's IANA time zone; UTC where it cannot be told."""
    named = os.environ.get("TZ", "").lstrip(":")
    found = named or str(Path("/etc/localtime").resolve()).partition("zoneinfo/")[2]
    try:
        return ZoneInfo(found).key
    except (ValueError, OSError, ZoneInfoNotFoundError):
        return "UTC"


def cancel_overdue() -> None:
    """Cancel earlier runs of this deployment that have not started: this run does their work.

    After a pause (the machine was off, or a run took longer than the interval) a schedule has
    several late runs, and Prefect would run all of them. Prefect's limit of one run per deployment
    (strategy CANCEL_NEW) was tried first. But a slot that was held when the server stopped stays
    taken for ever (Prefect 3.8.8 keeps its leases in memory), and no run ever starts again.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter
    from prefect.client.schemas.objects import State
    from prefect.states import Cancelled

    if not (runtime.deployment.id and runtime.flow_run.id):
        return
    late = {
        "deployment_id": {"any_": [runtime.deployment.id]},
        "id": {"not_any_": [runtime.flow_run.id]},
        "state": {"type": {"any_": ["SCHEDULED"]}},
        "expected_start_time": {"before_": datetime.now(UTC)},
    }
    with get_client(sync_client=True) as client:
        for run in client.read_flow_runs(flow_run_filter=FlowRunFilter.model_validate(late)):
            state: State[None] = Cancelled(message=f"overdue: {runtime.flow_run.name} runs instead")
            client.set_flow_run_state(run.id, state)
