"""The program of an engine process: `python -P -m serving.workers.process FD`.

It has no credentials in its environment, a limit on its memory, a working directory of its own,
and one open socket, FD, over which it is told what to load and then gets requests, one or a few at
a time. It exchanges JSON and raw bytes, never pickle. So even if a hostile image controls it, it
cannot run code in the front. It ends when the front ends.
"""

import logging
import os
import resource
import signal
import sys
import warnings
from base64 import b64encode
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import orjson

from serving.inference.request_processing import RequestProcessor
from serving.settings import Limits
from serving.telemetry.logs import set_up_engine
from serving.workers.messages import EngineSpec, Job, manifest_digest
from uad.bundle import Bundle
from uad.errors import BundleError, UadError
from uad.inference.detector import Detector
from uad.processes import end_with_parent

GOT_IT = b"+"

logger = logging.getLogger(__name__)


def main(descriptor: int) -> int:
    """Serve the socket `descriptor` until its other end closes."""
    end_with_parent()  # even if the front is killed while this process computes
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
    """Load the bundle that the front names and report ready; on failure report why, return None."""
    try:
        spec = EngineSpec.model_validate_json(front.recv_bytes())
        set_up_engine(spec.log_level)  # which the front reads, and writes in its own form
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if spec.device.startswith("cpu"):
            # Other devices' libraries reserve much more than they use.
            _limit(spec.limits.model_bytes + spec.limits.memory_bytes * spec.batch)
        processor = _load(spec)
        _check_whole_request(processor.detector)
        _limit(spec.limits.memory_bytes * spec.batch)
    except UadError as exc:
        front.send_bytes(orjson.dumps({"error": str(exc)}))
        return None
    except MemoryError:
        front.send_bytes(orjson.dumps({"error": "there is not enough memory for this version"}))
        return None
    front.send_bytes(orjson.dumps({"engine": processor.detector.engine.key}))
    return processor


def _load(spec: EngineSpec) -> RequestProcessor:
    import cv2

    from uad.inference.detector import load_detector

    found = manifest_digest(Path(spec.bundle))
    if spec.manifest_sha256 and found and found != spec.manifest_sha256:
        raise BundleError(
            f"{spec.bundle} was changed since this server loaded it. Restart the server to use the "
            "changed model, or put the old one back."
        )
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


def _check_whole_request(detector: Detector) -> None:
    """Answer one whole request, so a version that cannot do this never serves.

    Raises:
        BundleError: it cannot.
    """
    image = b64encode(_example(detector.bundle)).decode()
    body = orjson.dumps({"image": image, "visualize": True})
    (reply,) = RequestProcessor(detector, Limits()).answer([Job("start", "start", body)])
    if reply.status != 200:
        raise BundleError(
            f"{detector.bundle.path} cannot answer a request: "
            f"{orjson.loads(reply.body)['errorMsg']}"
        )


def _example(bundle: Bundle) -> bytes:
    """An image file: the first golden image, or a grey one of the model's size."""
    import cv2

    for file in sorted((bundle.path / "golden").glob("*.png")):
        return file.read_bytes()
    spec = bundle.manifest.input
    _, data = cv2.imencode(".png", np.full((spec.height, spec.width, 3), 128, np.uint8))
    return data.tobytes()


def _limit(memory_bytes: int) -> None:
    """Let the process use `memory_bytes` beyond what it uses now."""
    statm = Path("/proc/self/statm")
    if statm.is_file():
        used = int(statm.read_text().split()[5]) * os.sysconf("SC_PAGE_SIZE")
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        most = used + memory_bytes
        if hard != resource.RLIM_INFINITY:
            most = min(most, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def _serve(front: Connection, processor: RequestProcessor) -> None:
    while True:
        command = orjson.loads(front.recv_bytes())
        if "drop" in command:
            processor.drop()
            continue
        if "next" in command:
            replies = [processor.answer_next(large=command["large"])]
        else:
            jobs = [_received(front) for _ in range(command["jobs"])]
            front.send_bytes(GOT_IT)
            replies = processor.answer(jobs)
        for reply in replies:
            for part in reply.parts():
                front.send_bytes(part)


def _received(front: Connection) -> Job:
    return Job.from_parts([front.recv_bytes() for _ in range(int(front.recv_bytes()))])


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
