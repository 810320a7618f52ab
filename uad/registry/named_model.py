"""What a person's word for a model stands for: an address, a bundle's folder, or a product's name.

One rule for every command, for `create_pipeline` and for the server: a folder with a bundle comes
first; else the bare name of a product means its champion.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from uad.errors import ConfigError, RegistryError
from uad.registry.address import ModelAddress, is_address
from uad.registry.models import ModelRegistry
from uad.storage.names import ProductName

NO_PRODUCTS = (
    "There are no products yet. Train one: `uad retrain --data FOLDER --name NAME`. `uad demo` "
    "shows everything on generated images."
)


@dataclass(frozen=True)
class NamedModel:
    """What a word stands for."""

    place: str
    """A registry address, or a bundle's folder."""
    product: ProductName | None = None
    """The product whose bare name was given; `place` is its champion's address."""
    remark: str = ""
    """What a person should know about the choice; empty if it was the only one."""


def named_model(
    text: str, registry: ModelRegistry, *, folders: Sequence[Path] = (Path(),), also: str = ""
) -> NamedModel:
    """Find what `text` stands for.

    Args:
        text: see above.
        registry: asked for its products where `text` may be one; never made for that.
        folders: where a relative path may start from.
        also: what else could have been given, for the error.

    Raises:
        BundleError: a folder or file of that name that is no bundle.
        ConfigError: an unknown name; the message lists the products.
        RegistryError: the registry does not answer.
    """
    if is_address(text):
        return NamedModel(text)
    paths = [folder / text for folder in folders]
    for path in paths:
        if is_bundle(path):
            return NamedModel(str(path), remark=_both(text, registry))
    products = _products(text, registry)
    name = ProductName(unicodedata.normalize("NFC", text))
    if name in products:
        return NamedModel(str(ModelAddress.champion(name)), name)
    for path in paths:
        if path.exists():
            from uad.bundle import read_bundle

            read_bundle(path)  # says what is missing
    known = f"Products: {', '.join(products)}." if products else NO_PRODUCTS
    raise ConfigError(f"'{text}' is neither a product nor the folder of a bundle. {known}{also}")


def is_bundle(folder: Path) -> bool:
    """Whether a bundle lies there; its files are not verified."""
    from uad.bundle import MANIFEST  # with all that a model needs

    return (folder / MANIFEST).is_file()


def _both(name: str, registry: ModelRegistry) -> str:
    """What is said of a bundle's folder that is called like a product."""
    if not _may_be_product(name) or not registry.has_product(ProductName(name)):
        return ""
    return (
        f"{name} is the folder of a bundle and also a product. The folder is used. For the product "
        f"write {ModelAddress.champion(ProductName(name))}."
    )


def _products(text: str, registry: ModelRegistry) -> list[ProductName]:
    try:
        return [] if registry.is_new else registry.products()
    except RegistryError:
        if _may_be_product(text):
            raise
        return []


def _may_be_product(text: str) -> bool:
    """Whether it has none of the characters that a product's name cannot have."""
    return "/" not in text
