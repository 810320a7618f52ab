"""One request from body to answer, where the engine is. Needs no network and no state."""

import logging
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import cv2

from serving.encoding import encoded_label_map, encoded_picture
from serving.guard import from_base64, is_url, safely_decoded
from serving.schemas import AnalyseRequest, envelope, parse_json
from serving.settings import Limits
from uad.detector import Detection, Detector
from uad.errors import RequestRefused
from uad.images import Image

logger = logging.getLogger(__name__)

URLS_ARE_OFF = RequestRefused(403, "image URLs are off on this server; send the image as base64")
TOO_MUCH_MEMORY = RequestRefused(413, "the image needs more memory than a request may use")
FAILED = RequestRefused(500, "the server failed on this request; its log says why, by logId")


@dataclass(frozen=True)
class Job:
    """A request as the front passes it on."""

    log_id: str
    model_version: str
    body: bytes


@dataclass(frozen=True)
class Verdict:
    """What the front counts about an answered request."""

    score: float
    threshold: float
    p_value: float
    is_anomalous: bool


@dataclass(frozen=True)
class Reply:
    """An answer ready to be sent."""

    status: int
    body: bytes
    verdicts: tuple[Verdict, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)
    """By stage: receive, queue, decode, infer, draw, encode."""
    retry_after_seconds: int | None = None


class Stopwatch:
    """Seconds spent in named stages."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the time spent inside under `name`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


class Analyser:
    """Answers requests with one detector; safe to share between threads if its engine is."""

    def __init__(self, detector: Detector, limits: Limits, *, visualize: bool = True) -> None:
        self.detector = detector
        self._limits = limits
        self._visualize = visualize

    def answer(self, job: Job) -> Reply:
        """Answer `job`; whatever happens inside, the reply is an envelope in our own words."""
        watch = Stopwatch()
        try:
            return self._answer(job, watch)
        except RequestRefused as exc:
            return refusal(job.log_id, exc, watch.seconds)
        except Exception as exc:
            if _is_out_of_memory(exc):
                return refusal(job.log_id, TOO_MUCH_MEMORY, watch.seconds)
            logger.exception("request %s failed", job.log_id)
            return refusal(job.log_id, FAILED, watch.seconds)

    def _answer(self, job: Job, watch: Stopwatch) -> Reply:
        with watch.stage("decode"):
            request = parse_json(job.body)
            image = self._image(request)
        with watch.stage("infer"):
            detection = self._judge(image, request)
        with watch.stage("draw"):
            wanted = self._visualize if request.visualize is None else request.visualize
            picture = encoded_picture(image, detection) if wanted else None
        with watch.stage("encode"):
            result = {
                "labelMap": encoded_label_map(detection.label_map, request.label_map),
                "size": detection.anomaly_map.shape,
                **({} if picture is None else {"image": picture}),
                "score": detection.score,
                "threshold": detection.threshold,
                "alpha": detection.alpha,
                "pValue": detection.p_value,
                "isAnomalous": detection.is_anomalous,
                "modelVersion": job.model_version,
            }
            body = envelope(job.log_id, 0, "Success", result)
        return Reply(200, body, (_verdict(detection),), watch.seconds)

    def _image(self, request: AnalyseRequest) -> Image:
        if is_url(request.image):
            raise URLS_ARE_OFF
        return safely_decoded(from_base64(request.image), self._limits.pixels)

    def _judge(self, image: Image, request: AnalyseRequest) -> Detection:
        (detection,) = self.detector.detect(
            [image], alpha=request.alpha, threshold=request.threshold
        )
        if not math.isfinite(detection.score):
            raise ArithmeticError("the score is not finite")
        return detection


def _is_out_of_memory(exc: Exception) -> bool:
    """Whether the process reached its memory limit, in the words of the library that noticed."""
    is_opencv = isinstance(exc, cv2.error) and exc.code == cv2.Error.STS_NO_MEM
    return isinstance(exc, MemoryError) or is_opencv or "bad_alloc" in str(exc)


def _verdict(detection: Detection) -> Verdict:
    return Verdict(detection.score, detection.threshold, detection.p_value, detection.is_anomalous)


def refusal(log_id: str, exc: RequestRefused, seconds: dict[str, float] | None = None) -> Reply:
    """The reply to a request that is refused."""
    return Reply(
        exc.status,
        envelope(log_id, exc.status, str(exc)),
        seconds=seconds or {},
        retry_after_seconds=exc.retry_after_seconds,
    )
