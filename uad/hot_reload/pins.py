"""Which version a product is pinned to on this machine; `serving.models.pins` sets it."""

import errno
from pathlib import Path

from uad.storage.names import place_of
from uad.storage.paths import home

PINNED_AT = "uad.pinned_at"
"""Tag of a pinned version: when the pin was set."""


def pin_file(name: str) -> Path:
    """Holds the version; there is none without a pin."""
    return place_of(home() / "pins", name)


def pinned(name: str) -> str | None:
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
    return version
