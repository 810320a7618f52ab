"""One request from body to answer, where the engine is. Needs no network and no state."""

import gzip
import logging
import math
from typing import Any

import cv2

from serving.encoding import encoded_label_map, encoded_picture
from serving.guard import from_base64, is_url, safely_decoded
from serving.messages import Job, Reply, Verdict, refusal
from serving.requests import Source, parse
from serving.schemas import Options, envelope
from serving.settings import Limits
from serving.stopwatch import Stopwatch
from uad.detector import Detection, Detector
from uad.errors import RequestRefused
from uad.images import Image

logger = logging.getLogger(__name__)

URLS_ARE_OFF = RequestRefused(403, "image URLs are off on this server; send the image as base64")
TOO_MUCH_MEMORY = RequestRefused(413, "the image needs more memory than a request may use")
FAILED = RequestRefused(500, "the server failed on this request; its log says why, by logId")
SMALL_BYTES = 1024
"""Shorter answers are not compressed."""


class Analyser:
    """Answers requests with one detector; safe to share between threads if its engine is."""

    def __init__(self, detector: Detector, limits: Limits, *, visualize: bool = True) -> None:
        self.detector = detector
        self.limits = limits
        self.visualize = visualize
        """Whether an answer holds the picture when the request does not say."""

    def answer(self, job: Job) -> Reply:
        """Answer `job`; whatever happens inside, the reply is an envelope in our own words."""
        watch = Stopwatch()
        try:
            return self._answer(job, watch)
        except Exception as exc:  # noqa: BLE001 - an engine outlives every request
            return refusal(job.log_id, in_our_words(job, exc), watch.seconds)

    def _answer(self, job: Job, watch: Stopwatch) -> Reply:
        with watch.stage("decode"):
            parsed = parse(job, self.limits.images if job.many else 1)
        sources, urls = _with_fetched(parsed.sources, job)
        if urls:
            return Reply(200, b"", seconds=watch.seconds, wanted_urls=urls)
        task = _Task(self, job, parsed.options, watch)
        result = [task.item(each) for each in sources] if job.many else task.result(sources[0])
        with watch.stage("encode"):
            body = envelope(job.log_id, 0, "Success", result)
            compressed = job.gzip and len(body) > SMALL_BYTES
            if compressed:
                body = gzip.compress(body, compresslevel=1, mtime=0)
        return Reply(200, body, tuple(task.verdicts), watch.seconds, compressed)


class _Task:
    """The images of one job, one after another."""

    def __init__(self, analyser: Analyser, job: Job, options: Options, watch: Stopwatch) -> None:
        self.verdicts: list[Verdict] = []
        self._analyser, self._job, self._options, self._watch = analyser, job, options, watch

    def item(self, source: Source) -> dict[str, Any]:
        """One image of several, whose failure is its own."""
        try:
            result = self.result(source)
        except Exception as exc:  # noqa: BLE001 - the other images go on
            refused = in_our_words(self._job, exc)
            return {"errorCode": refused.status, "errorMsg": str(refused)}
        return {"errorCode": 0, "errorMsg": "Success", "result": result}

    def result(self, source: Source) -> dict[str, Any]:
        """What was found in one image, as the client asked for it."""
        with self._watch.stage("decode"):
            data = from_base64(source) if isinstance(source, str) else source
            image = safely_decoded(data, self._analyser.limits.pixels)
        with self._watch.stage("infer"):
            detection = self._judged(image)
        self.verdicts.append(_verdict(detection))
        result = _numbers(detection, self._job.model_version)
        if not self._job.verdict_only:
            self._show(image, detection, result)
        return result

    def _judged(self, image: Image) -> Detection:
        alpha, threshold = self._options.alpha, self._options.threshold
        (detection,) = self._analyser.detector.detect([image], alpha=alpha, threshold=threshold)
        if not math.isfinite(detection.score):
            raise ArithmeticError("the score is not finite")
        return detection

    def _show(self, image: Image, detection: Detection, result: dict[str, Any]) -> None:
        """Add the picture, if it is wanted, and the label map."""
        wanted = self._options.visualize
        if self._analyser.visualize if wanted is None else wanted:
            with self._watch.stage("draw"):
                result["image"] = encoded_picture(image, detection)
        with self._watch.stage("encode"):
            label_map = encoded_label_map(detection.label_map, self._options.label_map)
            result["labelMap"] = label_map


def in_our_words(job: Job, exc: Exception) -> RequestRefused:
    """What the client is told; what it is not told goes to the log."""
    if isinstance(exc, RequestRefused):
        return exc
    if _is_out_of_memory(exc):
        return TOO_MUCH_MEMORY
    logger.error("request %s failed", job.log_id, exc_info=exc)
    return FAILED


def _with_fetched(
    sources: tuple[Source, ...], job: Job
) -> tuple[tuple[Source, ...], tuple[str, ...]]:
    """The sources with each URL replaced by what was fetched, or the URLs that are to be."""
    urls = tuple(each for each in sources if _names_a_place(each))
    if urls and not job.urls:
        raise URLS_ARE_OFF
    if len(job.fetched) < len(urls):
        return (), tuple(map(str, urls))
    fetched = iter(job.fetched)
    return tuple(next(fetched) if _names_a_place(each) else each for each in sources), ()


def _names_a_place(source: Source) -> bool:
    return isinstance(source, str) and is_url(source)


def _numbers(detection: Detection, version: str) -> dict[str, Any]:
    return {
        "size": detection.anomaly_map.shape,
        "score": detection.score,
        "threshold": detection.threshold,
        "alpha": detection.alpha,
        "pValue": detection.p_value,
        "isAnomalous": detection.is_anomalous,
        "modelVersion": version,
    }


def _verdict(detection: Detection) -> Verdict:
    return Verdict(detection.score, detection.threshold, detection.p_value, detection.is_anomalous)


def _is_out_of_memory(exc: Exception) -> bool:
    """Whether the process reached its memory limit, in the words of the library that noticed."""
    is_opencv = isinstance(exc, cv2.error) and exc.code == cv2.Error.STS_NO_MEM
    return isinstance(exc, MemoryError) or is_opencv or "bad_alloc" in str(exc)
