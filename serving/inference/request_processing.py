"""Requests from body to answer, where the engine is. Needs no network and no state."""

import gzip
import logging
import math
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Generic, TypeVar

import cv2

from serving.api.requests import Source, parse
from serving.api.schemas import envelope
from serving.inference.encoding import encoded_label_map, encoded_picture
from serving.inference.image_input import from_base64, is_url, safely_decoded
from serving.inference.kept_images import kept_image
from serving.settings import Limits
from serving.telemetry.stopwatch import Stopwatch
from serving.workers.messages import Job, KeptImage, Reply, Verdict, refusal
from uad.errors import RequestRefused
from uad.images import Image
from uad.inference.detector import Detection, Detector
from uad.scoring.parts import Scored

logger = logging.getLogger(__name__)

urls_are_off = partial(
    RequestRefused, 403, "image URLs are off on this server; send the image as base64"
)
TOO_MUCH_MEMORY = RequestRefused(413, "the image needs more memory than a request may use")
FAILED = RequestRefused(500, "the server failed on this request; its log says why, by logId")
SMALL_BYTES = 1024
"""Shorter answers are not compressed."""


R = TypeVar("R")
Part = Generator[Image, Scored | Exception, R]
"""Work on one image: yields it when it is decoded, and is sent its score, or why it has none."""


class RequestProcessor:
    """Answers requests with one detector; safe to share between threads if its engine is."""

    def __init__(
        self, detector: Detector, limits: Limits, *, visualize: bool = True, batch: int = 1
    ) -> None:
        self.detector = detector
        self.limits = limits
        self.visualize = visualize
        """Whether an answer holds the picture when the request does not say."""
        self.batch = batch
        """Images that are judged together, and decoded and drawn in as many threads."""
        self._pool = ThreadPoolExecutor(batch)

    def answer(self, jobs: Sequence[Job]) -> list[Reply]:
        """Answer jobs together; whatever happens inside, replies are envelopes in our own words.

        A job of many images comes alone: it shares out the threads among them.
        """
        return self._together([self._answered(job) for job in jobs])

    def _answered(self, job: Job) -> Part[Reply]:
        watch = Stopwatch()
        try:
            task = _Task(self, job, watch)
            if task.urls:
                return Reply(200, b"", seconds=watch.seconds, wanted_urls=task.urls)
            if job.many:
                return task.reply(self._items(task))
            return task.reply((yield from task.result(task.sources[0])))
        except Exception as exc:  # noqa: BLE001 - an engine outlives every request
            return refusal(job.log_id, in_our_words(job, exc), watch.seconds)

    def _items(self, task: "_Task") -> list[dict[str, Any]]:
        items = []
        for start in range(0, len(task.sources), self.batch):
            some = task.sources[start : start + self.batch]
            items += self._together([task.item(source) for source in some])
        return items

    def _together(self, parts: Sequence[Part[R]]) -> list[R]:
        """Run parts up to their image, judge these images in one inference, run the rest."""
        all_of = self._pool.map if len(parts) > 1 else map
        begun = list(all_of(_step, parts))
        scored = iter(self._scored([each for each in begun if not isinstance(each, _Done)]))
        found = [None if isinstance(each, _Done) else next(scored) for each in begun]
        return list(all_of(_ended, parts, begun, found))

    def _scored(self, images: Sequence[Image]) -> Sequence[Scored | Exception]:
        """Score images together; each alone if that fails."""
        try:
            return self.detector.scorer.score(images)
        except Exception as exc:  # noqa: BLE001 - raised where its request is answered
            return [exc] if len(images) == 1 else [self._scored([each])[0] for each in images]


@dataclass(frozen=True)
class _Done(Generic[R]):
    value: R


def _step(part: Part[R], sent: Scored | Exception | None = None) -> Image | _Done[R]:
    """The image that a part wants judged next, or its result."""
    try:
        return next(part) if sent is None else part.send(sent)
    except StopIteration as end:
        return _Done(end.value)


def _ended(part: Part[R], begun: Image | _Done[R], found: Scored | Exception | None) -> R:
    last = begun if isinstance(begun, _Done) else _step(part, found)
    if not isinstance(last, _Done):
        raise TypeError("a part has one image")
    return last.value


class _Task:
    """What one job asks, and its answer."""

    def __init__(self, processor: RequestProcessor, job: Job, watch: Stopwatch) -> None:
        self._processor, self._job, self._watch = processor, job, watch
        with watch.stage("decode"):
            parsed = parse(job, processor.limits.images if job.many else 1)
        self._options = parsed.options
        self.sources, self.urls = _with_fetched(parsed.sources, job)
        self._kept: dict[int, KeptImage] = {}
        """By the identity of their results, as several threads may work on a request."""

    def item(self, source: Source) -> Part[dict[str, Any]]:
        """One image of several, whose failure is its own."""
        try:
            result = yield from self.result(source)
        except Exception as exc:  # noqa: BLE001 - the other images go on
            refused = in_our_words(self._job, exc)
            return {"errorCode": refused.status, "errorMsg": str(refused)}
        return {"errorCode": 0, "errorMsg": "Success", "result": result}

    def result(self, source: Source) -> Part[dict[str, Any]]:
        """What was found in one image, as the client asked for it."""
        with self._watch.stage("decode"):
            data = from_base64(source) if isinstance(source, str) else source
            image = safely_decoded(data, self._processor.limits.pixels)
        with self._watch.stage("infer"):
            detection = self._judged((yield image))
        result = _numbers(detection, self._job.model_version)
        if not self._job.verdict_only:
            self._show(image, detection, result)
            if _is_kept(self._job, detection):
                with self._watch.stage("keep"):
                    self._kept[id(result)] = kept_image(data, image, detection, result)
        return result

    def reply(self, result: Any) -> Reply:
        """The answer around one result, or around the items of several."""
        with self._watch.stage("encode"):
            body = envelope(self._job.log_id, 0, "Success", result)
            compressed = self._job.gzip and len(body) > SMALL_BYTES
            if compressed:
                body = gzip.compress(body, compresslevel=1, mtime=0)
        results = [item.get("result") for item in result] if self._job.many else [result]
        judged = [(position, each) for position, each in enumerate(results) if each]
        verdicts = tuple(_verdict(each, position) for position, each in judged)
        kept = tuple(
            replace(self._kept[id(each)], verdict=number)
            for number, (_, each) in enumerate(judged)
            if id(each) in self._kept
        )
        return Reply(200, body, verdicts, self._watch.seconds, compressed, kept=kept)

    def _judged(self, scored: Scored | Exception) -> Detection:
        if isinstance(scored, Exception):
            raise scored
        if not math.isfinite(scored.score):
            raise ArithmeticError("the score is not finite")
        detector, asked = self._processor.detector, self._options
        least = detector.calibration.min_area
        if asked.min_area is not None and asked.min_area < least:
            raise RequestRefused(
                422, f"'minArea' must be at least {least}: this model is calibrated for it"
            )
        return detector.judge(
            scored, alpha=asked.alpha, threshold=asked.threshold, min_area=asked.min_area
        )

    def _show(self, image: Image, detection: Detection, result: dict[str, Any]) -> None:
        """Add the picture, if it is wanted, the label map and its regions."""
        wanted = self._options.visualize
        if self._processor.visualize if wanted is None else wanted:
            with self._watch.stage("draw"):
                result["image"] = encoded_picture(image, detection)
        with self._watch.stage("encode"):
            label_map = encoded_label_map(detection.label_map, self._options.label_map)
            result["labelMap"] = label_map
            result["regions"] = [region.as_json() for region in detection.regions.listed]
            result["regionsOmitted"] = detection.regions.omitted


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
        raise urls_are_off()
    if len(job.fetched) < len(urls):
        return (), tuple(map(str, urls))
    fetched = iter(job.fetched)
    return tuple(next(fetched) if _names_a_place(each) else each for each in sources), ()


def _is_kept(job: Job, detection: Detection) -> bool:
    return job.keep == "all" or (job.keep == "alarms" and detection.is_anomalous)


def _names_a_place(source: Source) -> bool:
    return isinstance(source, str) and is_url(source)


def _numbers(detection: Detection, version: str) -> dict[str, Any]:
    return {
        "size": detection.anomaly_map.shape,
        "score": detection.score,
        "threshold": detection.threshold,
        "alpha": detection.alpha,
        "requestedAlpha": detection.requested_alpha,
        "minArea": detection.min_area,
        "pValue": detection.p_value,
        "isAnomalous": detection.is_anomalous,
        "modelVersion": version,
    }


def _verdict(result: Mapping[str, Any], position: int) -> Verdict:
    return Verdict(
        result["score"], result["threshold"], result["pValue"], result["isAnomalous"], position
    )


def _is_out_of_memory(exc: Exception) -> bool:
    """Whether the process reached its memory limit, in the words of the library that noticed."""
    is_opencv = isinstance(exc, cv2.error) and exc.code == cv2.Error.STS_NO_MEM
    return isinstance(exc, MemoryError) or is_opencv or "bad_alloc" in str(exc)
