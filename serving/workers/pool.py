"""The engine processes of one model version."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial

from serving.workers.admission import Pace, busy
from serving.workers.messages import EngineSpec, Job, Reply
from serving.workers.request_queue import QueuedRequest, RequestQueue
from serving.workers.supervisor import Supervisor
from serving.workers.worker import WorkerProcess
from uad.config.choices import parse_devices
from uad.errors import RequestRefused

LOOK_SECONDS = 0.1
"""How often the queue is searched for requests whose deadline has passed."""
closed = partial(RequestRefused, 503, "the server is stopping; try again")


class WorkerPool:
    """Engine processes that share one queue of requests; safe to use from any thread.

    Each has a supervisor. It hands the process one request after another, or up to `spec.batch`
    waiting requests at once, and replaces the process if it dies.
    """

    def __init__(
        self,
        spec: EngineSpec,
        workers: int,
        *,
        repair: Callable[[], object] = lambda: None,
        start: Callable[[EngineSpec], WorkerProcess] = WorkerProcess,
    ) -> None:
        """Start `workers` processes, on the devices of `spec` in turn, and wait for them.

        Args:
            spec: what they load.
            workers: how many.
            repair: called when a process cannot be started later on; it may fetch the bundle again.
            start: starts one process.

        Raises:
            BundleError: the version cannot be loaded.
            EngineError: there is no such device.
        """
        devices = parse_devices(spec.device)
        self.bundle = spec.bundle
        """The version's folder."""
        self._limits = spec.limits
        self._up: set[WorkerProcess] = set()
        self._queue = RequestQueue(lambda: len(self._up))
        self._pace = Pace(spec.limits)
        self._closing = threading.Event()
        self._supervisors = [
            Supervisor(
                spec.model_copy(update={"device": devices[index % len(devices)]}),
                self._queue,
                self._pace,
                on_up=self._up.add,
                on_down=self._up.discard,
                repair=repair,
                start=start,
                is_closing=self._closing,
            )
            for index in range(workers)
        ]
        self.key = self._begin()
        for supervisor in self._supervisors:
            supervisor.thread.start()
        threading.Thread(target=self._expire, name="deadlines", daemon=True).start()

    def _begin(self) -> str:
        """Start all processes at once: loading is most of the time that a promotion takes.

        A new version is at full strength before it replaces the old one. If one process fails, all
        end.
        """
        with ThreadPoolExecutor(len(self._supervisors)) as together:
            begun = [together.submit(supervisor.begin) for supervisor in self._supervisors]
        try:
            keys = [each.result().key for each in begun]
        except BaseException:
            for worker in list(self._up):
                worker.kill()
            raise
        return keys[0]

    @property
    def pids(self) -> list[int]:
        """The running processes."""
        return [worker.pid for worker in list(self._up)]

    @property
    def queued(self) -> int:
        """Requests that wait."""
        return len(self._queue)

    @property
    def service_seconds(self) -> float | None:
        """How long an image takes in an engine, lately; None before the first."""
        return self._pace.service_seconds

    def expect_room(self) -> None:
        """Raise RequestRefused (429) if one more request would have to wait too long."""
        self._pace.refuse_if_too_long(len(self._queue), len(self._up))

    def submit(self, job: Job) -> Future[Reply]:
        """Queue `job`; the future always gets a reply in our own words.

        Raises:
            RequestRefused: 429, it would have to wait too long.
        """
        return self.enqueue(job).future

    def enqueue(self, job: Job) -> QueuedRequest:
        """The same; what is returned can be abandoned while an engine is at work on it.

        Raises:
            RequestRefused: 429, it would have to wait too long.
        """
        self.expect_room()
        if len(self._supervisors) == 1:
            job = replace(job, large=True)  # there is no other engine to keep for small images
        request = QueuedRequest(job, time.monotonic() + self._limits.deadline_seconds)
        self._queue.put(request)
        return request

    def check_golden(self) -> None:
        """Does nothing: an engine process checks the golden scores before it takes requests."""

    def close(self) -> None:
        """Let the engines answer all accepted requests and then end; does not wait for that."""
        self._closing.set()
        self._queue.close()

    def join(self, seconds: float) -> None:
        """After `close`: wait until all have ended, but end them after `seconds`."""
        until = time.monotonic() + seconds
        for supervisor in self._supervisors:
            supervisor.thread.join(max(0.0, until - time.monotonic()))
        for worker in list(self._up):
            worker.kill()

    def _expire(self) -> None:
        """Answer each waiting request at its deadline, whatever the engines do."""
        while not self._closing.is_set() or self._is_served():
            time.sleep(LOOK_SECONDS)
            for request in self._queue.expired():
                if request.begin():
                    request.refuse(busy(self._pace.service_seconds or 1.0))
        for request in self._queue.take_all():
            if request.begin():
                request.refuse(closed())

    def _is_served(self) -> bool:
        return any(supervisor.thread.is_alive() for supervisor in self._supervisors)
