"""What passes between the front and the engine processes: JSON and raw bytes, never pickle."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import orjson

from serving.api.schemas import envelope
from serving.settings import Keep
from uad.errors import RequestRefused


@dataclass(frozen=True)
class Job:
    """A request as the front passes it on."""

    log_id: str
    model_version: str
    body: bytes
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
    """Nobody reads the answer: draw and encode nothing."""
    keep: Keep = "none"
    """Which images are to come back with the reply, to be kept."""

    def parts(self) -> list[bytes]:
        """As it is sent: a JSON header, then the raw bytes."""
        header = {**asdict(self), "body": None, "fetched": None}
        return [orjson.dumps(header), self.body, *self.fetched]

    @classmethod
    def from_parts(cls, parts: Sequence[bytes]) -> "Job":
        """The reverse of `parts`."""
        header = orjson.loads(parts[0])
        return cls(**{**header, "body": parts[1], "fetched": tuple(parts[2:])})


@dataclass(frozen=True)
class Verdict:
    """What the front counts about a judged image."""

    score: float
    threshold: float
    p_value: float
    is_anomalous: bool
    position: int = 0
    """Of the image in its request, from 0."""


@dataclass(frozen=True)
class KeptImage:
    """An image that comes back with the reply, to be kept."""

    facts: dict[str, Any]
    """What the answer says of it besides the verdict."""
    original: bytes
    preview: bytes
    heatmap: bytes
    verdict: int = 0
    """Its verdict's place in `Reply.verdicts`."""

    def header(self) -> dict[str, Any]:
        """All but the files."""
        return {"facts": self.facts, "verdict": self.verdict}

    @classmethod
    def from_parts(cls, header: dict[str, Any], files: Sequence[bytes]) -> "KeptImage":
        """The reverse of `header` and the files."""
        original, preview, heatmap = files
        return cls(dict(header["facts"]), original, preview, heatmap, int(header["verdict"]))


FILES_KEPT = 3
"""Files of one kept image."""


@dataclass(frozen=True)
class Reply:
    """An answer ready to be sent."""

    status: int
    body: bytes
    verdicts: tuple[Verdict, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)
    """By stage: receive, fetch, queue, decode, infer, draw, encode."""
    gzip: bool = False
    """Whether `body` is compressed."""
    retry_after_seconds: int | None = None
    wanted_urls: tuple[str, ...] = ()
    """Not an answer yet: the job is to come again with the images behind these URLs."""
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
        """How many parts the reply has whose first one is `header`."""
        return 2 + FILES_KEPT * len(orjson.loads(header)["kept"])

    @classmethod
    def from_parts(cls, parts: Sequence[bytes]) -> "Reply":
        """The reverse of `parts`; an engine may have been taken over, so nothing else is read."""
        header: dict[str, Any] = orjson.loads(parts[0])
        return cls(
            status=int(header["status"]),
            body=parts[1],
            verdicts=tuple(Verdict(**each) for each in header["verdicts"]),
            seconds=dict(header["seconds"]),
            gzip=bool(header["gzip"]),
            retry_after_seconds=header["retry_after_seconds"],
            wanted_urls=tuple(header["wanted_urls"]),
            kept=tuple(
                KeptImage.from_parts(each, parts[start : start + FILES_KEPT])
                for start, each in zip(
                    range(2, len(parts), FILES_KEPT), header["kept"], strict=True
                )
            ),
        )


def refusal(log_id: str, refused: RequestRefused, seconds: dict[str, float] | None = None) -> Reply:
    """The reply to a request that is refused."""
    return Reply(
        refused.status,
        envelope(log_id, refused.status, str(refused)),
        seconds=seconds or {},
        retry_after_seconds=refused.retry_after_seconds,
    )
