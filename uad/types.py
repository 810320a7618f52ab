"""Plain values that pass between stages."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from uad.config import InputSpec, ScoreDefinition, TrainingConfig

Weights = Mapping[str, NDArray[np.float32]]
"""torchvision's ResNet names (`conv1.weight`, `bn1.running_mean`, `layer2.0.downsample.0.weight`,
up to `layer3`) to float32 arrays."""


@dataclass(frozen=True)
class Teacher:
    """The frozen network that the student learns to match."""

    id: str
    """`embedded`, `imagenet`, `random`, or `file:<name>`."""
    sha256: str
    """Hash of the weights, so that two trainings can be told apart."""
    weights: Weights


@dataclass(frozen=True)
class EpochMetrics:
    """What one epoch reports."""

    epoch: int
    """From 1."""
    values: Mapping[str, float]
    """By metric name, for example `train_loss`, `selection_loss`, `seconds`."""


@dataclass(frozen=True)
class TrainedModel:
    """All that training decided; numpy only, so that no later stage needs Paddle."""

    student: Weights
    teacher: Teacher
    input: InputSpec
    score: ScoreDefinition
    statistics: Mapping[str, NDArray[np.float32]]
    """Of the selection images: `mean{l}`, see `scoring.anomaly_map`; `whitening{l}`, see
    `scoring.whitenings`."""
    config: TrainingConfig
    history: tuple[EpochMetrics, ...] = ()
    chosen_epoch: int | None = None
    golden: tuple[NDArray[np.uint8], ...] = field(default=())
    """Two or three small inputs, (height, width, 3) uint8 BGR at the input size."""
