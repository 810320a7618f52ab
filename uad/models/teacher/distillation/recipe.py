"""The settings of a training, and what they mean at each moment of it."""

import math
from typing import Annotated

from pydantic import Field

from uad.config.loading import Settings

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


class Stage(Settings):
    """A stretch of the training with crops of one size."""

    until: Annotated[float, Field(gt=0, le=1)]
    """Share of the whole training at which the next stage begins."""
    edge_px: Annotated[int, Field(ge=32, multiple_of=16)]
    batch_size: Count
    """Of each worker."""


class Training(Settings):
    """What every training of a teacher is told, and its schedule."""

    seed: int = 0
    width: Annotated[int, Field(ge=4)] = 64
    images: Count = 400_000
    """Crops to see; the schedule ends there."""
    minutes: Positive | None = None
    """Ends the schedule early by the clock, whatever was seen by then."""
    learning_rate: Positive = 4e-3
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.03
    """Share of the training over which the learning rate rises."""
    average_decay: Annotated[float, Field(ge=0, lt=1)] = 0.998
    """Of the moving average of the weights, which is what is kept."""
    checkpoint_every_seconds: Positive = 120.0
    report_every_steps: Count = 50
    device: str = "cpu"
    """`cpu`, or `cuda` with larger batches and `bfloat16`."""
    threads: Count = 1
    """Of each process that trains."""
    bfloat16: bool = False

    def rate(self, progress: float) -> float:
        """The learning rate at `progress`: linear warm-up, then half a cosine down to zero."""
        if progress < self.warmup:
            return self.learning_rate * max(progress / self.warmup, 1e-3)
        share = (min(progress, 1.0) - self.warmup) / (1.0 - self.warmup)
        return self.learning_rate * 0.5 * (1.0 + math.cos(math.pi * share))

    def progress(self, images: int, elapsed_seconds: float) -> float:
        """How much of the training is done, in [0, 1], by images seen or by the clock."""
        by_clock = elapsed_seconds / (60.0 * self.minutes) if self.minutes else 0.0
        return min(1.0, max(images / self.images, by_clock))


class DistillationRecipe(Training):
    """One distillation; the same recipe and seed draw the same crops in the same order."""

    stages: tuple[Stage, ...] = (
        Stage(until=0.35, edge_px=64, batch_size=24),
        Stage(until=0.75, edge_px=96, batch_size=16),
        Stage(until=1.0, edge_px=128, batch_size=12),
    )
    """Small crops first, because they teach most a second; nearer the size of use at the end."""
    apart_until: Annotated[float, Field(ge=0, le=1)] = 0.35
    """Until this share each level learns alone, fed with the teacher's level below; then the whole
    student learns on features of its own."""
    recalibration_px: Count = 256
    recalibration_images: Count = 768
    """Batch norm statistics are measured anew on this many images of the size of use."""
    workers: Count = 2
    """Processes that share each update; on busy cores two of one thread beat one of two. On `cuda`
    1."""

    def stage(self, progress: float) -> Stage:
        """The stage at `progress` in [0, 1]."""
        return next((stage for stage in self.stages if progress < stage.until), self.stages[-1])
