"""Models that follow the registry inside a running program: store, holder, follower.

    alias moved -> fetch -> verify -> load -> golden check -> swap with one assignment

The HTTP server and `create_pipeline(..., follow=True)` both use it.
"""

from uad.live.follower import Follower
from uad.live.holder import Holder, Servable, Served
from uad.live.resolve import is_address, open_bundle, resolve_bundle
from uad.live.status import Event, Failure, Status
from uad.live.store import BundleStore, Stored

__all__ = [
    "BundleStore",
    "Event",
    "Failure",
    "Follower",
    "Holder",
    "Servable",
    "Served",
    "Status",
    "Stored",
    "is_address",
    "open_bundle",
    "resolve_bundle",
]
