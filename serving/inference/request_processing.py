"""Requests from body to answer, in an engine process: decode all, score all, encode all.

Needs no network and keeps no state but the batch that is open.
"""

import gzip
import logging
import math
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from typing import Any

import cv2
import orjson

from serving.api.requests import Source, parse
from serving.api.schemas import Options, envelope
from serving.inference.encoding import array_bytes, encoded_label_map, encoded_picture, kept_image
from serving.inference.image_input import decoded, from_base64, is_url, known_size
from serving.settings import Limits
from serving.workers.messages import ImageVerdict, Job, KeptImage, Reply, Stopwatch, refusal
from uad.errors import CalibrationError, RequestRefused
from uad.images import Image
from uad.inference.detector import Detection, Detector
from uad.scoring.parts import Scored
from uad.scoring.zone_alpha import ZoneVerdict

logger = logging.getLogger(__name__)

urls_are_off = partial(
    RequestRefused, 403, "image URLs are off on this server; send the image as base64"
)
too_much_memory = partial(
    RequestRefused, 413, "the image needs more memory than a request may use; send a smaller one"
)
failed = partial(
    RequestRefused, 500, "the server failed on this request; its log says why, by logId"
)
SMALL_BYTES = 1024
"""Shorter answers are not compressed."""


@dataclass
class _Picture:
    """One image of a request, and the results so far."""

    job: Job
    options: Options
    source: Source
    position: int
    """In its request, from 0."""
    seconds: Stopwatch = field(default_factory=Stopwatch)
    data: bytes = b""
    pixels: int = 0
    image: Image | None = None
    scored: Scored | None = None
    verdict: ImageVerdict | None = None
    kept: KeptImage | None = None
    result: dict[str, Any] = field(default_factory=dict)
    error: Exception | None = None

    def attempt(self, step: Callable[["_Picture"], None]) -> None:
        """Run one step; an error belongs to this image only, and ends its processing."""
        if self.error is None:
            try:
                step(self)
            except Exception as exc:  # noqa: BLE001 - an engine outlives every request
                self.error = exc


@dataclass
class _Batch:
    """A request of many images, judged a few at a time."""

    job: Job
    waiting: deque[_Picture]
    pixels: int = 0
    answer_bytes: int = 0


class RequestProcessor:
    """Answers requests with one detector, for one caller."""

    def __init__(
        self, detector: Detector, limits: Limits, *, visualize: bool = True, batch: int = 1
    ) -> None:
        self.detector = detector
        self.limits = limits
        self.visualize = visualize
        """Whether an answer holds the picture when the request does not say."""
        self.batch = batch
        """Images that are judged together, and decoded and drawn in as many threads."""
        self._threads = ThreadPoolExecutor(batch)
        self._open: _Batch | None = None

    def answer(self, jobs: Sequence[Job]) -> list[Reply]:
        """Answer jobs together; every reply is an envelope with our own texts, whatever happens.

        A job of many images comes alone. It is opened here; `answer_next` judges its images.
        """
        if len(jobs) == 1 and jobs[0].many:
            return [self._opened(jobs[0])]
        begun = [self._begun(job) for job in jobs]
        pictures = [each for each in begun if isinstance(each, _Picture)]
        self._judge(pictures)
        return [self._reply(each) if isinstance(each, _Picture) else each for each in begun]

    def answer_next(self, *, large: bool) -> Reply:
        """The next images of the open batch; `large`: also if they are large.

        Without `large` the reply may be a question: may the large image be judged now?
        """
        batch = self._open
        if batch is None:
            raise RuntimeError("no batch is open")
        some = list(islice(batch.waiting, self.batch))
        self._each(some, self._measure)
        if not large and any(self._is_large(each) for each in some):
            return Reply(200, b"", is_large=True, left=len(batch.waiting))
        for picture in some:
            batch.waiting.popleft()
            self._admit(batch, picture)
        self._judge(some)
        items = [self._item(batch, picture) for picture in some]
        if not batch.waiting:
            self.drop()
        return _counted(some, b",".join(items), left=len(batch.waiting))

    def drop(self) -> None:
        """Drop the open batch: it is answered, or nobody waits for it."""
        self._open = None

    def _begun(self, job: Job) -> _Picture | Reply:
        """The image of a job with its size known; or the reply that needs no image."""
        stopwatch = Stopwatch()
        try:
            with stopwatch.stage("decode"):
                pictures, urls = self._pictures(job, stopwatch)
            if urls:
                return Reply(200, b"", seconds=stopwatch.seconds, wanted_urls=urls)
            pictures[0].attempt(self._measure)
            if self._is_large(pictures[0]) and not job.large:
                return Reply(200, b"", is_large=True)
            return pictures[0]
        except Exception as exc:  # noqa: BLE001 - an engine outlives every request
            return refusal(job.log_id, in_our_words(job, exc), stopwatch.seconds)

    def _opened(self, job: Job) -> Reply:
        stopwatch = Stopwatch()
        try:
            with stopwatch.stage("decode"):
                pictures, urls = self._pictures(job, stopwatch)
        except Exception as exc:  # noqa: BLE001 - an engine outlives every request
            return refusal(job.log_id, in_our_words(job, exc), stopwatch.seconds)
        if urls:
            return Reply(200, b"", seconds=stopwatch.seconds, wanted_urls=urls)
        self._open = _Batch(job, deque(pictures))
        count = len(pictures)
        return Reply(200, b"", seconds=stopwatch.seconds, images=count, left=count)

    def _pictures(self, job: Job, stopwatch: Stopwatch) -> tuple[list[_Picture], tuple[str, ...]]:
        parsed = parse(job, self.limits.images if job.many else 1)
        sources, urls = _with_fetched(parsed.sources, job)
        watches = [Stopwatch() for _ in sources] if job.many else [stopwatch]
        pictures = [
            _Picture(job, parsed.options, source, position, seconds)
            for position, (source, seconds) in enumerate(zip(sources, watches, strict=False))
        ]
        return pictures, urls

    def _judge(self, pictures: Sequence[_Picture]) -> None:
        """Decode all, score all, encode all."""
        self._each(pictures, self._decode)
        self._score([each for each in pictures if each.error is None])
        self._each(pictures, self._encode)

    def _each(self, pictures: Sequence[_Picture], step: Callable[[_Picture], None]) -> None:
        all_of = self._threads.map if len(pictures) > 1 else map
        list(all_of(lambda picture: picture.attempt(step), pictures))

    def _measure(self, picture: _Picture) -> None:
        """Read the image's size from its first bytes."""
        if picture.data:
            return
        with picture.seconds.stage("decode"):
            source = picture.source
            picture.data = from_base64(source) if isinstance(source, str) else source
            height, width = known_size(picture.data, self.limits)
            picture.pixels, picture.source = height * width, b""

    def _is_large(self, picture: _Picture) -> bool:
        return picture.error is None and picture.pixels > self.limits.large_pixels

    def _admit(self, batch: _Batch, picture: _Picture) -> None:
        """Count the pixels of a batch, and refuse images beyond its limit."""
        if batch.pixels + picture.pixels > self.limits.request_pixels:
            picture.error = picture.error or RequestRefused(
                413,
                f"the images of one request have more than {self.limits.request_pixels} pixels "
                "together; send fewer in one request",
            )
        else:
            batch.pixels += picture.pixels

    def _decode(self, picture: _Picture) -> None:
        with picture.seconds.stage("decode"):
            picture.image = decoded(picture.data, self.limits)
            if picture.job.keep == "none":
                picture.data = b""

    def _score(self, pictures: Sequence[_Picture]) -> None:
        """Score images together; each alone if that fails."""
        images = [each.image for each in pictures if each.image is not None]
        if not images:
            return
        with pictures[0].seconds.stage("infer"):
            try:
                found = self.detector.scorer.score(images)
            except Exception as exc:  # noqa: BLE001 - raised where its request is answered
                found = []
                if len(pictures) == 1:
                    pictures[0].error = exc
        for picture, scored in zip(pictures, found, strict=False):
            picture.scored = scored
        for other in pictures[1:]:
            other.seconds.seconds["infer"] = pictures[0].seconds.seconds["infer"]
        if not found and len(pictures) > 1:
            for picture in pictures:
                self._score([picture])

    def _encode(self, picture: _Picture) -> None:
        """What was found, as the client asked for it."""
        if picture.scored is None or picture.image is None:
            raise ValueError("the image was not scored")
        if not math.isfinite(picture.scored.score):
            raise ArithmeticError("the score is not finite")
        detection = self._decided(picture.scored, picture.options)
        result = _numbers(detection, picture.job.model_version)
        if not picture.job.verdict_only:
            self._show(picture, picture.image, detection, result)
            if _is_kept(picture.job, detection):
                with picture.seconds.stage("keep"):
                    picture.kept = kept_image(picture.data, picture.image, detection, result)
        picture.verdict = ImageVerdict(
            result["score"],
            result["threshold"],
            result["pValue"],
            result["isAnomalous"],
            picture.position,
            detection.warnings,
        )
        picture.result, picture.image, picture.scored, picture.data = result, None, None, b""

    def _decided(self, scored: Scored, asked: Options) -> Detection:
        least = self.detector.calibration.min_area
        if asked.min_area is not None and asked.min_area < least:
            raise RequestRefused(
                422, f"'minArea' must be at least {least}: this model is calibrated for it"
            )
        try:
            return self.detector.judge(
                scored, alpha=asked.alpha, threshold=asked.threshold, min_area=asked.min_area
            )
        except CalibrationError as exc:  # what is asked does not fit this image
            raise RequestRefused(422, str(exc)) from exc

    def _show(
        self, picture: _Picture, image: Image, detection: Detection, result: dict[str, Any]
    ) -> None:
        """Add the picture, if it is wanted, and the label map."""
        wanted = picture.options.visualize
        encoding = picture.options.label_map
        label_map = detection.label_map
        if encoding == "array" and array_bytes(label_map) > self.limits.answer_bytes:
            raise too_long(self.limits)
        if self.visualize if wanted is None else wanted:
            with picture.seconds.stage("draw"):
                result["image"] = encoded_picture(image, detection)
        with picture.seconds.stage("encode"):
            result["labelMap"] = encoded_label_map(label_map, encoding)
            result["regions"] = [region.as_json() for region in detection.regions.listed]
            result["regionsOmitted"] = detection.regions.omitted

    def _reply(self, picture: _Picture) -> Reply:
        """The answer around one result."""
        job, stopwatch = picture.job, picture.seconds
        if picture.error is None:
            with stopwatch.stage("encode"):
                body = envelope(job.log_id, 0, "Success", picture.result)
                compressed = job.gzip and len(body) > SMALL_BYTES
                if compressed:
                    body = gzip.compress(body, compresslevel=1, mtime=0)
            if len(body) <= self.limits.answer_bytes:
                return _counted([picture], body, compressed=compressed)
            picture.error = too_long(self.limits)
        return refusal(job.log_id, in_our_words(job, picture.error), stopwatch.seconds)

    def _item(self, batch: _Batch, picture: _Picture) -> bytes:
        """One image of a batch: its result or why it has none, as JSON."""
        room = self.limits.answer_bytes - batch.answer_bytes
        if picture.error is None:
            with picture.seconds.stage("encode"):
                values = {"errorCode": 0, "errorMsg": "Success", "result": picture.result}
                item = orjson.dumps(values, option=orjson.OPT_SERIALIZE_NUMPY)
            picture.result = {}
            if len(item) <= room:
                batch.answer_bytes += len(item)
                return item
            picture.error, picture.verdict, picture.kept = too_long(self.limits), None, None
        refused = in_our_words(batch.job, picture.error)
        return orjson.dumps({"errorCode": refused.status, "errorMsg": str(refused)})


def in_our_words(job: Job, exc: Exception) -> RequestRefused:
    """The error for the client; the details go to the log."""
    if isinstance(exc, RequestRefused):
        return exc
    if _is_out_of_memory(exc):
        return too_much_memory()
    logger.error("request %s failed", job.log_id, exc_info=exc)
    return failed()


def too_long(limits: Limits) -> RequestRefused:
    """The refusal of an answer that would be too long."""
    return RequestRefused(
        413,
        f"the answer would have more than {limits.answer_bytes} bytes: ask for labelMap rle or "
        "png, or send fewer images in one request",
    )


def _counted(
    pictures: Sequence[_Picture], body: bytes, *, left: int = 0, compressed: bool = False
) -> Reply:
    """A reply about judged images, with their verdicts and the time that each stage took."""
    seconds: dict[str, float] = {}
    for picture in pictures:
        for stage, spent in picture.seconds.seconds.items():
            seconds[stage] = seconds.get(stage, 0.0) + spent
    judged = [each for each in pictures if each.verdict is not None]
    return Reply(
        200,
        body,
        tuple(each.verdict for each in judged if each.verdict is not None),
        seconds,
        compressed,
        images=len(pictures),
        left=left,
        kept=tuple(
            replace(each.kept, verdict=number)
            for number, each in enumerate(judged)
            if each.kept is not None
        ),
    )


def _with_fetched(
    sources: tuple[Source, ...], job: Job
) -> tuple[tuple[Source, ...], tuple[str, ...]]:
    """The sources with each URL replaced by what was fetched, or the URLs that are to be."""
    urls = tuple(each for each in sources if _is_url(each))
    if urls and not job.urls:
        raise urls_are_off()
    if len(job.fetched) < len(urls):
        return (), tuple(map(str, urls))
    fetched = iter(job.fetched)
    return tuple(next(fetched) if _is_url(each) else each for each in sources), ()


def _is_kept(job: Job, detection: Detection) -> bool:
    return job.keep == "all" or (job.keep == "alarms" and detection.is_anomalous)


def _is_url(source: Source) -> bool:
    return isinstance(source, str) and is_url(source)


def _numbers(detection: Detection, version: str) -> dict[str, Any]:
    return {
        "size": detection.anomaly_map.shape,
        "score": detection.score,
        "threshold": detection.threshold,
        "mapThreshold": detection.map_threshold,
        "alpha": detection.alpha,
        "requestedAlpha": detection.requested_alpha,
        "minArea": detection.min_area,
        "pValue": detection.p_value,
        "isAnomalous": detection.is_anomalous,
        "raisedBy": detection.raised_by,
        "zones": [_zone(each) for each in detection.zone_verdicts],
        "modelVersion": version,
        "warnings": detection.warnings,
    }


def _zone(verdict: ZoneVerdict) -> dict[str, Any]:
    return {
        "name": verdict.name,
        "score": verdict.score,
        "threshold": verdict.threshold,
        "alpha": verdict.alpha,
        "isAnomalous": verdict.is_anomalous,
    }


def _is_out_of_memory(exc: Exception) -> bool:
    """Whether the error, of any library, means that the process reached its memory limit."""
    is_opencv = isinstance(exc, cv2.error) and exc.code == cv2.Error.STS_NO_MEM
    return isinstance(exc, MemoryError) or is_opencv or "bad_alloc" in str(exc)
