"""Formula-driven supervised learning: its settings, and its seeded batches of labelled fractals."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from uad.models.teacher.distillation.formula.fractals import (
    FACTORS,
    HELD_OUT_FACTORS,
    Pictures,
    Systems,
    draw,
    search,
    varied,
)
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


Labels = NDArray[np.int64]


class Purpose(IntEnum):
    """What pictures are for; each purpose has random numbers of its own."""

    SEARCH = 0
    TRAINING = 1
    RECALIBRATION = 2
    HELD_OUT = 3


@dataclass(frozen=True)
class FractalBatches:
    """`lessons[n]` is batch n, the same at every time and in every process."""

    recipe: FormulaRecipe
    purpose: Purpose
    systems: Systems
    """(categories, MOST_MAPS, 2, 3)."""

    def __getitem__(self, number: int) -> tuple[Pictures, Labels]:
        """(N, S, S, 3) uint8 RGB, and (N,) the categories."""
        rng = np.random.default_rng((self.recipe.seed, self.purpose, number))
        labels = rng.integers(0, len(self.systems), self.recipe.batch_size)
        factors = HELD_OUT_FACTORS if self.purpose is Purpose.HELD_OUT else FACTORS
        systems = varied(rng, self.systems[labels], factors)
        return draw(rng, systems, self.recipe.edge_px), labels


def categories(recipe: FormulaRecipe) -> Systems:
    """The systems that the recipe's seed finds."""
    rng = np.random.default_rng((recipe.seed, Purpose.SEARCH))
    return search(rng, recipe.categories, recipe.least_filling)
