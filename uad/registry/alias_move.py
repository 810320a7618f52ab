"""Setting an alias under a lock, read again and audited; see `audit` for the record's form."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from uad.errors import RegistryError
from uad.registry import audit
from uad.registry.audit import Entry
from uad.registry.connection import Connection
from uad.registry.types import Kind, Promotion
from uad.storage.names import ModelVersionNumber, ProductName


@dataclass(frozen=True)
class Request:
    """A move that somebody asks for."""

    name: ProductName
    alias: str
    to: ModelVersionNumber
    kind: Kind
    actor: str
    reason: str


@dataclass(frozen=True)
class AliasState:
    """Where an alias is and how it came there."""

    actual: ModelVersionNumber | None
    entries: list[Entry]

    @property
    def moves(self) -> list[Promotion]:
        """The audited moves that took place, oldest first."""
        return audit.made(self.entries, self.actual)


def state(connection: Connection, name: ProductName, alias: str) -> AliasState:
    """Read an alias together with its audit."""
    model = connection.client.get_registered_model(name)
    version = model.aliases.get(alias)
    entries = audit.read_entries(name, alias, model.tags)
    return AliasState(None if version is None else ModelVersionNumber(str(version)), entries)


def record_external(connection: Connection, name: ProductName, alias: str) -> Promotion | None:
    """Write down a move that was made elsewhere; None if there was none. Needs the lock."""
    found = state(connection, name, alias)
    move = audit.external(name, alias, found.moves, found.actual)
    if move is not None:
        _write(connection, replace(_entry(move, found.entries), done=True))
    return move


def make(connection: Connection, request: Request) -> Promotion:
    """Carry out a move. Needs the lock.

    Raises:
        RegistryError: another machine moved the alias in the same moment; the other's move stands.
    """
    before = state(connection, request.name, request.alias)
    wanted = Promotion(
        request.name,
        request.alias,
        before.actual,
        request.to,
        request.kind,
        request.actor,
        request.reason,
        datetime.now(UTC),
    )
    if before.actual == request.to:
        return wanted
    entry = _entry(wanted, before.entries)
    _write(connection, entry)
    connection.client.set_registered_model_alias(request.name, request.alias, request.to)
    _read_again(connection, entry.move)
    _write(connection, replace(entry, done=True))
    _tag_version(connection, entry.move)
    return entry.move


def _entry(move: Promotion, entries: list[Entry]) -> Entry:
    """A time later than every earlier entry, even if another machine's clock is ahead."""
    at = move.at
    if entries:
        at = max(at, entries[-1].move.at + timedelta(microseconds=1))
    return audit.new_entry(replace(move, at=at))


def _write(connection: Connection, entry: Entry) -> None:
    connection.client.set_registered_model_tag(entry.move.name, entry.key, entry.value)


def _read_again(connection: Connection, move: Promotion) -> None:
    model: Any = connection.client.get_registered_model(move.name)
    version = model.aliases.get(move.alias)
    if str(version) != move.to_version:
        raise RegistryError(
            f"another machine moved {move.alias} of '{move.name}' to version {version} at the "
            f"same time, and that move stands: promote {move.to_version} again if you still want it"
        )


def _tag_version(connection: Connection, move: Promotion) -> None:
    """Write the move as one sentence on the version, for readers of MLflow's pages."""
    text = (
        f"{move.kind} at {move.at.isoformat(timespec='seconds')} by {move.actor} "
        f"from version {move.from_version or 'none'}: {move.reason or 'no reason given'}"
    )
    connection.client.set_model_version_tag(move.name, move.to_version, f"uad.{move.alias}", text)
