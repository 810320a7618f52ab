"""One thread for writes to the disk after answers, so no answer waits for them."""

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

logger = logging.getLogger(__name__)

Kind = Literal["scores", "images", "log lines"]
KINDS: tuple[Kind, ...] = get_args(Kind)
COSTS = {
    "scores": "scores are not kept, so drift will not be seen",
    "images": "judged images are not kept, so the page does not show them",
    "log lines": "log lines are lost",
}
MOST_WAITING = 1000
MOST_WAITING_BYTES = 128 * 2**20


@dataclass(frozen=True)
class _Task:
    kind: Kind
    write: Callable[[], None]
    size_bytes: int


class BackgroundWriter:
    """Runs small writes in the order in which they came. When too many wait, new ones are dropped.

    A failed write is logged once for each kind; the thread continues.
    """

    def __init__(self, *, most: int = MOST_WAITING, most_bytes: int = MOST_WAITING_BYTES) -> None:
        """Nothing runs before the first write is offered."""
        self.dropped: Counter[str] = Counter()
        """Writes that were not done, by kind: too many waited, or the disk refused."""
        self._most, self._most_bytes = most, most_bytes
        self._waiting: deque[_Task] = deque()
        self._waiting_bytes = 0
        self._told: set[Kind] = set()
        self._changed = threading.Condition()
        self._is_closed = False
        self._is_writing = False
        self._thread: threading.Thread | None = None

    def offer(self, kind: Kind, write: Callable[[], None], size_bytes: int = 0) -> bool:
        """Queue `write`; False if it was dropped. Returns at once."""
        with self._changed:
            is_full = (
                len(self._waiting) >= self._most
                or self._waiting_bytes + size_bytes > self._most_bytes
            )
            if is_full or self._is_closed:
                self.dropped[kind] += 1
                return False
            self._waiting.append(_Task(kind, write, size_bytes))
            self._waiting_bytes += size_bytes
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
                self._thread.start()
            self._changed.notify_all()
            return True

    def flush(self, seconds: float = 10.0) -> bool:
        """Wait until everything that was offered is written; False if it takes longer."""
        with self._changed:
            return self._changed.wait_for(
                lambda: not self._waiting and not self._is_writing, timeout=seconds
            )

    def close(self, seconds: float = 10.0) -> None:
        """Write what waits, then end; whatever takes longer than `seconds` is lost."""
        until = time.monotonic() + seconds
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(max(0.0, until - time.monotonic()))

    def _run(self) -> None:
        while (task := self._next()) is not None:
            try:
                task.write()
            except Exception as exc:  # noqa: BLE001 - the thread outlives every disk
                self._failed(task.kind, exc)
            finally:
                with self._changed:
                    self._is_writing = False
                    self._changed.notify_all()

    def _next(self) -> _Task | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_closed)
            if not self._waiting:
                return None
            task = self._waiting.popleft()
            self._waiting_bytes -= task.size_bytes
            self._is_writing = True
            return task

    def _failed(self, kind: Kind, exc: Exception) -> None:
        self.dropped[kind] += 1
        if kind not in self._told:
            logger.warning("%s: %s (this is shown once)", COSTS[kind], exc)
        self._told.add(kind)
