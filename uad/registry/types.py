"""What the registry answers with: plain values, no MLflow types."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from uad.registry.address import SCHEME, ModelAddress
from uad.storage.names import DatasetAddress, ModelVersionNumber, ProductName, RunId

Kind = Literal["promote", "rollback", "external"]

METRIC_TAG = "metric."
BUNDLE_ID = "uad.bundle_id"
BUNDLE_SHA256 = "uad.bundle_sha256"
DATASET = "uad.dataset"
"""Tag of runs and versions: `name@version` of what it learned from."""
EVALUATED_ON = "uad.evaluated_on"
"""Tag of versions: the images that its figures are of."""
MODEL_ID = "uad.model_id"
"""Tag of versions: the LoggedModel that it is, as MLflow 3 shows it in its Models tab."""
PRODUCT = "uad.product"
"""Tag of runs and versions: the product they were made for."""
PROMOTE_IN_MLFLOW = ". To let it serve, "
"""Begins the part of a description that is for readers of MLflow's pages only."""


@dataclass(frozen=True)
class ModelVersion:
    """One registered version of a product's model."""

    name: ProductName
    version: ModelVersionNumber
    """A number as text: MLflow answers int or str, depending on the store."""
    run_id: RunId | None
    source: str
    """Where its artifacts are, as the store writes it."""
    tags: Mapping[str, str] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    created: datetime = datetime(1970, 1, 1, tzinfo=UTC)
    description: str = ""

    @property
    def metrics(self) -> dict[str, float]:
        """The metrics it was registered with, by name."""
        start = len(METRIC_TAG)
        return {
            key[start:]: float(value)
            for key, value in self.tags.items()
            if key.startswith(METRIC_TAG)
        }

    @property
    def dataset(self) -> DatasetAddress | None:
        """What it learned from; None if it does not say so."""
        address = self.tags.get(DATASET)
        return DatasetAddress(address) if address else None

    @property
    def bundle_sha256(self) -> str | None:
        """sha256 of its bundle.json; None if it was not registered by uad."""
        return self.tags.get(BUNDLE_SHA256)

    @property
    def summary(self) -> str:
        """The description without its part for readers of MLflow's pages."""
        return self.description.partition(PROMOTE_IN_MLFLOW)[0]

    @property
    def is_own(self) -> bool:
        """Whether uad registered it here; False for other models and for copies made by MLflow."""
        copied = self.tags.get(PRODUCT, self.name) != self.name or self.source.startswith(SCHEME)
        return self.bundle_sha256 is not None and not copied

    @property
    def address(self) -> str:
        """`models:/name/version`."""
        return str(ModelAddress(self.name, version=self.version))


@dataclass(frozen=True)
class Promotion:
    """One move of an alias: who, when, from, to, why."""

    name: ProductName
    alias: str
    from_version: ModelVersionNumber | None
    """None: the alias did not exist before."""
    to_version: ModelVersionNumber | None
    """None: somebody removed the alias."""
    kind: Kind
    """`external`: made outside uad, for example in MLflow's own UI, and found out later."""
    actor: str
    reason: str
    at: datetime
    """UTC; of an external move, when it was found."""

    def to_json(self) -> dict[str, Any]:
        """As it is written into the audit."""
        return {
            "alias": self.alias,
            "from": self.from_version,
            "to": self.to_version,
            "kind": self.kind,
            "who": self.actor,
            "why": self.reason,
            "when": self.at.isoformat(),
        }

    @classmethod
    def from_json(cls, name: ProductName, values: Mapping[str, Any]) -> "Promotion":
        """The reverse of `to_json`; KeyError or ValueError where that is impossible."""
        return cls(
            name,
            values["alias"],
            values["from"],
            values["to"],
            values["kind"],
            values["who"],
            values["why"],
            datetime.fromisoformat(values["when"]),
        )
