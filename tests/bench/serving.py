"""How fast the server is, on this machine: `python tests/bench/serving.py [BUNDLE]`.

    encoding     what an answer costs beside `cv2.imencode`, 1024x1024
    shapes       engine processes against threads that share one engine
    saturation   the server's throughput against its engines' own
    tail         p99 at 80 % open-loop load against a simulated queue with the same service times

Without a bundle random weights at full width, in float32: speed does not depend on what they are.
"""

import asyncio
import base64
import json
import logging
import multiprocessing
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import cv2
import httpx
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from flows.server import LOOPBACK, free_port
from serving.api.schemas import envelope
from serving.inference.encoding import encoded_label_map, encoded_picture
from serving.inference.request_processing import RequestProcessor
from serving.settings import Limits, ServerSettings
from serving.workers.messages import Job, Reply, engine_spec
from serving.workers.pool import WorkerPool
from tests.bundles import write_random_bundle
from tests.serving.running import encoded, running
from uad.inference.detector import load_detector
from uad.inference.engines.base import physical_cores
from uad.visualization import picture

CORES = physical_cores()
SECONDS = 10.0
ROUNDS = 5
"""Of turns, so that a machine that is busy with something else is as busy for both."""


def photo(size: int) -> np.ndarray:
    """(size, size, 3) uint8 BGR with some texture."""
    noise = np.random.default_rng(0).integers(0, 256, (size, size, 3), np.uint8)
    return np.asarray(cv2.GaussianBlur(noise, (0, 0), 2.0), np.uint8)


def request(size: int, **options: object) -> bytes:
    return json.dumps({"image": encoded(photo(size), ".jpg"), **options}).encode()


@contextmanager
def served(model: str, **settings: object) -> Iterator[str]:
    """`uad serve` in a process of its own until the block ends; its address once it is ready."""
    port = free_port()
    given = [f"{name}={value}" for name, value in {"port": port, "workers": 2, **settings}.items()]
    options = [part for setting in given for part in ("--set", setting)]
    command = [sys.executable, "-m", "uad", "serve", "--model", model, *options]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as server:
        url = f"http://{LOOPBACK}:{port}"
        while not _is_ready(url):
            if server.poll() is not None:
                sys.exit("the server ended; start it by hand to see why")
            time.sleep(0.2)
        yield url
        server.terminate()


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz").status_code == 200
    except httpx.TransportError:
        return False


def milliseconds(call: Callable[[], object], times: int = 40) -> float:
    """Median wall time."""
    spent = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        spent.append(time.perf_counter() - start)
    return 1e3 * statistics.median(spent)


def encoding(bundle: Path) -> None:
    """An answer's encoding beside cv2.imencode of the picture alone."""
    image, label_map = photo(1024), np.zeros((1024, 1024), np.uint8)
    cv2.circle(label_map, (400, 600), 90, 255, -1)
    (detection,) = load_detector(bundle, threads=1).detect([image])
    cv2.setNumThreads(1)
    drawn = picture(
        image, detection.anomaly_map, detection.score, detection.threshold, detection.is_anomalous
    )
    quality = [cv2.IMWRITE_JPEG_QUALITY, 90]
    jpeg = milliseconds(lambda: cv2.imencode(".jpg", drawn, quality))
    text = base64.b64encode(cv2.imencode(".jpg", drawn, quality)[1].tobytes()).decode()

    def rest() -> bytes:
        base64.b64encode(cv2.imencode(".jpg", drawn, quality)[1].tobytes()).decode()
        labels = encoded_label_map(label_map, "array")
        return envelope("id", 0, "Success", {"image": text, "labelMap": labels})

    whole = milliseconds(rest)
    both = milliseconds(lambda: encoded_picture(image, detection))
    print(f"encoding 1024x1024: imencode {jpeg:.1f} ms, whole answer {whole:.1f} ms")
    print(f"  promised at most {1.3 * jpeg + 3:.1f} ms; drawing and JPEG together {both:.1f} ms")


def rate(submit: Callable[[Job], Future[Reply]], body: bytes, seconds: float = SECONDS) -> float:
    """Answers a second with the queue always full."""
    job, room, done = Job("x", "1", body), threading.Semaphore(4 * CORES), 0
    submit(job).result()
    end = time.monotonic() + seconds
    waiting = []
    while time.monotonic() < end:
        room.acquire()
        future = submit(job)
        future.add_done_callback(lambda _: room.release())
        waiting.append(future)
    for future in waiting:
        assert future.result().status == 200, future.result().body[:200]
        done += 1
    return done / (time.monotonic() - end + seconds)


def shapes(bundle: Path, engines: WorkerPool) -> None:
    """Processes with one thread each, threads with one each, one with all threads."""
    cv2.setNumThreads(1)
    one = RequestProcessor(load_detector(bundle, threads=1), Limits())
    all_threads = RequestProcessor(load_detector(bundle, threads=CORES), Limits())
    for size in (256, 1024):
        body = request(size, labelMap="array")
        with ThreadPoolExecutor(CORES) as many, ThreadPoolExecutor(1) as single:
            rates = {
                f"{CORES} processes": rate(engines.submit, body),
                f"{CORES} threads, 1 each": rate(
                    lambda j: many.submit(lambda: one.answer([j])[0]), body
                ),
                f"1 thread, {CORES} inside": rate(
                    lambda j: single.submit(lambda: all_threads.answer([j])[0]), body
                ),
            }
        print(f"shapes {size} px:", ", ".join(f"{k} {v:.1f}/s" for k, v in rates.items()))


async def closed_loop(url: str, body: bytes, clients: int, seconds: float) -> float:
    """Answers a second with so many clients that ask without a pause."""
    done, end = 0, time.monotonic() + seconds
    async with httpx.AsyncClient(base_url=url, timeout=60) as http:

        async def client() -> None:
            nonlocal done
            while time.monotonic() < end:
                answer = await http.post("/image-anomaly-detection", content=body)
                assert answer.status_code == 200
                done += 1

        await asyncio.gather(*(client() for _ in range(clients)))
    return done / seconds


async def open_loop(url: str, body: bytes, arrivals: np.ndarray) -> list[float]:
    """Seconds from each arrival, whether or not earlier ones are answered, to its answer."""
    spent: list[float] = []
    async with httpx.AsyncClient(base_url=url, timeout=60) as http:
        start = time.monotonic()

        async def one(at: float) -> None:
            await asyncio.sleep(max(0.0, start + at - time.monotonic()))
            answer = await http.post("/image-anomaly-detection", content=body)
            assert answer.status_code == 200
            spent.append(time.monotonic() - start - at)

        await asyncio.gather(*(one(at) for at in arrivals))
    return spent


def simulated(arrivals: np.ndarray, services: np.ndarray, servers: int) -> np.ndarray:
    """Seconds in a first-come queue with the same arrivals and service times."""
    free = np.zeros(servers)
    spent = []
    for at, service in zip(arrivals, services, strict=True):
        first = int(free.argmin())
        free[first] = max(at, free[first]) + service
        spent.append(free[first] - at)
    return np.asarray(spent)


class Stages(logging.Handler):
    """Collects what the server logs of each request."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.seconds: list[float] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Seconds that the request spent in its engine."""
        stages = record.__dict__["facts"]["stages"]
        self.seconds.append(sum(v for k, v in stages.items() if k not in ("queue", "receive")))


def over_http(bundle: Path, engines: WorkerPool) -> None:
    """Saturation and tail; the clients are a process of their own on the same cores."""
    body = request(1024, visualize=True)
    requests = logging.getLogger("serving.requests")
    requests.setLevel(logging.INFO)
    spawn = multiprocessing.get_context("spawn")
    with (
        running(models=[str(bundle)], workers=CORES) as server,
        ProcessPoolExecutor(1, spawn) as clients,
    ):
        turns = [
            (
                rate(engines.submit, body, SECONDS / ROUNDS),
                clients.submit(run_closed_loop, server.url, body, SECONDS / ROUNDS).result(),
            )
            for _ in range(ROUNDS)
        ]
        own, served = np.median(turns, axis=0)
        share = np.median([both / alone for alone, both in turns])
        print(f"saturation 1024 px: engines {own:.1f}/s, server {served:.1f}/s, {share:.0%}")
        rng = np.random.default_rng(0)
        arrivals = np.cumsum(rng.exponential(1 / (0.8 * served), int(0.8 * served * 4 * SECONDS)))
        stages = Stages()
        requests.addHandler(stages)
        spent = np.asarray(clients.submit(run_open_loop, server.url, body, arrivals).result())
        requests.removeHandler(stages)
    queue = simulated(arrivals, np.asarray(stages.seconds), CORES)
    ours, ideal = np.percentile(spent, 99), np.percentile(queue, 99)
    print(f"tail at 80 %: p50 {np.median(spent):.3f} s, p99 {ours:.3f} s")
    print(
        f"  simulated queue: p50 {np.median(queue):.3f} s, p99 {ideal:.3f} s; {ours / ideal:.2f}x"
    )


def run_closed_loop(url: str, body: bytes, seconds: float) -> float:
    """In the clients' process."""
    return asyncio.run(closed_loop(url, body, 4 * CORES, seconds))


def run_open_loop(url: str, body: bytes, arrivals: np.ndarray) -> list[float]:
    """In the clients' process."""
    return asyncio.run(open_loop(url, body, arrivals))


def _random(folder: Path) -> Path:
    return write_random_bundle(folder / "bundle", 1, width=64, size=256)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        given = sys.argv[1:]
        bundle = Path(given[0]) if given else _random(Path(folder))
        settings = ServerSettings.model_validate({"limits": {"deadline_seconds": 600}})
        engines = WorkerPool(engine_spec(bundle, settings), CORES)
        time.sleep(3)
        encoding(bundle)
        shapes(bundle, engines)
        over_http(bundle, engines)
        engines.close()
        engines.join(10)


if __name__ == "__main__":
    main()
