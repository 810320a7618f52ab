"""Plain values that pass between stages."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Weights = Mapping[str, NDArray[np.float32]]
"""torchvision's ResNet names (`conv1.weight`, `bn1.running_mean`, `layer2.0.downsample.0.weight`,
up to `layer3`) to float32 arrays."""

Outputs = Mapping[str, NDArray[np.float32]]
"""What a model's graph says of N images, by the name of the output, N first: the student's distance
maps `LEVELS`, each (N, h_l, w_l), the largest first; `MEMORY`, (N, h, w) distances; `WHOLE_IMAGE`,
(N,) distances. A part that the detector lacks is not among them."""

LEVELS = ("map1", "map2", "map3")
MEMORY = "memory"
WHOLE_IMAGE = "whole_image"


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
class TrainedStudent:
    """All that the training loop decided; numpy only."""

    weights: Weights
    """Of the chosen epoch."""
    whitening: Mapping[str, NDArray[np.float32]]
    """`whitening1`..: of the selection images, see `uad.models.whitening`."""
    history: tuple[EpochMetrics, ...]
    chosen_epoch: int
