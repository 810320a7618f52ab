"""The address of a registered model: `models:/cookie@champion` or `models:/cookie/3`."""

import re
from dataclasses import dataclass
from pathlib import Path

from uad.errors import RegistryError
from uad.storage.names import ModelVersionNumber, ProductName

SCHEME = "models:/"
CHAMPION = "champion"
"""The alias of the version that serves."""
CHALLENGER = "challenger"
"""The alias of the version that waits for a decision."""

_FORM = re.compile(
    re.escape(SCHEME) + r"(?P<name>[^/@]+)(?:@(?P<alias>[\w-]+)|/(?P<version>[0-9]+))"
)


@dataclass(frozen=True)
class ModelAddress:
    """A product with either an alias or the number of a version; `str` is what a user writes."""

    name: ProductName
    alias: str | None = None
    version: ModelVersionNumber | None = None

    def __post_init__(self) -> None:
        if (self.alias is None) == (self.version is None):
            raise RegistryError(f"an address of '{self.name}' needs an alias or a version")

    def __str__(self) -> str:
        if self.alias is not None:
            return f"{SCHEME}{self.name}@{self.alias}"
        return f"{SCHEME}{self.name}/{self.version}"

    def with_alias(self, alias: str) -> "ModelAddress":
        """The same product under another alias."""
        return ModelAddress(self.name, alias=alias)

    @classmethod
    def parse(cls, text: "str | ModelAddress") -> "ModelAddress":
        """Read an address.

        Raises:
            RegistryError: it has another form.
        """
        if isinstance(text, ModelAddress):
            return text
        parts = _FORM.fullmatch(text)
        if parts is None:
            raise RegistryError(
                f"'{text}' is not a model address: write models:/NAME@champion or models:/NAME/3"
            )
        number = parts["version"]
        return cls(
            ProductName(parts["name"]),
            parts["alias"],
            None if number is None else ModelVersionNumber(number),
        )

    @classmethod
    def champion(cls, name: ProductName) -> "ModelAddress":
        """Whatever version of the product serves."""
        return cls(name, alias=CHAMPION)


def is_address(text: str | Path) -> bool:
    """Whether this names a registered model and not a file."""
    return str(text).startswith(SCHEME)
