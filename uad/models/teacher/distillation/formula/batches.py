"""Seeded batches of labelled fractals."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from uad.models.teacher.distillation.formula.fractals import (
    FACTORS,
    HELD_OUT_FACTORS,
    Pictures,
    Systems,
    draw,
    search,
    varied,
)
from uad.models.teacher.distillation.formula.recipe import FormulaRecipe

Labels = NDArray[np.int64]


class Purpose(IntEnum):
    """What pictures are for; each purpose has random numbers of its own."""

    SEARCH = 0
    TRAINING = 1
    RECALIBRATION = 2
    HELD_OUT = 3


@dataclass(frozen=True)
class Lessons:
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
