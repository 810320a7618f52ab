"""Who may send requests, and how many: API keys, stored as hashes, and a rate for each."""

import hashlib
import hmac
import logging
import math
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from uad.config import Settings
from uad.errors import ConfigError, RequestRefused

if TYPE_CHECKING:  # engine processes read the settings and need no web framework
    from starlette.requests import Request

logger = logging.getLogger(__name__)

MOST_CLIENTS = 10_000
RELOAD_SECONDS = 1.0
no_key = partial(
    RequestRefused, 401, "this server needs an API key: send `Authorization: Bearer KEY`"
)


class AccessSettings(Settings):
    """Who may ask."""

    keys: Path | None = None
    """File of keys, one line each as `uad api-key NAME` prints it; None: no key is needed."""
    rate: Annotated[float, Field(gt=0)] | None = None
    """Images per second for each key, or for each address if there are no keys."""
    burst: Annotated[int, Field(ge=1)] = 20
    """Images at once before the rate counts. A larger batch is accepted, and later requests
    wait."""


class Keys:
    """Names by the hashes of their keys; the file is read at the start and when it changes.

    A plain SHA-256 is enough: keys are 32 random bytes, not words that could be guessed.
    """

    def __init__(self, file: Path) -> None:
        """Read `file`.

        Raises:
            ConfigError: it cannot be read, or a line is not a key; names the line's number.
        """
        self._file = file
        self._closing = threading.Event()
        try:
            self._stamp: tuple[int, int] | None = _stamp(file)
            self._names = _read_keys(file)
        except OSError as exc:
            raise ConfigError(f"cannot read the API keys in {file}: {exc.strerror}") from exc

    def owner(self, presented: str) -> str | None:
        """Whose key this is; every hash is always compared in full."""
        digest = hashlib.sha256(presented.encode()).digest()
        found = None
        for known, name in self._names.items():
            if hmac.compare_digest(known, digest):
                found = name
        return found

    def follow(self) -> None:
        """Check the file every second from now on, in its own thread."""
        threading.Thread(target=self._follow, name="api-keys", daemon=True).start()

    def close(self) -> None:
        """Stop checking the file."""
        self._closing.set()

    def refresh(self) -> None:
        """Read the file again if it has changed; if it is not valid, keep the old keys."""
        try:
            stamp = _stamp(self._file)
            if stamp == self._stamp:
                return
            self._stamp = stamp
            self._names = _read_keys(self._file)
            logger.info("the API keys in %s were read again", self._file)
        except (OSError, ConfigError) as exc:
            if isinstance(exc, OSError):
                was_known, self._stamp = self._stamp is None, None
                if was_known:
                    return
            logger.warning("the API keys were not changed: %s", exc)

    def _follow(self) -> None:
        while not self._closing.wait(RELOAD_SECONDS):
            self.refresh()


def _stamp(file: Path) -> tuple[int, int]:
    status = file.stat()
    return status.st_mtime_ns, status.st_size


class Buckets:
    """One token bucket a client."""

    def __init__(
        self, rate: float, burst: int, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str) -> None:
        """One request of `client`.

        Raises:
            RequestRefused: 429, with the time until the next one is allowed.
        """
        now = self._clock()
        level, since = self._levels.pop(client, (float(self._burst), now))
        level = min(self._burst, level + (now - since) * self._rate)
        self._levels[client] = (level - (level >= 1), now)
        if len(self._levels) > MOST_CLIENTS:
            self._levels.popitem(last=False)
        if level < 1:
            wait = max(1, math.ceil((1 - level) / self._rate))
            words = f"this client may send {self._rate:g} images a second; try again in {wait} s"
            raise RequestRefused(429, words, retry_after_seconds=wait)

    def owe(self, client: str, images: int) -> None:
        """Take this much more, even if it is more than there is: later requests wait for it."""
        level, since = self._levels.get(client, (float(self._burst), self._clock()))
        self._levels[client] = (level - images, since)


@dataclass(frozen=True)
class Access:
    """The check of every request: key and rate."""

    keys: Keys | None = None
    buckets: Buckets | None = None

    def identify(self, request: "Request") -> str:
        """Who asks: `key NAME`, or the address where there are no keys.

        Raises:
            RequestRefused: 401 without a known key.
        """
        if self.keys is None:
            return request.client.host if request.client else ""
        owner = self.keys.owner(_presented(request))
        if owner is None:
            raise no_key()
        return f"key {owner}"

    def admit(self, request: "Request") -> str:
        """Accept one request; returns its sender, for `count_images`.

        Raises:
            RequestRefused: 401 without a known key, 429 when its owner asks too often.
        """
        client = self.identify(request)
        if self.buckets is not None:
            self.buckets.take(client)
        return client

    def count_images(self, client: str, images: int) -> None:
        """Count each image of the request."""
        if self.buckets is not None and images > 1:
            self.buckets.owe(client, images - 1)

    def close(self) -> None:
        """Stop checking the key file."""
        if self.keys is not None:
            self.keys.close()


def open_access(settings: AccessSettings) -> Access:
    """The rule that the settings ask for; ConfigError if the keys cannot be read."""
    keys = Keys(settings.keys) if settings.keys else None
    if keys is not None:
        keys.follow()
    buckets = Buckets(settings.rate, settings.burst) if settings.rate else None
    return Access(keys, buckets)


def new_key(name: str) -> tuple[str, str]:
    """A fresh key, to be given to its owner, and the line that the server's file gets."""
    key = f"uad_{secrets.token_urlsafe(32)}"
    return key, f"{name} sha256:{hashlib.sha256(key.encode()).hexdigest()}"


def _presented(request: "Request") -> str:
    kind, _, key = request.headers.get("authorization", "").partition(" ")
    return key.strip() if kind.lower() == "bearer" else request.headers.get("x-api-key", "")


def _read_keys(file: Path) -> dict[bytes, str]:
    names = {}
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{file} is not a text file in UTF-8: save it as one") from exc
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, _, digest = line.strip().rpartition(" sha256:")
        try:
            names[bytes.fromhex(digest)] = name.strip()
        except ValueError as exc:
            raise ConfigError(
                f"{file} line {number} is not an API key: make one with `uad api-key NAME`"
            ) from exc
        if not name or len(digest) != 64:
            raise ConfigError(
                f"{file} line {number} is not an API key: make one with `uad api-key NAME`"
            )
    return names
