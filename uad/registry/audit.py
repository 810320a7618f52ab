"""Moves of an alias: written down before and after, so that none is lost and all can be undone.

MLflow keeps no history of an alias and cannot compare and swap. Every move is therefore a tag of
the registered model, `uad.move.<time>-<random>`, written as intended, then the alias is set and
read again, then the tag is written as done. A process that dies in between leaves an intent that
the next reader judges by where the alias really is.
"""

import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from uad.registry.types import Promotion
from uad.storage.names import ModelVersionNumber, ProductName

PREFIX = "uad.move."


@dataclass(frozen=True)
class Entry:
    """One audit tag."""

    key: str
    move: Promotion
    done: bool

    @property
    def value(self) -> str:
        """The tag's text."""
        return json.dumps({**self.move.to_json(), "done": self.done})


def new_entry(move: Promotion) -> Entry:
    """An intended move under a key of its own, in order of time."""
    stamp = move.at.astimezone(UTC).strftime("%Y%m%dT%H%M%S%f")
    return Entry(f"{PREFIX}{stamp}-{secrets.token_hex(3)}", move, done=False)


def read_entries(name: ProductName, alias: str, tags: Mapping[str, str]) -> list[Entry]:
    """The audit of one alias, oldest first; tags that somebody damaged are left out."""
    entries = []
    for key in sorted(key for key in tags if key.startswith(PREFIX)):
        try:
            values = json.loads(tags[key])
            entry = Entry(key, Promotion.from_json(name, values), bool(values["done"]))
        except (ValueError, KeyError, TypeError):
            continue
        if entry.move.alias == alias:
            entries.append(entry)
    return entries


def made(entries: Iterable[Entry], actual: ModelVersionNumber | None) -> list[Promotion]:
    """The moves that took place.

    An intent counts if it is the last entry and the alias is where it meant to put it. A second
    report of the same external move does not.
    """
    listed = list(entries)
    moves: list[Promotion] = []
    for index, entry in enumerate(listed):
        last = index == len(listed) - 1
        if not entry.done and not (last and entry.move.to_version == actual):
            continue
        again = moves and moves[-1].to_version == entry.move.to_version
        if entry.move.kind == "external" and again:
            continue
        moves.append(entry.move)
    return moves


def external(
    name: ProductName, alias: str, moves: list[Promotion], actual: ModelVersionNumber | None
) -> Promotion | None:
    """A move that is not in the audit: the alias is not where the audit says."""
    expected = moves[-1].to_version if moves else None
    if expected == actual:
        return None
    return Promotion(
        name,
        alias,
        expected,
        actual,
        "external",
        actor="external",
        reason="moved outside uad",
        at=datetime.now(UTC),
    )


def earlier(moves: Iterable[Promotion]) -> list[ModelVersionNumber]:
    """Versions that a rollback can go back to, nearest first.

    A rollback takes the newest versions off again, so that two rollbacks go two steps back.
    """
    stack: list[ModelVersionNumber | None] = []
    for move in moves:
        if move.kind == "rollback" and move.to_version in stack:
            while stack[-1] != move.to_version:
                stack.pop()
        elif not stack or stack[-1] != move.to_version:
            stack.append(move.to_version)
    current = stack[-1] if stack else None
    return [version for version in reversed(stack[:-1]) if version and version != current]
