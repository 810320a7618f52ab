"""From what a user writes to a bundle's folder."""

from pathlib import Path

from uad.hot_reload.bundle_store import BundleStore
from uad.registry import ModelRegistry, is_address


def open_bundle(
    address: str | Path,
    *,
    registry: ModelRegistry | None = None,
    store: BundleStore | None = None,
) -> Path:
    """The folder of the bundle that `address` stands for now.

    Args:
        address: a bundle's folder, `models:/cookie@champion`, or `models:/cookie/3`.
        registry: where to look it up; by default MLFLOW_TRACKING_URI or the one under UAD_HOME.
        store: where to keep what is fetched; by default under UAD_HOME.

    Raises:
        RegistryError: unreachable, or no such product, version or alias.
        BundleError: what was fetched is altered or incomplete.
    """
    if not is_address(address):
        return Path(address)
    registry = registry or ModelRegistry()
    store = store or BundleStore()
    return store.ensure(registry.resolve(str(address)), registry.fetch)
