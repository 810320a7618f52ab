"""Typed, frozen settings; one YAML format; unknown keys are refused by their dotted name."""

from uad.config.loading import Settings, load_settings
from uad.config.score import DetectorDefinition, PartDefinition, ScoreDefinition
from uad.config.training import (
    DetectorConfig,
    ExportConfig,
    InputConfig,
    InputSpec,
    SplitConfig,
    TrainingConfig,
)

__all__ = [
    "DetectorConfig",
    "DetectorDefinition",
    "ExportConfig",
    "InputConfig",
    "InputSpec",
    "PartDefinition",
    "ScoreDefinition",
    "Settings",
    "SplitConfig",
    "TrainingConfig",
    "load_settings",
]
