"""The queue in front of the engines of one version."""

import threading
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field

from serving.workers.messages import Job, Reply, refusal
from uad.errors import RequestRefused


@dataclass
class QueuedRequest:
    """A request that waits for an engine, or is in one."""

    job: Job
    expires_at: float
    """By the monotonic clock: nobody wants the answer after that."""
    future: Future[Reply] = field(default_factory=Future)
    engines_lost: int = 0
    queued_at: float = field(default_factory=time.monotonic)

    @property
    def goes_alone(self) -> bool:
        """Many images are a batch of their own; what cost an engine must not cost others."""
        return self.job.many or self.engines_lost > 0

    def refuse(self, refused: RequestRefused) -> None:
        """Answer without an engine."""
        self.future.set_result(refusal(self.job.log_id, refused))

    def is_wanted(self) -> bool:
        """Whether the answer is still waited for; from then on it cannot be cancelled."""
        return self.future.running() or self.future.set_running_or_notify_cancel()


class RequestQueue:
    """First come, first served; a request whose engine died goes to the front."""

    def __init__(self) -> None:
        self._requests: deque[QueuedRequest] = deque()
        self._changed = threading.Condition()
        self._closed = False

    def __len__(self) -> int:
        """How many wait, without those that nobody waits for any more."""
        with self._changed:
            return sum(not request.future.cancelled() for request in self._requests)

    def put(self, request: QueuedRequest) -> None:
        """Add `request` at the end."""
        with self._changed:
            self._requests.append(request)
            self._changed.notify()

    def put_first(self, request: QueuedRequest) -> None:
        """Add `request` again, before all others."""
        with self._changed:
            self._requests.appendleft(request)
            self._changed.notify()

    @property
    def is_over(self) -> bool:
        """Closed and empty: no request will come out of it any more."""
        return self._closed and not self._requests

    def get(self, seconds: float, most: int = 1) -> list[QueuedRequest]:
        """The next ones that can be judged together; none if none comes in `seconds`, or ever."""
        with self._changed:
            if not self._requests and not self._closed:
                self._changed.wait(seconds)
            taken = [self._requests.popleft()] if self._requests else []
            while self._requests and len(taken) < most:
                if taken[0].goes_alone or self._requests[0].goes_alone:
                    break
                taken.append(self._requests.popleft())
            return taken

    def close(self) -> None:
        """Nobody waits any more: who asks gets what is left, then nothing."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
