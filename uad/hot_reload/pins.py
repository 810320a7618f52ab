"""Pin a product to a version on this machine: for going back while the registry is down.

A pin is a small file under UAD_HOME that every server on this machine reads with each poll. It
needs no registry when the version is in the local store, as the last three are.
"""

import errno
from dataclasses import replace
from pathlib import Path

from uad.errors import RegistryError, RegistryUnreachableError
from uad.hot_reload.bundle_store import BundleStore
from uad.registry import ModelRegistry
from uad.registry.types import ModelVersion
from uad.storage.atomic_writes import write_file
from uad.storage.names import ModelVersionNumber, ProductName, place_of
from uad.storage.paths import home

PINNED_AT = "uad.pinned_at"
"""Tag of a pinned version: when the pin was set."""


def pin_file(name: ProductName) -> Path:
    """Holds the version; there is none without a pin."""
    return place_of(home() / "pins", name)


def pinned(name: ProductName) -> ModelVersionNumber | None:
    """The version that the product is pinned to on this machine; None without a pin.

    Raises:
        OSError: the pin is there but cannot be read; names the file.
    """
    file = pin_file(name)
    try:
        version = file.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as exc:
        raise OSError(errno.EINVAL, "not a text file", str(file)) from exc
    if not version.isdigit():
        raise OSError(errno.EINVAL, f"line 1 is not a version number: {version[:20]!r}", str(file))
    return ModelVersionNumber(version)


def pin(name: ProductName, version: ModelVersionNumber) -> None:
    """Serve `version` of the product until `unpin`, whatever is promoted.

    Raises:
        RegistryError: the version is neither in the local store nor to be had from the registry.
    """
    store = BundleStore()
    if store.find(name, version) is None:
        registry = ModelRegistry()
        try:
            store.ensure(registry.version(name, version), registry.fetch)
        except RegistryUnreachableError as exc:
            raise RegistryUnreachableError(
                f"version {version} of '{name}' is not on this machine and the registry does not "
                f"answer: pin one of {', '.join(local_versions(name)) or 'none'}"
            ) from exc
    write_file(pin_file(name), version)


def unpin(name: ProductName) -> bool:
    """Follow the registry again; whether there was a pin."""
    was_pinned = pin_file(name).is_file()
    pin_file(name).unlink(missing_ok=True)
    return was_pinned


def pinned_version(name: ProductName, store: BundleStore) -> ModelVersion | None:
    """The pinned version as the registry would describe it; None without a pin.

    Raises:
        RegistryError: it is pinned to a version that is gone from the local store.
        OSError: the pin cannot be read.
    """
    version = pinned(name)
    if version is None:
        return None
    stored = store.find(name, version)
    if stored is None:
        raise RegistryError(
            f"'{name}' is pinned to version {version}, which is not on this machine any more: "
            f"`uad pin {name} VERSION`, or `uad pin {name} --off`"
        )
    described = stored.described()
    pinned_at = str(pin_file(name).stat().st_mtime_ns)
    return replace(described, tags={**described.tags, PINNED_AT: pinned_at})


def local_versions(name: ProductName) -> list[ModelVersionNumber]:
    """Versions that can be pinned without a registry."""
    folders = BundleStore().folder(name).glob("*-*")
    names = {folder.name.rpartition("-")[0] for folder in folders if folder.is_dir()}
    found = map(ModelVersionNumber, names)
    return sorted(found, key=lambda each: (len(each), each))
