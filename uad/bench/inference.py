"""Engines x image sizes x batch sizes x threads, in one run: `uad bench inference`."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from uad.bench.arithmetic_bound import (
    bandwidth,
    operations,
    parameter_bytes,
    peak_rate,
    processor,
)
from uad.bench.engine_processes import EngineProcess
from uad.bench.resized_bundle import batch_of, resized
from uad.bundle import Bundle
from uad.config import InputSpec, ScoreDefinition
from uad.config.choices import PRECISIONS
from uad.config.score import PartName
from uad.errors import EngineError
from uad.inference.engines.loading import installed
from uad.scoring.maps import Outputs
from uad.scoring.parts import Scoring

REFERENCE = "onnxruntime/fp32"
STUDENT_ALONE = "student alone"
COMPOSITIONS: Mapping[str, Sequence[PartName]] = {
    STUDENT_ALONE: ("student",),
    "all parts": ("student", "memory", "whole_image"),
    "quick, without student": ("memory", "whole_image"),
}
MAP_SIZE = (64, 64)
"""Any: of the maps that scores are taken with."""


@dataclass(frozen=True)
class Figure:
    """What one engine did in one setting."""

    engine: str
    size: int
    batch: int
    threads: int
    median_ms: float
    p95_ms: float
    images_per_second: float
    ratio: float
    """Median time, divided by that of `onnxruntime/fp32` in the same setting of the same run."""
    load_seconds: float
    peak_mib: float
    """Of the whole process: Python, libraries, model."""
    map_difference: float
    """Largest difference of an output from `onnxruntime/fp32`, over its largest value."""
    score_difference: float
    """Largest relative difference of an image score."""


@dataclass(frozen=True)
class Throughput:
    """N workers with one thread each against one worker with N threads."""

    engine: str
    size: int
    workers: int
    together: float
    """Images a second of the N workers."""
    alone: float
    """Images a second of the one."""


@dataclass(frozen=True)
class Floor:
    """The least time for one image: the network's operations at the machine's measured peak."""

    precision: str
    size: int
    threads: int
    giga_operations: float
    peak_giga_operations_per_second: float
    milliseconds: float
    weight_milliseconds: float
    """To read the weights once from main memory; zero for a cache that holds them."""


@dataclass(frozen=True)
class PartsCost:
    """One engine with some of the detector's parts, in turns with the student alone."""

    engine: str
    size: int
    threads: int
    parts: str
    median_ms: float
    ratio: float
    """Median time over that of the student alone: 1.15 is 15 % more."""


@dataclass(frozen=True)
class SpeedReport:
    """One run of the benchmark."""

    processor: str
    figures: tuple[Figure, ...]
    throughput: tuple[Throughput, ...]
    floors: tuple[Floor, ...]
    parts: tuple[PartsCost, ...]

    def to_json(self) -> str:
        """Everything, as JSON."""
        return json.dumps(asdict(self), indent=2)


def engines_here() -> list[str]:
    """Every engine and precision that an installed library offers on the CPU."""
    names = [name for name in PRECISIONS if name != "tensorrt" and installed(name)]
    return [f"{name}/{precision}" for name in names for precision in PRECISIONS[name]]


def run(
    bundle: Bundle | None = None,
    *,
    engines: Sequence[str] | None = None,
    sizes: Sequence[int] = (256,),
    batches: Sequence[int] = (1, 8),
    threads: Sequence[int] = (2,),
    rounds: int = 10,
    runs: int = 5,
    pause_seconds: float = 0.0,
    rate_seconds: float = 2.0,
    peak_runs: int = 40,
    width: int = 64,
) -> SpeedReport:
    """Measure engines in turns.

    Args:
        bundle: whose weights are run; None for random ones.
        engines: `engine/precision` keys; None for all that are installed.
        sizes: side of the square input, pixels.
        batches: images per inference.
        threads: of one inference.
        rounds: turns that each engine gets.
        runs: inferences per turn; one more at the start of each turn is not timed.
        pause_seconds: rest after each turn, for others on a shared machine.
        rate_seconds: how long throughput is measured, three times.
        peak_runs: how often the machine's peak is tried.
        width: of the random network.
    """
    keys = list(engines or engines_here())
    turns = _Turns(rounds, runs, pause_seconds)
    figures: list[Figure] = []
    throughput: list[Throughput] = []
    for size in sizes:
        with resized(bundle, size, width) as sized:
            for count in threads:
                with _started(sized.path, keys, count) as running:
                    for batch in batches:
                        figures += _setting(running, sized, size, batch, count, turns)
            workers = max(threads)
            if workers > 1:
                throughput += [
                    _throughput(sized, key, size, workers, rate_seconds) for key in _fit(keys)
                ]
    used = bundle.manifest.width if bundle else width
    floors = [floor for size in sizes for floor in _floors(used, size, max(threads), peak_runs)]
    ran = list(dict.fromkeys(figure.engine for figure in figures))
    parts = [
        cost
        for size in sizes
        for cost in _parts_costs(bundle, ran, size, width, max(threads), turns)
    ]
    return SpeedReport(processor(), tuple(figures), tuple(throughput), tuple(floors), tuple(parts))


@dataclass(frozen=True)
class _Turns:
    rounds: int
    runs: int
    pause_seconds: float

    def taken_by(
        self, running: Mapping[str, EngineProcess], batch: NDArray[np.uint8]
    ) -> dict[str, list[float]]:
        """Seconds of every inference of `batch`, by engine; the engines take turns."""
        taken: dict[str, list[float]] = {name: [] for name in running}
        for _ in range(self.rounds):
            for name, engine in running.items():
                taken[name] += engine.times(batch, self.runs)
                time.sleep(self.pause_seconds)
        return taken


def _setting(
    running: dict[str, EngineProcess],
    bundle: Bundle,
    size: int,
    batch: int,
    threads: int,
    turns: _Turns,
) -> Iterator[Figure]:
    images = batch_of(bundle, batch)
    taken = turns.taken_by(running, images)
    found = {key: engine.outputs(images) for key, engine in running.items()}
    scoring = Scoring(ScoreDefinition(), bundle.manifest.detector, bundle.arrays("statistics"))
    scores = {key: _scores(outputs, scoring, batch) for key, outputs in found.items()}
    reference = REFERENCE if REFERENCE in running else next(iter(running))
    base = float(np.median(taken[reference]))
    for key, engine in running.items():
        median = float(np.median(taken[key]))
        yield Figure(
            engine=key,
            size=size,
            batch=batch,
            threads=threads,
            median_ms=1e3 * median,
            p95_ms=1e3 * float(np.quantile(taken[key], 0.95)),
            images_per_second=batch / median,
            ratio=median / base,
            load_seconds=engine.load_seconds,
            peak_mib=engine.peak_bytes() / 2**20,
            map_difference=_difference(found[key], found[reference]),
            score_difference=float(np.abs(scores[key] / scores[reference] - 1.0).max()),
        )


def _parts_costs(
    bundle: Bundle | None, keys: Sequence[str], size: int, width: int, threads: int, turns: _Turns
) -> Iterator[PartsCost]:
    """Nothing for a bundle without student, or with nothing else."""
    if bundle is not None:
        detector = bundle.manifest.detector
        if detector is None or set(detector.parts()) <= {"student"} or detector.student is None:
            return
    with ExitStack() as stack:
        sized = {
            name: stack.enter_context(resized(bundle, size, width, parts))
            for name, parts in COMPOSITIONS.items()
        }
        image = batch_of(sized[STUDENT_ALONE], 1)
        for key in keys:
            yield from _parts_cost(sized, key, size, threads, image, turns)


def _parts_cost(
    sized: Mapping[str, Bundle],
    key: str,
    size: int,
    threads: int,
    image: NDArray[np.uint8],
    turns: _Turns,
) -> Iterator[PartsCost]:
    with ExitStack() as stack:
        running = {
            name: stack.enter_context(_started(bundle.path, [key], threads))[key]
            for name, bundle in sized.items()
        }
        taken = turns.taken_by(running, image)
        base = float(np.median(taken[STUDENT_ALONE]))
        for name, times in taken.items():
            median = float(np.median(times))
            yield PartsCost(key, size, threads, name, 1e3 * median, median / base)


def _throughput(bundle: Bundle, key: str, size: int, workers: int, seconds: float) -> Throughput:
    engine, _, precision = key.partition("/")
    image = batch_of(bundle, 1)
    with ExitStack() as stack:
        team = [
            stack.enter_context(closing(EngineProcess(bundle.path, engine, precision, 1)))
            for _ in range(workers)
        ]
        one = stack.enter_context(closing(EngineProcess(bundle.path, engine, precision, workers)))
        together, alone = [], []
        for _ in range(3):
            alone.append(one.rate(image, seconds))
            for worker in team:
                worker.start_rate(image, seconds)
            together.append(sum(worker.end_rate() for worker in team))
    return Throughput(key, size, workers, float(np.median(together)), float(np.median(alone)))


def _floors(width: int, size: int, threads: int, runs: int) -> Iterator[Floor]:
    spec = InputSpec(height=size, width=size)
    work = operations(width, spec)
    speed = bandwidth()
    for precision, bytes_each in (("fp32", 4), ("int8", 1)):
        peak = peak_rate(int8=precision == "int8", threads=threads, runs=runs)
        yield Floor(
            precision=precision,
            size=size,
            threads=threads,
            giga_operations=work / 1e9,
            peak_giga_operations_per_second=peak / 1e9,
            milliseconds=1e3 * work / peak,
            weight_milliseconds=1e3 * parameter_bytes(width, bytes_each) / speed,
        )


def _fit(keys: Sequence[str]) -> list[str]:
    """The engines whose throughput is measured: the reference and those with 8 bits."""
    return [key for key in keys if key == REFERENCE or key.endswith("/int8")]


@contextmanager
def _started(bundle: Path, keys: Sequence[str], threads: int) -> Iterator[dict[str, EngineProcess]]:
    """Every available engine; others are left out."""
    with ExitStack() as stack:
        running = {}
        for key in keys:
            engine, _, precision = key.partition("/")
            try:
                process = EngineProcess(bundle, engine, precision, threads)
            except EngineError:
                continue
            running[key] = stack.enter_context(closing(process))
        if not running:
            raise EngineError(
                f"None of {', '.join(keys)} is installed here. See `uad bench --help`."
            )
        yield running


def _difference(ours: Outputs, reference: Outputs) -> float:
    return max(
        float(np.abs(ours[name] - values).max() / values.max())
        for name, values in reference.items()
    )


def _scores(outputs: Outputs, scoring: Scoring, count: int) -> NDArray[np.float64]:
    found = [scoring.one(outputs, index, MAP_SIZE).score for index in range(count)]
    return np.asarray(found)
