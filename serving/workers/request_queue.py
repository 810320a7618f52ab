"""The queue in front of the engine processes of one model version.

First come, first served, with three exceptions: a request whose engine died goes to the front;
an engine with an open batch takes requests of one image only; and while small images are asked
for, one engine takes no large ones.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field, replace

from serving.workers.messages import Job, Reply, refusal
from uad.errors import RequestRefused

LATELY_SECONDS = 10.0
"""How long after the last small image one engine is reserved for small images."""


@dataclass(eq=False)
class QueuedRequest:
    """A request that waits for an engine, or is in one."""

    job: Job
    expires_at: float
    """By the monotonic clock; nobody needs the answer after that."""
    future: Future[Reply] = field(default_factory=Future)
    engines_lost: int = 0
    queued_at: float = field(default_factory=time.monotonic)
    is_large: bool = False
    """Whether an engine has found that its image is large."""
    is_abandoned: bool = False
    """Whether the client left while an engine was at work."""

    @property
    def goes_alone(self) -> bool:
        """A request of many images runs alone, and so does one whose engine died."""
        return self.job.many or self.is_large or self.engines_lost > 0

    def answer(self, reply: Reply) -> None:
        """Give the reply to the waiting request, if it was not answered before."""
        if not self.future.done():
            self.future.set_result(reply)

    def refuse(self, refused: RequestRefused) -> None:
        """Answer without an engine."""
        self.answer(refusal(self.job.log_id, refused))

    def begin(self) -> bool:
        """Whether somebody still waits for the answer; after this call it cannot be cancelled."""
        return self.future.running() or self.future.set_running_or_notify_cancel()


class RequestQueue:
    """Requests in order, for several threads."""

    def __init__(self, engines: Callable[[], int]) -> None:
        """`engines`: how many engine processes take requests now."""
        self._engines = engines
        self._requests: deque[QueuedRequest] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._large_running = 0
        self._small_at = float("-inf")

    def __len__(self) -> int:
        """How many wait."""
        with self._changed:
            return len(self._requests)

    def put(self, request: QueuedRequest) -> None:
        """Add `request` at the end; it leaves by itself when it is cancelled."""
        with self._changed:
            self._requests.append(request)
            self._changed.notify_all()
        request.future.add_done_callback(lambda _: self._discard(request))

    def put_first(self, request: QueuedRequest) -> None:
        """Add `request` again, before all others."""
        with self._changed:
            self._requests.appendleft(request)
            self._changed.notify_all()

    @property
    def is_over(self) -> bool:
        """Closed and empty: no request will come out of it any more."""
        return self._closed and not self._requests

    def get(self, seconds: float, most: int = 1, *, batches: bool = True) -> list[QueuedRequest]:
        """The next ones that can be judged together; none if none comes in `seconds`, or ever.

        A large one holds the permission that `may_run_large` gives; return it with `end_large`.
        """
        end = time.monotonic() + seconds
        with self._changed:
            taken = self._taken(most, batches=batches)
            while not taken and not self._closed and (left := end - time.monotonic()) > 0:
                self._changed.wait(left)
                taken = self._taken(most, batches=batches)
            return taken

    def note_small(self) -> None:
        """A small image was asked for just now."""
        self._small_at = time.monotonic()

    def may_run_large(self) -> bool:
        """Ask for the permission to judge a large image; True gives it."""
        with self._changed:
            return self._may_run_large()

    def end_large(self) -> None:
        """Return the permission."""
        with self._changed:
            self._large_running -= 1
            self._changed.notify_all()

    def expired(self) -> list[QueuedRequest]:
        """Take out those whose deadline has passed."""
        now = time.monotonic()
        with self._changed:
            late = [each for each in self._requests if now > each.expires_at]
            for request in late:
                self._requests.remove(request)
        return late

    def take_all(self) -> list[QueuedRequest]:
        """Take out all."""
        with self._changed:
            taken = list(self._requests)
            self._requests.clear()
        return taken

    def close(self) -> None:
        """Close the queue: the remaining requests are handed out, then nothing."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _taken(self, most: int, *, batches: bool) -> list[QueuedRequest]:
        taken: list[QueuedRequest] = []
        for request in list(self._requests):
            if request.job.many and not batches:
                continue
            if taken and (request.goes_alone or len(taken) == most):
                break
            if request.is_large and not self._may_run_large():
                continue
            self._requests.remove(request)
            if request.begin():
                taken.append(request)
            elif request.is_large:
                self._large_running -= 1
            if taken and taken[0].goes_alone:
                break
        return taken

    def _may_run_large(self) -> bool:
        is_kept = time.monotonic() - self._small_at < LATELY_SECONDS
        if is_kept and self._large_running >= max(1, self._engines() - 1):
            return False
        self._large_running += 1
        return True

    def _discard(self, request: QueuedRequest) -> None:
        with self._changed:
            if request in self._requests:
                self._requests.remove(request)


def as_large(request: QueuedRequest) -> QueuedRequest:
    """Mark a request as one that an engine may judge although its image is large."""
    request.job = replace(request.job, large=True)
    request.is_large = True
    return request
