"""The program of an engine process: `python -m serving.workers.process FD`.

It has no credentials in its environment, a limit on its memory, and one open socket, FD, over
which it is told what to load and then gets requests, one or a few at a time. It speaks JSON and raw
bytes, never pickle: nothing that a hostile image makes of it can run code in the front.
"""

import logging
import os
import resource
import signal
import sys
import warnings
from multiprocessing.connection import Connection
from pathlib import Path

import orjson

from serving.inference.request_processing import RequestProcessor
from serving.inference.spec import EngineSpec
from serving.workers.messages import Job
from uad.errors import UadError

GOT_IT = b"+"

logger = logging.getLogger(__name__)


def main(descriptor: int) -> int:
    """Serve the socket `descriptor` until its other end closes."""
    # The front decides when to stop; it closes the socket after its last request is answered.
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signal_number, signal.SIG_IGN)
    # Pillow warns about damaged metadata, and Python remembers each different warning for ever.
    warnings.simplefilter("ignore")
    front = Connection(descriptor)
    try:
        processor = _opened(front)
        if processor is None:
            return 1
        _serve(front, processor)
    except (EOFError, ConnectionError):
        logger.debug("the front closed the connection")  # it is done, or gave this process up
    return 0


def _opened(front: Connection) -> RequestProcessor | None:
    """Load what the front names and say that it is ready, or why it cannot be; None then."""
    try:
        spec = EngineSpec.model_validate_json(front.recv_bytes())
        logging.basicConfig(
            level=spec.log_level.upper(), format="%(levelname)s engine: %(message)s"
        )
        processor = _load(spec)
        _limit(spec.limits.memory_bytes * spec.batch)
    except UadError as exc:
        front.send_bytes(orjson.dumps({"error": str(exc)}))
        return None
    front.send_bytes(orjson.dumps({"engine": processor.detector.engine.key}))
    return processor


def _load(spec: EngineSpec) -> RequestProcessor:
    import cv2

    from uad.inference.detector import load_detector

    os.nice(spec.niceness)
    cv2.setNumThreads(1)
    detector = load_detector(
        Path(spec.bundle),
        engine=spec.engine,
        device=spec.device,
        precision=spec.precision,
        threads=spec.threads,
        alpha=spec.alpha,
        threshold=spec.threshold,
        min_area=spec.min_area,
    )
    return RequestProcessor(detector, spec.limits, visualize=spec.visualize, batch=spec.batch)


def _limit(memory_bytes: int) -> None:
    """Let requests use `memory_bytes` beyond what the loaded model uses."""
    statm = Path("/proc/self/statm")
    if statm.is_file():
        used = int(statm.read_text().split()[5]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_DATA, (used + memory_bytes, used + memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _serve(front: Connection, processor: RequestProcessor) -> None:
    while True:
        jobs = [_received(front) for _ in range(int(front.recv_bytes()))]
        front.send_bytes(GOT_IT)
        for reply in processor.answer(jobs):
            for part in reply.parts():
                front.send_bytes(part)


def _received(front: Connection) -> Job:
    return Job.from_parts([front.recv_bytes() for _ in range(int(front.recv_bytes()))])


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
