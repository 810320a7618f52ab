"""The registry of models: versions of products, and which of them serve."""

import shlex
from typing import Any

from uad.errors import RegistryError
from uad.registry import alias_move, audit, runs
from uad.registry.address import CHALLENGER, CHAMPION
from uad.registry.connection import Connection
from uad.registry.types import Promotion
from uad.registry.versions import Versions
from uad.storage.names import ModelVersionNumber, ProductName

ANY: Any = object()
"""`promote(expected=ANY)`: whatever serves now."""


class ModelRegistry(Versions):
    """Products, their versions and the alias `champion`, in MLflow.

    Nothing is opened before the first call, so that a program can be built while the server is
    down. Every method raises RegistryUnreachableError when nothing answers, and RegistryError
    naming what exists when a product, version or alias does not. `RunTracker` holds the runs
    behind the versions, `Remover` takes both out.
    """

    def promote(
        self,
        name: ProductName,
        version: ModelVersionNumber,
        *,
        alias: str = CHAMPION,
        reason: str = "",
        actor: str | None = None,
        expected: ModelVersionNumber | None = ANY,
    ) -> Promotion:
        """Give `alias` to a version: locked, read again afterwards, and written into the audit.

        Args:
            name: the product.
            version: its version; one that already has the alias keeps it, and nothing is written.
            alias: which alias to move.
            reason: why, for the audit.
            actor: who, for the audit; user@host by default.
            expected: refuse unless this version (None: no version) carries the alias now, so that
                a decision made against one champion is not applied to another.
        """
        actor = actor or runs.whoami()
        with self._open() as connection, connection.lock(name):
            target = self.version(name, version)  # under the lock: `uad gc` cannot remove it now
            request = alias_move.Request(name, alias, target.version, "promote", actor, reason)
            alias_move.record_external(connection, name, alias)
            actual = alias_move.state(connection, name, alias).actual
            if expected is not ANY and actual != expected:
                raise RegistryError(
                    f"{alias} of '{name}' is version {actual or 'none'} now, not "
                    f"{expected or 'none'}: compare {version} with it again"
                )
            made = alias_move.make(connection, request)
            if alias == CHAMPION and CHALLENGER in target.aliases:
                connection.client.delete_registered_model_alias(name, CHALLENGER)
        return made

    def rollback(
        self,
        name: ProductName,
        *,
        alias: str = CHAMPION,
        reason: str = "",
        actor: str | None = None,
    ) -> Promotion:
        """Give the alias back to the version that had it before; a second call goes further back.

        Raises:
            RegistryError: there is nothing earlier to go back to.
        """
        with self._open() as connection, connection.lock(name):
            self._model(connection, name)
            alias_move.record_external(connection, name, alias)
            found = alias_move.state(connection, name, alias)
            exist = {each.version for each in self.versions(name)}
            past = [each for each in audit.earlier(found.moves) if each in exist]
            if not past:
                raise RegistryError(
                    f"'{name}' has no earlier {alias} to go back to (now: version "
                    f"{found.actual or 'none'}): promote one with `uad promote {shlex.quote(name)} "
                    "VERSION`"
                )
            actor = actor or runs.whoami()
            request = alias_move.Request(name, alias, past[0], "rollback", actor, reason)
            return alias_move.make(connection, request)

    def history(self, name: ProductName, *, alias: str = CHAMPION) -> list[Promotion]:
        """All moves of an alias, oldest first, those made outside uad included."""
        with self._open() as connection:
            self._model(connection, name)
            if self._moved_outside(connection, name, alias):
                with connection.lock(name):
                    alias_move.record_external(connection, name, alias)
            return alias_move.state(connection, name, alias).moves

    def note_external(self, name: ProductName, *, alias: str = CHAMPION) -> Promotion | None:
        """Write a move made outside uad into the audit; None if there was none."""
        with self._open() as connection:
            if not self._moved_outside(connection, name, alias):
                return None
            with connection.lock(name):
                return alias_move.record_external(connection, name, alias)

    def earlier(self, name: ProductName, *, alias: str = CHAMPION) -> list[ModelVersionNumber]:
        """Versions that a rollback can go back to, nearest first; nothing is written."""
        return audit.earlier(self._moves(name, alias))

    def left(self, name: ProductName, *, alias: str = CHAMPION) -> ModelVersionNumber | None:
        """The version that the alias last moved from, forward or back; nothing is written."""
        made = self._moves(name, alias)
        return made[-1].from_version if made else None

    def _moves(self, name: ProductName, alias: str) -> list[Promotion]:
        """All moves, oldest first, with one made outside uad that is not written down yet."""
        with self._open() as connection:
            found = alias_move.state(connection, name, alias)
        outside = audit.external(name, alias, found.moves, found.actual)
        return [*found.moves, *([outside] if outside else [])]

    @staticmethod
    def _moved_outside(connection: Connection, name: ProductName, alias: str) -> bool:
        found = alias_move.state(connection, name, alias)
        return audit.external(name, alias, found.moves, found.actual) is not None
