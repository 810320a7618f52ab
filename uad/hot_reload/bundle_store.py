"""Bundles fetched from the registry, each in a folder of its own that is complete or not there.

    <root>/<model>/<version>-<sha>/          a bundle, verified when it came, with `.complete`
    <root>/<model>/@<alias>                  the folder that last served under that alias

A process killed at any point leaves at most a `.new-*` folder, which the next one removes.
"""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256 as hash_bytes
from pathlib import Path
from urllib.parse import unquote

from filelock import FileLock

from uad.bundle import MANIFEST, read_bundle, sha256
from uad.errors import BundleError
from uad.files import UNFINISHED, new_folder, put_in_place, write_file
from uad.names import place_of
from uad.paths import store_dir
from uad.registry import ModelAddress, ModelVersion

MARKER = ".complete"
Fetch = Callable[[ModelVersion, Path], Path]


@dataclass(frozen=True)
class Stored:
    """A complete bundle in the store."""

    path: Path
    name: str
    version: str


class BundleStore:
    """Local copies of registered bundles; the newest `keep` of each model stay."""

    def __init__(self, root: Path | None = None, *, keep: int = 3) -> None:
        self.root = store_dir() if root is None else Path(root)
        self.keep = keep

    def ensure(self, version: ModelVersion, fetch: Fetch) -> Path:
        """The bundle's folder, fetched if it is not here yet, whole or not at all.

        Args:
            version: which version.
            fetch: downloads a version into a folder and returns the bundle's folder in it
                (`ModelRegistry.fetch`).

        Raises:
            BundleError: what was fetched is altered, incomplete, or not what was registered.
        """
        home = self._home(version.name)
        final = home / f"{version.version}-{_digest(version)}"
        with FileLock(home / ".lock"):
            for prefix in (UNFINISHED, ".fetch-"):  # the second is an earlier version's
                for leftover in home.glob(f"{prefix}*"):
                    shutil.rmtree(leftover, ignore_errors=True)
            if not _is_sound(final):
                shutil.rmtree(final, ignore_errors=True)
                self._fetch(version, fetch, final)
            os.utime(final / MARKER)
            self._prune(home)
        return final

    def remember(self, name: str, alias: str, path: Path) -> None:
        """Note that `path`, a folder of this store, served under the alias."""
        write_file(self._home(name) / f"@{alias}", path.name)

    def recall(self, name: str, alias: str) -> Stored | None:
        """What last served under the alias, for when the registry does not answer."""
        home = self._home(name)
        try:
            folder = home / (home / f"@{alias}").read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        return _stored(folder)

    def find(self, name: str, version: str) -> Stored | None:
        """A version that is here already, found without asking the registry."""
        found = (_stored(folder) for folder in sorted(self._home(name).glob(f"{version}-*")))
        return next((each for each in found if each is not None), None)

    def last_served(self, address: ModelAddress) -> Stored | None:
        """The copy of what the address stood for when it was last loaded."""
        if address.alias is not None:
            return self.recall(address.name, address.alias)
        return self.find(address.name, str(address.version))

    def copies(self) -> list[Stored]:
        """All complete bundles here, but those that last served under an alias."""
        found = []
        for home in sorted(folder for folder in self.root.iterdir() if folder.is_dir()):
            aliased = {file.read_text(encoding="utf-8") for file in home.glob("@*")}
            folders = sorted(each for each in home.iterdir() if each.name not in aliased)
            found += [stored for each in folders if (stored := _stored(each))]
        return found

    def folder(self, name: str) -> Path:
        """Where a product's bundles lie; need not exist."""
        return place_of(self.root, name)

    def _home(self, name: str) -> Path:
        home = self.folder(name)
        home.mkdir(parents=True, exist_ok=True)
        return home

    def _fetch(self, version: ModelVersion, fetch: Fetch, final: Path) -> None:
        unfinished = new_folder(final.parent)
        try:
            bundle = fetch(version, unfinished)
            _verify(version, bundle)
            (bundle / MARKER).write_text(json.dumps({"version": version.version}))
            _sync(bundle)
            put_in_place(bundle, final)
            _sync_folder(final.parent)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)

    def _prune(self, home: Path) -> None:
        aliased = {file.read_text(encoding="utf-8") for file in home.glob("@*")}
        markers = sorted(home.glob(f"*/{MARKER}"), key=lambda file: file.stat().st_mtime_ns)
        for marker in markers[: -self.keep]:
            if marker.parent.name not in aliased:
                shutil.rmtree(marker.parent, ignore_errors=True)


def _digest(version: ModelVersion) -> str:
    known = version.bundle_sha256 or hash_bytes(version.source.encode()).hexdigest()
    return known[:8]


def _stored(folder: Path) -> Stored | None:
    if not (folder / MARKER).is_file():
        return None
    return Stored(folder, unquote(folder.parent.name), folder.name.rpartition("-")[0])


def _is_sound(folder: Path) -> bool:
    """Whether the copy is complete and unaltered: what a disk damaged is fetched again."""
    if not (folder / MARKER).is_file():
        return False
    try:
        read_bundle(folder)
    except BundleError:
        return False
    return True


def _verify(version: ModelVersion, folder: Path) -> None:
    bundle = read_bundle(folder)
    expected = version.bundle_sha256
    if expected is not None and sha256(bundle.path / MANIFEST) != expected:
        raise BundleError(
            f"Version {version.version} of '{version.name}' is not the bundle that was "
            f"registered: its {MANIFEST} was altered in the artifact store. Register it again."
        )


def _sync(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as stream:
                os.fsync(stream.fileno())
    _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
