"""Engines in their own processes, which take turns.

So times and memory belong to one engine alone, and other work on the machine slows all engines
equally.
"""

import multiprocessing
import resource
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uad.errors import EngineError, UadError
from uad.scoring.maps import Outputs


class EngineProcess:
    """An engine that runs on demand and times itself."""

    def __init__(self, bundle: Path, engine: str, precision: str, threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, bundle, engine, precision, threads), daemon=True
        )
        self._process.start()
        theirs.close()
        self.load_seconds: float = self._answer()

    def times(self, batch: NDArray[np.uint8], runs: int) -> list[float]:
        """Seconds that each of `runs` inferences of `batch` took, after one that is not counted."""
        answer: list[float] = self._ask("times", batch, runs)
        return answer

    def rate(self, batch: NDArray[np.uint8], seconds: float) -> float:
        """Images a second over `seconds`: `start_rate` and `end_rate` in one."""
        self.start_rate(batch, seconds)
        return self.end_rate()

    def start_rate(self, batch: NDArray[np.uint8], seconds: float) -> None:
        """Begin to run `batch` over and over; `end_rate` waits for the result."""
        self._pipe.send(("rate", batch, seconds))

    def end_rate(self) -> float:
        """Images a second since `start_rate`."""
        return float(self._answer())

    def outputs(self, batch: NDArray[np.uint8]) -> Outputs:
        """What the engine computes."""
        answer: Outputs = self._ask("outputs", batch)
        return answer

    def peak_bytes(self) -> int:
        """The most memory that the whole process has held."""
        return int(self._ask("memory"))

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join(10)
        if self._process.is_alive():
            self._process.kill()

    def _ask(self, *question: Any) -> Any:
        self._pipe.send(question)
        return self._answer()

    def _answer(self) -> Any:
        try:
            kind, value = self._pipe.recv()
        except EOFError:
            raise EngineError(
                "The process of an engine ended. Run this engine alone to see why."
            ) from None
        if kind == "error":
            self.close()
            raise EngineError(value)
        return value


def _serve(pipe: Connection, bundle: Path, engine: str, precision: str, threads: int) -> None:
    from uad.bundle import read_bundle
    from uad.inference.engines import load_engine

    opened = read_bundle(bundle)
    begin = time.perf_counter()
    try:
        loaded = load_engine(opened, engine, precision=precision, threads=threads)
    except UadError as exc:
        pipe.send(("error", str(exc)))
        return
    pipe.send(("loaded", time.perf_counter() - begin))
    while True:
        try:
            question, *arguments = pipe.recv()
        except EOFError:
            return
        pipe.send(("answer", _ANSWERS[question](loaded, *arguments)))


def _times(engine: Any, batch: NDArray[np.uint8], runs: int) -> list[float]:
    engine.outputs(batch)
    taken = []
    for _ in range(runs):
        begin = time.perf_counter()
        engine.outputs(batch)
        taken.append(time.perf_counter() - begin)
    return taken


def _rate(engine: Any, batch: NDArray[np.uint8], seconds: float) -> float:
    engine.outputs(batch)
    begin, done = time.perf_counter(), 0
    while (spent := time.perf_counter() - begin) < seconds:
        engine.outputs(batch)
        done += len(batch)
    return done / spent


def _outputs(engine: Any, batch: NDArray[np.uint8]) -> Outputs:
    found: Outputs = engine.outputs(batch)
    return found


def _peak(engine: Any) -> int:
    del engine
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:  # not Linux
        held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return held if sys.platform == "darwin" else held * 1024
    # Not ru_maxrss: on Linux that begins with what the parent held.
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


_ANSWERS: dict[str, Any] = {"times": _times, "rate": _rate, "outputs": _outputs, "memory": _peak}
