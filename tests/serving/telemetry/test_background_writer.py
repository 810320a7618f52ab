import threading
from collections.abc import Iterator

import pytest

from serving.telemetry.background_writer import BackgroundWriter


class Gate:
    """A disk that stands still until it is opened."""

    def __init__(self) -> None:
        self.written: list[str] = []
        self.is_reached = threading.Event()
        self._opened = threading.Event()

    def write(self, name: str) -> None:
        self.is_reached.set()
        assert self._opened.wait(60)
        self.written.append(name)

    def open(self) -> None:
        self._opened.set()


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = Gate()
    yield made
    made.open()


def test_a_disk_that_stands_still_costs_the_newest_writes_and_no_time(gate: Gate) -> None:
    writer = BackgroundWriter(most=2)
    assert writer.offer("scores", lambda: gate.write("a"))
    assert gate.is_reached.wait(60)
    assert [writer.offer("scores", lambda n=n: gate.write(n)) for n in "bcde"] == [
        True,
        True,
        False,
        False,
    ]
    assert writer.dropped == {"scores": 2}
    assert not writer.flush(0)
    gate.open()
    writer.close()
    assert gate.written == ["a", "b", "c"]


def test_what_waits_is_bounded_in_bytes_too(gate: Gate) -> None:
    writer = BackgroundWriter(most_bytes=100)
    writer.offer("images", lambda: gate.write("a"), 90)
    assert gate.is_reached.wait(60)
    assert [writer.offer("images", lambda: gate.write("b"), 60) for _ in range(2)] == [True, False]
    assert writer.offer("scores", lambda: gate.write("c"))
    gate.open()
    writer.close()
    assert gate.written == ["a", "b", "c"]


def test_after_its_end_nothing_is_taken_and_all_is_written() -> None:
    written: list[int] = []
    writer = BackgroundWriter()
    for number in range(100):
        writer.offer("scores", lambda n=number: written.append(n))
    writer.close()
    assert written == list(range(100))
    assert not writer.offer("scores", lambda: written.append(0))
