"""Typed, frozen settings; one YAML format; unknown keys are refused by their dotted name."""

from uad.config.loading import Settings, load_settings
from uad.config.training import InputSpec, SplitConfig, TrainingConfig

__all__ = ["InputSpec", "Settings", "SplitConfig", "TrainingConfig", "load_settings"]
