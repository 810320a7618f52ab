"""Keep one engine process running and hand it requests, in a thread of its own."""

import gzip
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from serving.api.schemas import batch_envelope
from serving.inference.request_processing import SMALL_BYTES
from serving.workers.admission import Pace
from serving.workers.messages import EngineSpec, ImageVerdict, KeptImage, Reply
from serving.workers.request_queue import QueuedRequest, RequestQueue, as_large
from serving.workers.worker import WorkerProcess
from uad.errors import BundleError, EngineLostError, RequestRefused

logger = logging.getLogger(__name__)

IDLE_SECONDS = 1.0
"""How soon the death of an idle engine is noticed."""
TURN_SECONDS = 0.05
"""How often an open batch asks whether it may judge its next, large image."""
LONGEST_PAUSE_SECONDS = 10.0
kills = partial(
    RequestRefused,
    422,
    "this image made two engines fail and is not tried again; export it again",
)
slow = partial(
    RequestRefused, 422, "this image takes longer than a request may; send a smaller one"
)


@dataclass
class _OpenBatch:
    """A batch whose images the engine judges a few at a time."""

    request: QueuedRequest
    seconds: dict[str, float]
    left: int
    is_large: bool = False
    """Whether the engine asked before it judges the next image."""
    items: list[bytes] = field(default_factory=list)
    verdicts: list[ImageVerdict] = field(default_factory=list)
    kept: list[KeptImage] = field(default_factory=list)
    images: int = 0

    def add(self, reply: Reply) -> None:
        """Count the images of one turn."""
        self.items.append(reply.body)
        self.kept += [
            replace(each, verdict=len(self.verdicts) + each.verdict) for each in reply.kept
        ]
        self.verdicts += reply.verdicts
        self.images += reply.images
        self.left, self.is_large = reply.left, False
        for stage, spent in reply.seconds.items():
            self.seconds[stage] = self.seconds.get(stage, 0.0) + spent

    def reply(self) -> Reply:
        """The answer around all items."""
        job = self.request.job
        body = batch_envelope(job.log_id, self.items)
        compressed = job.gzip and len(body) > SMALL_BYTES
        if compressed:
            body = gzip.compress(body, compresslevel=1, mtime=0)
        return Reply(
            200,
            body,
            tuple(self.verdicts),
            self.seconds,
            compressed,
            images=self.images,
            kept=tuple(self.kept),
        )


class Supervisor:
    """One engine process: replaced when it dies, and given one request after another.

    While a batch is open, requests of one image take turns with the batch's images.
    """

    def __init__(
        self,
        spec: EngineSpec,
        queue: RequestQueue,
        pace: Pace,
        *,
        on_up: Callable[[WorkerProcess], None],
        on_down: Callable[[WorkerProcess], None],
        repair: Callable[[], object],
        start: Callable[[EngineSpec], WorkerProcess],
        is_closing: threading.Event,
    ) -> None:
        """`repair` is called when the process cannot be started: it may fetch the bundle again."""
        self._spec, self._queue, self._pace = spec, queue, pace
        self._on_up, self._on_down = on_up, on_down
        self._repair, self._start, self._is_closing = repair, start, is_closing
        self._worker: WorkerProcess | None = None
        self._batch: _OpenBatch | None = None
        self.thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def begin(self) -> WorkerProcess:
        """Start the process here instead of in the thread.

        Raises:
            BundleError: the version cannot be loaded.
        """
        self._worker = self._start(self._spec)
        self._on_up(self._worker)
        return self._worker

    def _run(self) -> None:
        while not (self._queue.is_over and self._batch is None):
            worker = self._worker or self._started()
            if worker is None:
                break
            try:
                self._turn(worker)
            except EngineLostError as exc:
                # As text: whoever keeps the log record would keep the request's memory, too.
                logger.warning("an engine process was lost: %s", str(exc))
                self._forget_worker()
            except Exception:  # an engine that was taken over must not end this thread
                logger.exception("an engine process did something unexpected; it is replaced")
                self._forget_worker()
        if self._worker is not None:
            self._on_down(self._worker)
            self._worker.close()

    def _turn(self, worker: WorkerProcess) -> None:
        batch = self._batch
        if batch is None:
            requests = self._queue.get(IDLE_SECONDS, self._spec.batch)
        else:
            wait = TURN_SECONDS if batch.is_large else 0.0
            requests = self._queue.get(wait, self._spec.batch, batches=False)
        if not worker.is_alive():
            self._lose_idle(worker, requests)
            return
        if requests:
            self._answer(worker, requests)
        if self._batch is not None:
            self._continue(worker, self._batch)

    def _answer(self, worker: WorkerProcess, requests: Sequence[QueuedRequest]) -> None:
        start = time.monotonic()
        try:
            replies = worker.answer([request.job for request in requests])
        except EngineLostError as exc:
            self._put_back(requests, exc)
            raise
        finally:
            for request in requests:
                if request.is_large:
                    self._queue.end_large()
        if any(not each.is_large and not each.left for each in replies):
            self._pace.note((time.monotonic() - start) / len(requests))
        for request, reply in zip(requests, replies, strict=True):
            reply.seconds["queue"] = start - request.queued_at
            self._deliver(request, replace(reply, together=len(requests)))

    def _deliver(self, request: QueuedRequest, reply: Reply) -> None:
        if reply.is_large:
            self._queue.put_first(as_large(request))
        elif reply.left:
            self._batch = _OpenBatch(request, dict(reply.seconds), reply.left)
        else:
            if not request.job.many and not request.is_large:
                self._queue.note_small()
            request.answer(reply)

    def _continue(self, worker: WorkerProcess, batch: _OpenBatch) -> None:
        """The batch's next images, if it is their turn."""
        if batch.request.is_abandoned:
            self._batch = None
            worker.drop()
            batch.request.refuse(RequestRefused(499, "the client closed the connection"))
            return
        has_permission = batch.is_large and self._queue.may_run_large()
        if batch.is_large and not has_permission:
            return
        start = time.monotonic()
        try:
            reply = worker.answer_next(large=has_permission)
        except EngineLostError as exc:
            self._batch = None
            self._put_back([batch.request], exc)
            raise
        finally:
            if has_permission:
                self._queue.end_large()
        if reply.is_large:
            batch.is_large = True
            return
        batch.add(reply)
        self._pace.note((time.monotonic() - start) / max(1, reply.images))
        if not batch.left:
            self._batch = None
            batch.request.answer(batch.reply())

    def _lose_idle(self, worker: WorkerProcess, requests: Sequence[QueuedRequest]) -> None:
        """The engine died between two requests; those just taken go to another one."""
        logger.warning("engine process %d died while it was idle", worker.pid)
        for request in reversed(requests):
            if request.is_large:
                self._queue.end_large()
            self._queue.put_first(request)
        self._forget_worker()

    def _put_back(self, requests: Sequence[QueuedRequest], exc: EngineLostError) -> None:
        """It is not known which request it was: each is tried again, alone."""
        for request in reversed(requests):
            request.engines_lost += exc.began
            request.expires_at = time.monotonic() + self._spec.limits.deadline_seconds
            if exc.slow and exc.began and len(requests) == 1:
                request.refuse(slow())
            elif request.engines_lost > 1:
                request.refuse(kills())
            else:
                self._queue.put_first(request)

    def _forget_worker(self) -> None:
        worker, batch = self._worker, self._batch
        self._worker = self._batch = None
        if batch is not None:  # another request made the engine fail
            self._queue.put_first(batch.request)
        if worker is not None:
            self._on_down(worker)
            worker.kill()

    def _started(self) -> WorkerProcess | None:
        """A new process, however many attempts it takes; None when the pool closes before."""
        pause = 0.1
        while True:
            try:
                worker = self._worker = self._start(self._spec)
            except BundleError as exc:
                logger.error("an engine process cannot be started: %s", str(exc))
                self._try_to_repair()
                if self._is_closing.wait(pause):
                    return None
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            else:
                self._on_up(worker)
                return worker

    def _try_to_repair(self) -> None:
        try:
            self._repair()
        except Exception as exc:  # noqa: BLE001 - the next attempt may find the bundle whole
            logger.warning("the bundle could not be fetched again: %s", exc)
