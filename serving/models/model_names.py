"""What the words in `models` stand for: a name on this server, and what is served under it."""

import logging
from collections.abc import Callable
from pathlib import Path

from serving.settings import ServerSettings
from uad.hot_reload import BundleStore
from uad.registry import ModelAddress, ModelRegistry, is_address, named_model
from uad.registry.named_model import is_bundle
from uad.storage.names import ProductName, is_name

logger = logging.getLogger(__name__)


def existing_registry() -> ModelRegistry:
    """The registry that the environment names; a server never makes one."""
    return ModelRegistry(create=False)


def named_as(model: str) -> tuple[str, str]:
    """The name on this server, and the model: `NAME=MODEL`, or a model that has a name in it."""
    name, separator, rest = model.partition("=")
    if separator and "/" not in name:
        return name, rest
    if is_address(model):
        return ModelAddress.parse(model).name, model
    return Path(model).resolve().name, model


def place_of(model: str, settings: ServerSettings, store: Callable[[], BundleStore]) -> str:
    """A registry address or a bundle's folder; see `uad.registry.named_model`.

    A product that served here before, or is waited for, is followed even if the registry is down
    or does not have it yet.
    """
    if is_name(model) and not is_bundle(Path(model)):
        product = ProductName(model)
        champion, copies = ModelAddress.champion(product), store()
        is_awaited = settings.wait_for_model and not Path(model).exists()
        if is_awaited or (copies.folder(product).is_dir() and copies.last_served(champion)):
            return str(champion)
    found = named_model(model, existing_registry())
    if found.remark:
        logger.warning("%s", found.remark)
    return found.place
