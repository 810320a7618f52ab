"""The messages between the front and the engine processes: what to load, jobs and replies.

JSON and raw bytes, never pickle.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
from pydantic import Field, TypeAdapter

from serving.api.schemas import envelope
from serving.settings import Keep, Limits, ServerSettings
from uad.bundle import MANIFEST, sha256
from uad.config import Settings
from uad.errors import RequestRefused

Finite = Annotated[float, Field(allow_inf_nan=False)]
Sentence = Annotated[str, Field(max_length=1000)]
ACCELERATOR_BATCH = 8


class EngineSpec(Settings):
    """One bundle on one engine, within limits."""

    bundle: str
    manifest_sha256: str = ""
    """Of its bundle.json when it was first loaded: an engine that is started again answers under
    the same version, so it must load the same model. Empty: whatever is there."""
    engine: str = "auto"
    device: str = "cpu"
    precision: str | None = None
    threads: int = 1
    batch: int = 1
    """Requests that are judged together when they wait together."""
    alpha: float | None = None
    threshold: float | None = None
    min_area: int | None = None
    visualize: bool = True
    niceness: int = 0
    """The process's nice value: 10 leaves the cores to others."""
    limits: Limits = Limits()
    log_level: Literal["debug", "info", "warning", "error"] = "info"


def manifest_digest(bundle: Path) -> str:
    """The hash of a bundle.json, which names the hashes of the other files; empty without one."""
    file = bundle / MANIFEST
    return sha256(file) if file.is_file() else ""


def engine_spec(
    bundle: Path, settings: ServerSettings, niceness: int = 0, *, product: str = ""
) -> EngineSpec:
    """The spec of `bundle` under the server's settings, and those of its product."""
    decision = settings.decision(product)
    return EngineSpec(
        bundle=str(bundle.absolute()),
        manifest_sha256=manifest_digest(bundle),
        engine=settings.engine,
        device=settings.device,
        precision=settings.precision,
        alpha=decision.alpha,
        threshold=decision.threshold,
        min_area=decision.min_area,
        threads=settings.threads,
        batch=settings.batch or (1 if settings.device.startswith("cpu") else ACCELERATOR_BATCH),
        visualize=settings.visualize,
        niceness=niceness,
        limits=settings.limits,
        log_level=settings.log_level,
    )


@dataclass(frozen=True)
class Job:
    """A request as the front passes it on."""

    log_id: str
    model_version: str
    body: bytes | bytearray
    content_type: str = ""
    many: bool = False
    """Whether the body holds a list of images."""
    gzip: bool = False
    """Whether the client reads compressed answers."""
    urls: bool = False
    """Whether image URLs may be fetched."""
    fetched: tuple[bytes, ...] = ()
    """The images behind the body's URLs, in order."""
    verdict_only: bool = False
    """The client has left: draw and encode nothing."""
    keep: Keep = "none"
    """Which images are to come back with the reply, to be kept."""
    large: bool = False
    """Whether a large image may be judged now; else the engine asks first."""

    def parts(self) -> list[bytes | bytearray]:
        """As it is sent: a JSON header, then the raw bytes."""
        # Without the raw bytes: a copy of them would be made.
        header = {**asdict(replace(self, body=b"", fetched=())), "body": None, "fetched": None}
        return [orjson.dumps(header), self.body, *self.fetched]

    @classmethod
    def from_parts(cls, parts: Sequence[bytes]) -> "Job":
        """The reverse of `parts`."""
        header = orjson.loads(parts[0])
        return cls(**{**header, "body": parts[1], "fetched": tuple(parts[2:])})


@dataclass(frozen=True)
class ImageVerdict:
    """What the front counts about a judged image."""

    score: Finite
    threshold: Finite
    p_value: Finite
    is_anomalous: bool
    position: int = 0
    """Of the image in its request, from 0."""
    warnings: Annotated[tuple[Sentence, ...], Field(max_length=10)] = ()
    """Why the score may mean nothing."""


@dataclass(frozen=True)
class KeptImage:
    """An image that comes back with the reply, to be kept."""

    facts: dict[str, Any]
    """What the answer says of it besides the verdict."""
    original: bytes
    preview: bytes
    heatmap: bytes
    verdict: Annotated[int, Field(ge=0)] = 0
    """Its verdict's place in `Reply.verdicts`."""

    def header(self) -> dict[str, Any]:
        """All but the files."""
        return {"facts": self.facts, "verdict": self.verdict}


FILES_KEPT = 3
"""Files of one kept image."""
MOST_KEPT = 1000


@dataclass(frozen=True)
class Reply:
    """An answer ready to be sent, or a question of the engine."""

    status: Annotated[int, Field(ge=200, le=599)]
    body: bytes
    verdicts: tuple[ImageVerdict, ...] = ()
    seconds: dict[str, Finite] = field(default_factory=dict)
    """By stage: receive, fetch, queue, decode, infer, draw, encode."""
    gzip: bool = False
    """Whether `body` is compressed."""
    retry_after_seconds: Annotated[int, Field(ge=0)] | None = None
    wanted_urls: tuple[str, ...] = ()
    """Not an answer yet: send the job again with the images behind these URLs."""
    is_large: bool = False
    """Not an answer yet: the next image is large, and the engine asks whether it may judge it."""
    images: Annotated[int, Field(ge=0)] = 0
    """Images of the request. Of a batch they are judged a few at a time, until `left` is 0."""
    left: Annotated[int, Field(ge=0)] = 0
    """Images of a batch that are not judged yet; `body` holds items without the list around."""
    together: int = 1
    """How many requests the engine judged at once, this one among them."""
    kept: tuple[KeptImage, ...] = ()

    def parts(self) -> list[bytes]:
        """As it is sent: a JSON header, the raw body, then the files of the images to keep."""
        rest = replace(self, body=b"", kept=())
        header = {**asdict(rest), "body": None, "kept": [each.header() for each in self.kept]}
        files = [f for each in self.kept for f in (each.original, each.preview, each.heatmap)]
        return [orjson.dumps(header), self.body, *files]

    @staticmethod
    def count_of_parts(header: bytes) -> int:
        """How many parts the reply has whose first one is `header`.

        Raises:
            ValueError: this is not the header of a reply.
        """
        values = orjson.loads(header)
        kept = values.get("kept") if isinstance(values, dict) else None
        if not isinstance(kept, list) or len(kept) > MOST_KEPT:
            raise ValueError("this is not the header of a reply")
        return 2 + FILES_KEPT * len(kept)

    @classmethod
    def from_parts(cls, parts: Sequence[bytes]) -> "Reply":
        """The reverse of `parts`; every value is checked: an image may control an engine.

        Raises:
            ValueError: this is not a reply.
        """
        if len(parts) != cls.count_of_parts(parts[0]):
            raise ValueError("a reply has another number of parts")
        header = orjson.loads(parts[0])
        header["body"], files = parts[1], iter(parts[2:])
        for kept in header["kept"]:
            kept |= {name: next(files) for name in ("original", "preview", "heatmap")}
        reply: Reply = _reply_type().validate_python(header)
        if any(kept.verdict >= len(reply.verdicts) for kept in reply.kept):
            raise ValueError("a kept image has no verdict")
        return reply


@cache
def _reply_type() -> TypeAdapter[Any]:
    return TypeAdapter(Reply)


def refusal(log_id: str, refused: RequestRefused, seconds: dict[str, float] | None = None) -> Reply:
    """The reply to a request that is refused."""
    return Reply(
        refused.status,
        envelope(log_id, refused.status, str(refused)),
        seconds=seconds or {},
        retry_after_seconds=refused.retry_after_seconds,
    )


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
