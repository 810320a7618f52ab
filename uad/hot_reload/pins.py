"""Which version a product is pinned to on this machine; `serving.models.pins` sets it."""

from pathlib import Path

from uad.names import place_of
from uad.paths import home


def pin_file(name: str) -> Path:
    """Holds the version; there is none without a pin."""
    return place_of(home() / "pins", name)


def pinned(name: str) -> str | None:
    """The version that the product is pinned to on this machine."""
    try:
        return pin_file(name).read_text(encoding="utf-8").strip() or None
    except FileNotFoundError:
        return None
