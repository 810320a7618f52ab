"""Who may ask, and how often: API keys of which only hashes are kept, and a rate for each."""

import hashlib
import hmac
import math
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

from pydantic import Field
from starlette.requests import Request

from uad.config import Settings
from uad.errors import ConfigError, RequestRefused

MOST_CLIENTS = 10_000
RELOAD_SECONDS = 1.0
no_key = partial(
    RequestRefused, 401, "this server wants an API key: send `Authorization: Bearer KEY`"
)


class AccessSettings(Settings):
    """Who may ask."""

    keys: Path | None = None
    """File of keys, a line each as `uad api-key NAME` prints it; None: everybody may ask."""
    rate: Annotated[float, Field(gt=0)] | None = None
    """Requests a second, for each key, or each address where there are no keys."""
    burst: Annotated[int, Field(ge=1)] = 20
    """Requests at once before the rate counts."""


class Keys:
    """Names by the hashes of their keys, read again when the file changes.

    A plain SHA-256 is enough: keys are 32 random bytes, not words that could be guessed.
    """

    def __init__(self, file: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._file = file
        self._clock = clock
        self._stamp: tuple[int, int] | None = None
        self._looked_at = -math.inf
        self._names: dict[bytes, str] = {}
        self._refresh()

    def owner(self, presented: str) -> str | None:
        """Whose key this is; every hash is compared in full, whichever matches."""
        self._refresh()
        digest = hashlib.sha256(presented.encode()).digest()
        found = None
        for known, name in self._names.items():
            if hmac.compare_digest(known, digest):
                found = name
        return found

    def _refresh(self) -> None:
        if self._clock() < self._looked_at + RELOAD_SECONDS:
            return
        self._looked_at = self._clock()
        try:
            status = self._file.stat()
            stamp = (status.st_mtime_ns, status.st_size)
            if stamp != self._stamp:
                self._names = _read_keys(self._file)
            self._stamp = stamp
        except OSError as exc:
            if self._stamp is None:
                raise ConfigError(
                    f"cannot read the API keys in {self._file}: {exc.strerror}"
                ) from exc


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
            words = f"this client may send {self._rate:g} requests a second; try again in {wait} s"
            raise RequestRefused(429, words, retry_after_seconds=wait)


@dataclass(frozen=True)
class Access:
    """The rule at the door."""

    keys: Keys | None = None
    buckets: Buckets | None = None

    def identify(self, request: Request) -> str:
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

    def admit(self, request: Request) -> str:
        """Let one request in; returns who asks.

        Raises:
            RequestRefused: 401 without a known key, 429 when its owner asks too often.
        """
        client = self.identify(request)
        if self.buckets is not None:
            self.buckets.take(client)
        return client


def open_access(settings: AccessSettings) -> Access:
    """The rule that the settings ask for; ConfigError if the keys cannot be read."""
    keys = Keys(settings.keys) if settings.keys else None
    buckets = Buckets(settings.rate, settings.burst) if settings.rate else None
    return Access(keys, buckets)


def new_key(name: str) -> tuple[str, str]:
    """A fresh key, to be given to its owner, and the line that the server's file gets."""
    key = f"uad_{secrets.token_urlsafe(32)}"
    return key, f"{name} sha256:{hashlib.sha256(key.encode()).hexdigest()}"


def _presented(request: Request) -> str:
    kind, _, key = request.headers.get("authorization", "").partition(" ")
    return key.strip() if kind.lower() == "bearer" else request.headers.get("x-api-key", "")


def _read_keys(file: Path) -> dict[bytes, str]:
    names = {}
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, _, digest = line.strip().rpartition(" sha256:")
        try:
            names[bytes.fromhex(digest)] = name.strip()
        except ValueError as exc:
            raise ConfigError(
                f"{file} line {number} is no API key: make one with `uad api-key NAME`"
            ) from exc
        if not name or len(digest) != 64:
            raise ConfigError(
                f"{file} line {number} is no API key: make one with `uad api-key NAME`"
            )
    return names
