"""Bundles fetched from the registry, each in a folder of its own that is complete or not there.

    <root>/<model>/<version>-<sha>/          a bundle, verified when it came, with `.complete`
    <root>/<model>/@<alias>                  the folder that last served under that alias
    <root>/<model>/.in-use-<folder>-*        locked by a process that uses the folder

A process killed at any point leaves at most a `.new-*` folder, which the next one removes.
"""

import contextlib
import errno
import glob
import json
import logging
import os
import secrets
import shlex
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256 as hash_bytes
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from filelock import FileLock, Timeout

from uad.bundle import MANIFEST, read_bundle, sha256
from uad.errors import BundleError
from uad.registry import ModelAddress, ModelRegistry, ModelVersion, is_address, named_model
from uad.registry.types import BUNDLE_SHA256
from uad.storage.atomic_writes import UNFINISHED, new_folder, put_in_place, write_file
from uad.storage.names import ModelVersionNumber, ProductName, place_of
from uad.storage.paths import store_dir

logger = logging.getLogger(__name__)

MARKER = ".complete"
IN_USE = ".in-use-"
LOCAL_COPY = "uad.local_copy"
"""Tag of a version that is known from its local copy alone: the copy's folder."""
Fetch = Callable[[ModelVersion, Path], Path]


@dataclass(frozen=True)
class Stored:
    """A complete bundle in the store."""

    path: Path
    name: ProductName
    version: ModelVersionNumber

    def described(self) -> ModelVersion:
        """As the registry would describe it, except for its artifacts' place: that is not known."""
        tags = {LOCAL_COPY: self.path.name}
        if known := _marked(self.path).get("sha256"):
            tags[BUNDLE_SHA256] = str(known)
        return ModelVersion(self.name, self.version, None, source="", tags=tags)


class Lease:
    """A local copy in use: no process removes it until `release`, or until this process ends."""

    def __init__(self, path: Path) -> None:
        """`path`: the copy's folder; it need not exist yet."""
        self.path = path
        name = f"{IN_USE}{path.name}-{os.getpid()}-{secrets.token_hex(4)}"
        # Acquired and released in different threads.
        self._lock = FileLock(path.parent / name, thread_local=False)
        try:
            self._lock.acquire()
        except OSError as exc:
            if exc.errno != errno.EROFS:  # from such a disk nobody removes anything
                raise

    def release(self) -> None:
        """Release the copy; a second call does nothing."""
        if self._lock.is_locked:
            self._lock.release()
            Path(self._lock.lock_file).unlink(missing_ok=True)


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
        lease = self.lease(version, fetch)
        lease.release()
        return lease.path

    def lease(self, version: ModelVersion, fetch: Fetch) -> Lease:
        """The same, and the copy stays until the lease is released. A sound copy needs no lock."""
        home = self._home(version.name)
        lease = Lease(home / copy_name(version))
        try:
            if not _is_sound(lease.path):
                self._fetch_alone(version, fetch, lease.path)
            _tell_if_changed(version, lease.path)
            with contextlib.suppress(OSError):  # only its place in the order of removal
                os.utime(lease.path / MARKER)
        except BaseException:
            lease.release()
            raise
        return lease

    def _fetch_alone(self, version: ModelVersion, fetch: Fetch, final: Path) -> None:
        home = final.parent
        with FileLock(home / ".lock"):
            for prefix in (UNFINISHED, ".fetch-"):  # the second is an earlier version's
                for leftover in home.glob(f"{prefix}*"):
                    shutil.rmtree(leftover, ignore_errors=True)
            if not _is_sound(final):
                shutil.rmtree(final, ignore_errors=True)
                self._fetch(version, fetch, final)
            try:
                self._prune(home)
            except OSError as exc:  # the bundle is there: old ones that stay cost space alone
                logger.warning("Old copies in %s could not be removed: %s", home, exc)

    def remember(self, name: ProductName, alias: str, path: Path) -> None:
        """Note that `path`, a folder of this store, served under the alias."""
        write_file(self._home(name) / f"@{alias}", path.name)

    def recall(self, name: ProductName, alias: str) -> Stored | None:
        """What last served under the alias, for when the registry does not answer."""
        home = self._home(name)
        try:
            folder = home / (home / f"@{alias}").read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as exc:
            logger.warning(
                "The record of what served last under %s@%s cannot be read: %s", name, alias, exc
            )
            return None
        return _stored(folder)

    def find(self, name: ProductName, version: ModelVersionNumber) -> Stored | None:
        """A version that is here already, found without asking the registry.

        If the product was deleted and registered again, this is the copy that was used last.
        """
        found = [_stored(folder) for folder in self._home(name).glob(f"{version}-*")]
        whole = [each for each in found if each is not None]
        return max(whole, key=lambda each: (each.path / MARKER).stat().st_mtime_ns, default=None)

    def last_served(self, address: ModelAddress) -> Stored | None:
        """The copy of what the address stood for when it was last loaded."""
        if address.alias is not None:
            return self.recall(address.name, address.alias)
        return None if address.version is None else self.find(address.name, address.version)

    def copies(self) -> list[Stored]:
        """All complete bundles, except those in use or that served last under an alias."""
        found = []
        for home in sorted(folder for folder in self.root.iterdir() if folder.is_dir()):
            aliased = _last_served(home)
            folders = sorted(each for each in home.iterdir() if each.name not in aliased)
            found += [
                stored for each in folders if (stored := _stored(each)) and not is_in_use(each)
            ]
        return found

    def folder(self, name: ProductName) -> Path:
        """Where a product's bundles lie; need not exist."""
        return place_of(self.root, name)

    def _home(self, name: ProductName) -> Path:
        home = self.folder(name)
        home.mkdir(parents=True, exist_ok=True)
        return home

    def _fetch(self, version: ModelVersion, fetch: Fetch, final: Path) -> None:
        unfinished = new_folder(final.parent)
        try:
            bundle = fetch(version, unfinished)
            _verify(version, bundle)
            marked = {"version": version.version, "sha256": sha256(bundle / MANIFEST)}
            (bundle / MARKER).write_text(json.dumps(marked))
            _sync(bundle)
            put_in_place(bundle, final)
            _sync_folder(final.parent)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)

    def _prune(self, home: Path) -> None:
        aliased = _last_served(home)
        markers = sorted(home.glob(f"*/{MARKER}"), key=lambda file: file.stat().st_mtime_ns)
        for marker in markers[: -self.keep]:
            if marker.parent.name not in aliased and not is_in_use(marker.parent):
                shutil.rmtree(marker.parent, ignore_errors=True)


def copy_name(version: ModelVersion) -> str:
    """What tells one registered bundle from another: its number, and the hash of its content.

    A product that was deleted and registered again has another bundle under an old number.
    """
    if LOCAL_COPY in version.tags:
        return version.tags[LOCAL_COPY]
    known = version.bundle_sha256 or hash_bytes(version.source.encode()).hexdigest()
    return f"{version.version}-{known[:8]}"


def _last_served(home: Path) -> set[str]:
    """The folders that served last, one an alias; a damaged record names none."""
    return {file.read_text(encoding="utf-8", errors="replace") for file in home.glob("@*")}


def is_in_use(copy: Path) -> bool:
    """Whether a process holds a lease on a copy; leases of processes that ended are removed."""
    for file in copy.parent.glob(f"{glob.escape(IN_USE + copy.name)}-*"):
        lock = FileLock(file)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return True
        file.unlink(missing_ok=True)
        lock.release()
    return False


def _marked(folder: Path) -> dict[str, Any]:
    """The content of the copy's `.complete` file; empty in older copies."""
    try:
        values = json.loads((folder / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def _stored(folder: Path) -> Stored | None:
    if not (folder / MARKER).is_file():
        return None
    name, version = unquote(folder.parent.name), folder.name.rpartition("-")[0]
    return Stored(folder, ProductName(name), ModelVersionNumber(version))


def _is_sound(folder: Path) -> bool:
    """Whether the copy is complete and unaltered: what a disk damaged is fetched again."""
    if not (folder / MARKER).is_file():
        return False
    try:
        read_bundle(folder)
    except BundleError:
        return False
    return True


def _tell_if_changed(version: ModelVersion, copy: Path) -> None:
    """Warn of a copy that `uad calibrate` or a person changed: it is not what was registered."""
    known = version.bundle_sha256
    if known is not None and sha256(copy / MANIFEST) != known:
        logger.warning(
            "The local copy of %s was changed after it was fetched, for example by "
            "`uad calibrate`. It is used as it is, so this machine judges otherwise than others. "
            "To use what was registered, delete %s",
            version.address,
            copy,
        )


def _verify(version: ModelVersion, folder: Path) -> None:
    try:
        bundle = read_bundle(folder)
    except BundleError as exc:
        reason = str(exc).replace(f"{folder}/", "").partition(": copy the whole")[0]
        raise BundleError(
            f"Version {version.version} of '{version.name}' is damaged in the artifact store: "
            f"{reason}. Restore its files from a backup, or go back: "
            f"`uad rollback {shlex.quote(version.name)}`"
        ) from exc
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


def open_bundle(
    address: str | Path,
    *,
    registry: ModelRegistry | None = None,
    store: BundleStore | None = None,
) -> Path:
    """The folder of the bundle that `address` stands for now.

    Args:
        address: a bundle's folder, `models:/cookie@champion`, `models:/cookie/3`, or a product's
            name, which means its champion.
        registry: where to look it up; by default MLFLOW_TRACKING_URI or the one under UAD_HOME.
        store: where to keep what is fetched; by default under UAD_HOME.

    Raises:
        RegistryError: unreachable, or no such product, version or alias.
        BundleError: what was fetched is altered or incomplete.
    """
    if isinstance(address, Path):
        return address
    registry = registry or ModelRegistry()
    place = named_model(address, registry).place
    if not is_address(place):
        return Path(place)
    store = store or BundleStore()
    return store.ensure(registry.resolve(place), registry.fetch)
