"""Models that follow the registry in a running program: store, model slot, alias watcher.

    alias moved -> fetch -> verify -> load -> golden check -> swap with one assignment

The HTTP server and `create_pipeline(..., follow=True)` both use it.
"""

from uad.hot_reload.alias_watcher import AliasWatcher
from uad.hot_reload.bundle_store import BundleStore, Stored, open_bundle
from uad.hot_reload.model_slot import ModelSlot, Servable, Served
from uad.hot_reload.status import Event, Failure, Status

__all__ = [
    "AliasWatcher",
    "BundleStore",
    "Event",
    "Failure",
    "ModelSlot",
    "Servable",
    "Served",
    "Status",
    "Stored",
    "open_bundle",
]
