"""The result of training: the detector's parts. A graph is built and a bundle written from them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from uad.config import DetectorDefinition, InputSpec, ScoreDefinition, TrainingConfig
from uad.models.memory import Memory
from uad.models.resnet import Weights
from uad.models.statistics import WholeImage
from uad.scoring.maps import whitenings


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


@dataclass(frozen=True)
class Parts:
    """One frozen teacher, and up to three parts that measure how unusual its features are."""

    teacher: Weights
    """float32 arrays by torchvision's names, conv1 to layer3, of any width."""
    student: Weights | None = None
    """The same names and shapes."""
    whitenings: Sequence[NDArray[np.float32]] | None = None
    """Per level the (C_l, C_l) matrix of the student's Mahalanobis distance
    (`uad.models.whitening`); None: the cosine distance."""
    memory: Memory | None = None
    whole_image: WholeImage | None = None


@dataclass(frozen=True)
class TrainedModel:
    """All that training decided; numpy only, so that no later stage needs Paddle."""

    student: Weights | None
    teacher: Teacher
    input: InputSpec
    score: ScoreDefinition
    statistics: Mapping[str, NDArray[np.float32]]
    """Of the selection images: `mean{l}`, see `scoring.maps.anomaly_map`; `whitening{l}`, see
    `scoring.whitenings`."""
    config: TrainingConfig
    history: tuple[EpochMetrics, ...] = ()
    chosen_epoch: int | None = None
    golden: tuple[NDArray[np.uint8], ...] = field(default=())
    """Two or three small inputs, (height, width, 3) uint8 BGR at the input size."""
    memory: Memory | None = None
    whole_image: WholeImage | None = None
    detector: DetectorDefinition | None = None
    """How the parts are put together; None: the student alone, its map's maximum the score."""

    def parts(self) -> Parts:
        """What its graph is built from."""
        return Parts(
            teacher=self.teacher.weights,
            student=self.student,
            whitenings=whitenings(self.score, self.statistics) if self.student else None,
            memory=self.memory,
            whole_image=self.whole_image,
        )
