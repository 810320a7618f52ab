"""The model registry and run tracking: the only package that imports mlflow.

One registered model per product; the alias `champion` serves, `challenger` waits for a decision.
"""

from uad.registry.address import CHALLENGER, CHAMPION, ModelAddress, is_address
from uad.registry.models import ModelRegistry
from uad.registry.named_model import NamedModel, named_model
from uad.registry.removal import Remover, TrackedRun, local_folder
from uad.registry.runs import RunTracker
from uad.registry.types import ModelVersion, Promotion

__all__ = [
    "CHALLENGER",
    "CHAMPION",
    "ModelAddress",
    "ModelRegistry",
    "ModelVersion",
    "NamedModel",
    "Promotion",
    "Remover",
    "RunTracker",
    "TrackedRun",
    "is_address",
    "local_folder",
    "named_model",
]
