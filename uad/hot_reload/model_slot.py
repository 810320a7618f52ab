"""The current model, which can be replaced while requests are running."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from uad.errors import ServingError


class Servable(Protocol):
    """What can be held: a detector, or a pool of processes that run one."""

    def check_golden(self) -> None:
        """Run the golden inputs; raise if the scores are not those of the bundle."""

    def close(self) -> None:
        """Release everything."""


D = TypeVar("D", bound=Servable)


@dataclass(frozen=True)
class Served(Generic[D]):
    """A loaded model and what it is called."""

    detector: D
    version: str
    name: str
    copy: str = ""
    """Version and hash of a registered bundle: two bundles may have had the same number."""
    release: Callable[[], object] = lambda: None
    """Called after the model is closed."""

    def close(self) -> None:
        """Close the model, then release what it was loaded from."""
        self.detector.close()
        self.release()


class _Counted(Generic[D]):
    """One model with the number of its users."""

    def __init__(self, served: Served[D]) -> None:
        self.served = served
        self.users = 0
        self.retired = False


class ModelSlot(Generic[D]):
    """Hands out the current model; a replaced one is closed when its last user leaves."""

    def __init__(self, served: Served[D] | None = None) -> None:
        self._lock = threading.Lock()
        self._slot = None if served is None else _Counted(served)

    @property
    def current(self) -> Served[D] | None:
        """The current model, to look at. To run it, see `use`."""
        slot = self._slot
        return None if slot is None else slot.served

    @contextmanager
    def use(self) -> Iterator[Served[D]]:
        """The model for one request; it stays open until the block ends, whatever is swapped.

        Raises:
            ServingError: nothing is loaded.
        """
        with self._lock:
            slot = self._slot
            if slot is not None:
                slot.users += 1
        if slot is None:
            raise ServingError("No model is loaded. Promote one: `uad promote NAME VERSION`")
        try:
            yield slot.served
        finally:
            self._leave(slot)

    def swap(self, new: Served[D] | None) -> None:
        """Put `new` in place of the current model; None leaves the slot empty."""
        slot = None if new is None else _Counted(new)
        with self._lock:
            old, self._slot = self._slot, slot
            unused = old is not None and self._retire(old)
        if old is not None and unused:
            old.served.close()

    def close(self) -> None:
        """Let go of the current model."""
        self.swap(None)

    @staticmethod
    def _retire(slot: _Counted[D]) -> bool:
        slot.retired = True
        return slot.users == 0

    def _leave(self, slot: _Counted[D]) -> None:
        with self._lock:
            slot.users -= 1
            last = slot.retired and slot.users == 0
        if last:
            slot.served.close()
