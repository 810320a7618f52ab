"""The engine processes of one model version."""

import logging
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace

from serving.inference.spec import EngineSpec
from serving.workers.admission import Pace, busy
from serving.workers.messages import Job, Reply
from serving.workers.request_queue import QueuedRequest, RequestQueue
from serving.workers.worker import WorkerProcess
from uad.devices import parse_devices
from uad.errors import BundleError, EngineLostError, RequestRefused

logger = logging.getLogger(__name__)

IDLE_SECONDS = 1.0
"""How soon the death of an idle engine is noticed."""
LONGEST_PAUSE_SECONDS = 10.0
KILLS = RequestRefused(422, "this image broke two engines, it is not tried again; export it again")
SLOW = RequestRefused(422, "this image takes longer than a request may; send a smaller one")
CLOSED = RequestRefused(503, "the server is stopping; try again")


class WorkerPool:
    """Engine processes that share one queue of requests; safe to use from any thread.

    Each has a thread here that hands it one request after another, or at once as many as wait, up
    to `spec.batch`; and replaces it when it dies.
    """

    def __init__(self, spec: EngineSpec, workers: int) -> None:
        """Start so many, on the devices of `spec` in turn, and wait for them.

        Raises:
            BundleError: the version cannot be loaded.
            EngineError: there is no such device.
        """
        devices = parse_devices(spec.device)
        self.bundle = spec.bundle
        """The version's folder."""
        self._limits = spec.limits
        self._queue = RequestQueue()
        self._pace = Pace(spec.limits)
        self._closing = threading.Event()
        self._came_up = threading.Semaphore(0)
        specs = [
            spec.model_copy(update={"device": devices[index % len(devices)]})
            for index in range(workers)
        ]
        first = WorkerProcess(specs[0])  # alone, so that a bad version costs one process
        self.key = first.key
        self._up: set[WorkerProcess] = {first}
        self._threads = [
            threading.Thread(target=self._run_worker, args=(each, worker), daemon=True)
            for each, worker in zip(specs, [first, *[None] * (workers - 1)], strict=True)
        ]
        self._start()

    def _start(self) -> None:
        """All at once; who replaces a version that is at full strength should be so too."""
        until = time.monotonic() + self._limits.start_seconds
        for thread in self._threads:
            thread.start()
        for _ in self._threads[1:]:
            self._came_up.acquire(timeout=max(0.0, until - time.monotonic()))

    @property
    def pids(self) -> list[int]:
        """The processes that are up."""
        return [worker.pid for worker in list(self._up)]

    @property
    def queued(self) -> int:
        """Requests that wait."""
        return len(self._queue)

    @property
    def service_seconds(self) -> float | None:
        """How long a request takes in an engine, lately; None before the first."""
        return self._pace.service_seconds

    def expect_room(self) -> None:
        """Raise RequestRefused (429) if one more request would have to wait too long."""
        self._pace.refuse_if_too_long(len(self._queue), len(self._up))

    def submit(self, job: Job) -> Future[Reply]:
        """Queue `job`; the future always gets a reply in our own words.

        Raises:
            RequestRefused: 429, it would have to wait too long.
        """
        self.expect_room()
        request = QueuedRequest(job, time.monotonic() + self._limits.deadline_seconds)
        self._queue.put(request)
        return request.future

    def check_golden(self) -> None:
        """Nothing to do: an engine process checks the golden scores before it takes requests."""

    def close(self) -> None:
        """Let the engines answer what was accepted and end, without waiting for it."""
        self._closing.set()
        self._queue.close()

    def join(self, seconds: float) -> None:
        """After `close`: wait until all have ended, but end them after `seconds`."""
        until = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        for worker in list(self._up):
            worker.kill()

    def _run_worker(self, spec: EngineSpec, worker: WorkerProcess | None) -> None:
        while not self._queue.is_over:
            worker = worker or self._replacement(spec)
            if worker is None:
                break
            requests = self._queue.get(IDLE_SECONDS, spec.batch)
            if not worker.is_alive():
                self._lose(worker, requests)
                worker = None
            elif (due := _due(requests)) and not self._served(worker, due):
                worker = None
        if worker:
            self._up.discard(worker)
            worker.close()
        self._refuse_the_rest()

    def _lose(self, worker: WorkerProcess, requests: Sequence[QueuedRequest]) -> None:
        """An engine died while it was idle; the requests go to another one."""
        logger.warning("engine process %d died while it was idle", worker.pid)
        self._up.discard(worker)
        worker.kill()
        for request in reversed(requests):
            self._queue.put_first(request)

    def _refuse_the_rest(self) -> None:
        """When no engine is left and none can be started."""
        while not self._up and (requests := self._queue.get(0.0)):
            requests[0].refuse(CLOSED)

    def _served(self, worker: WorkerProcess, requests: Sequence[QueuedRequest]) -> bool:
        """Have requests answered; False when that cost the engine its life."""
        start = time.monotonic()
        try:
            replies = worker.answer([request.job for request in requests])
        except EngineLostError as exc:
            self._up.discard(worker)
            logger.warning("request %s: %s", ", ".join(t.job.log_id for t in requests), exc)
            self._after_loss(requests, exc)
            return False
        self._pace.note((time.monotonic() - start) / len(requests))
        for request, reply in zip(requests, replies, strict=True):
            reply.seconds["queue"] = start - request.queued_at
            request.future.set_result(replace(reply, together=len(requests)))
        return True

    def _after_loss(self, requests: Sequence[QueuedRequest], exc: EngineLostError) -> None:
        """Nobody knows which of several it was: each is tried again, alone."""
        for request in reversed(requests):
            request.engines_lost += exc.began or exc.slow
            if exc.slow and len(requests) == 1:
                request.refuse(SLOW)
            elif request.engines_lost > 1:
                request.refuse(KILLS)
            else:
                self._queue.put_first(request)

    def _replacement(self, spec: EngineSpec) -> WorkerProcess | None:
        pause = 0.1
        while True:
            try:
                worker = WorkerProcess(spec)
            except BundleError as exc:
                logger.error("an engine process cannot be started: %s", exc)
                if self._closing.wait(pause):
                    return None
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            else:
                self._up.add(worker)
                self._came_up.release()
                return worker


def _due(requests: Sequence[QueuedRequest]) -> list[QueuedRequest]:
    """Those whose answer is still waited for; who waited too long is told so."""
    due = []
    for request in requests:
        if not request.is_wanted():
            continue
        if time.monotonic() > request.expires_at and not request.engines_lost:
            request.refuse(busy(1.0))
        else:
            due.append(request)
    return due
