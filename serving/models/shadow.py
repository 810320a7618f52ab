"""A challenger that judges the champion's images; no client waits for it or gets its answer."""

import logging
import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import replace

from serving.models.registry_health import Followed
from serving.workers.messages import ImageVerdict, Job, Reply
from serving.workers.pool import WorkerPool
from uad.errors import RequestRefused
from uad.hot_reload import ModelSlot

logger = logging.getLogger(__name__)


class Shadow:
    """Runs the challenger on requests that the champion has answered, one at a time."""

    def __init__(self, name: str, slot: ModelSlot[WorkerPool], followed: Followed) -> None:
        self.name = name
        self.slot = slot
        self.followed = followed
        self.outcomes: Counter[str] = Counter()
        """agreed, disagreed, dropped (it was busy), failed."""
        self._free = threading.Semaphore(1)

    def offer(self, job: Job, verdicts: Sequence[ImageVerdict]) -> None:
        """Compare with the champion's answer, unless the challenger is busy or there is none."""
        if not verdicts or self.slot.current is None:
            return
        if not self._free.acquire(blocking=False):
            self.outcomes["dropped"] += 1
            return
        with ExitStack() as until_done:
            until_done.callback(self._free.release)
            served = until_done.enter_context(self.slot.use())
            quiet = replace(job, verdict_only=True, gzip=False, model_version=served.version)
            try:
                waiting = served.detector.submit(quiet)
            except RequestRefused:
                self.outcomes["dropped"] += 1
                return
            rest = until_done.pop_all()
        waiting.add_done_callback(lambda done: self._compare(done, job.log_id, verdicts, rest))

    def close(self) -> None:
        """Stop following and end its engines."""
        self.followed.watcher.stop()
        served = self.slot.current
        self.slot.close()
        if served is not None:
            served.detector.join(1.0)

    def _compare(
        self, done: Future[Reply], log_id: str, champion: Sequence[ImageVerdict], rest: ExitStack
    ) -> None:
        with rest:
            found = [verdict.is_anomalous for verdict in done.result().verdicts]
            expected = [verdict.is_anomalous for verdict in champion]
            if len(found) != len(expected):
                self.outcomes["failed"] += 1
            elif found == expected:
                self.outcomes["agreed"] += 1
            else:
                self.outcomes["disagreed"] += 1
                logger.info("%s: the challenger disagrees on request %s", self.name, log_id)
