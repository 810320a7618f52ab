"""The settings of formula-driven supervised learning."""

from typing import Annotated

from pydantic import Field

from uad.models.teacher.distillation.recipe import Count, Positive, Training


class FormulaRecipe(Training):
    """One classification of fractals; the same recipe and seed draw the same pictures.

    On a CPU, and without `minutes`, an interrupted training ends with the same weights, bit by bit.
    """

    images: Count = 60_000
    """Pictures to see; the schedule ends there."""
    learning_rate: Positive = 2e-3
    weight_decay: Annotated[float, Field(ge=0)] = 0.05
    categories: Annotated[int, Field(ge=2)] = 200
    least_filling: Annotated[float, Field(ge=0, le=0.25)] = 0.1
    """Share of its picture that a category's points meet; what fills less is thrown away."""
    edge_px: Annotated[int, Field(ge=32, multiple_of=16)] = 64
    batch_size: Annotated[int, Field(ge=2)] = 32
    recalibration_batches: Count = 40
    held_out_batches: Count = 40
    drawers: Annotated[int, Field(ge=0)] = 0
    """Processes that draw ahead; 0: the training draws for itself, best where cores are few."""
