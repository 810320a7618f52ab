"""One request from body to answer, where the engine is. Needs no network and no state."""

import gzip
import logging
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import cv2

from serving.encoding import encoded_label_map, encoded_picture
from serving.guard import from_base64, is_url, safely_decoded
from serving.messages import Job, Reply, Verdict, refusal
from serving.requests import Source, parse
from serving.schemas import Options, envelope
from serving.settings import Limits
from uad.detector import Detection, Detector
from uad.errors import RequestRefused
from uad.images import Image

logger = logging.getLogger(__name__)

URLS_ARE_OFF = RequestRefused(403, "image URLs are off on this server; send the image as base64")
TOO_MUCH_MEMORY = RequestRefused(413, "the image needs more memory than a request may use")
FAILED = RequestRefused(500, "the server failed on this request; its log says why, by logId")
SMALL_BYTES = 1024
"""Shorter answers are not compressed."""


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
        except Exception as exc:  # noqa: BLE001 - an engine outlives every request
            return refusal(job.log_id, self._in_our_words(job, exc), watch.seconds)

    def _answer(self, job: Job, watch: Stopwatch) -> Reply:
        with watch.stage("decode"):
            parsed = parse(job, self._limits.images if job.many else 1)
        sources, urls = _with_fetched(parsed.sources, job)
        if urls:
            return Reply(200, b"", seconds=watch.seconds, wanted_urls=urls)
        verdicts: list[Verdict] = []
        if job.many:
            result: Any = [
                self._item(job, each, parsed.options, watch, verdicts) for each in sources
            ]
        else:
            result = self._result(job, sources[0], parsed.options, watch, verdicts)
        with watch.stage("encode"):
            body = envelope(job.log_id, 0, "Success", result)
            compressed = job.gzip and len(body) > SMALL_BYTES
            if compressed:
                body = gzip.compress(body, compresslevel=1, mtime=0)
        return Reply(200, body, tuple(verdicts), watch.seconds, compressed)

    def _item(
        self, job: Job, source: Source, options: Options, watch: Stopwatch, verdicts: list[Verdict]
    ) -> dict[str, Any]:
        """One image of several, whose failure is its own."""
        try:
            result = self._result(job, source, options, watch, verdicts)
        except Exception as exc:  # noqa: BLE001 - the other images go on
            refused = self._in_our_words(job, exc)
            return {"errorCode": refused.status, "errorMsg": str(refused)}
        return {"errorCode": 0, "errorMsg": "Success", "result": result}

    def _result(
        self, job: Job, source: Source, options: Options, watch: Stopwatch, verdicts: list[Verdict]
    ) -> dict[str, Any]:
        with watch.stage("decode"):
            data = from_base64(source) if isinstance(source, str) else source
            image = safely_decoded(data, self._limits.pixels)
        with watch.stage("infer"):
            detection = self._judge(image, options)
        verdicts.append(_verdict(detection))
        result = _numbers(detection, job.model_version)
        if job.verdict_only:
            return result
        if self._visualize if options.visualize is None else options.visualize:
            with watch.stage("draw"):
                result["image"] = encoded_picture(image, detection)
        with watch.stage("encode"):
            result["labelMap"] = encoded_label_map(detection.label_map, options.label_map)
        return result

    def _judge(self, image: Image, options: Options) -> Detection:
        (detection,) = self.detector.detect(
            [image], alpha=options.alpha, threshold=options.threshold
        )
        if not math.isfinite(detection.score):
            raise ArithmeticError("the score is not finite")
        return detection

    def _in_our_words(self, job: Job, exc: Exception) -> RequestRefused:
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
    urls = tuple(each for each in sources if isinstance(each, str) and is_url(each))
    if urls and not job.urls:
        raise URLS_ARE_OFF
    if len(job.fetched) < len(urls):
        return (), urls
    fetched = iter(job.fetched)
    replaced = (
        next(fetched) if isinstance(each, str) and is_url(each) else each for each in sources
    )
    return tuple(replaced), ()


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
