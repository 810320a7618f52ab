"""What an alias watcher reports: single events, and its state."""

from dataclasses import dataclass
from typing import Literal

EventKind = Literal["swapped", "failed", "unreachable", "missing", "recovered", "offline"]


@dataclass(frozen=True)
class Event:
    """Something an operator wants to read in the log."""

    kind: EventKind
    """`missing`: the address names nothing, for example because no version was promoted;
    `offline`: started from the local copy because the registry does not answer."""
    version: str | None
    message: str
    """A sentence about the address, without its name and full stop."""


@dataclass(frozen=True)
class Failure:
    """A version in quarantine."""

    version: str
    attempts: int
    error: str
    retry_at: float
    """By the watcher's clock, seconds."""


@dataclass(frozen=True)
class Status:
    """What a health page shows."""

    address: str
    desired: str | None
    """The version that the registry named last."""
    serving: str | None
    failed: tuple[Failure, ...]
    last_error: str | None
    """Of the last poll; None if it went well."""
