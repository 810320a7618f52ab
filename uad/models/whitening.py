"""Whitening: differences between teacher and student that normal images also show count less.

A trained student differs from its teacher on normal images too, mostly in the same directions of
the feature space. In the Mahalanobis distance these directions count less:

    r = t / |t| - s / |s|              the difference at one location, C channels
    d = r' (S / m + I)^-1 r / 2        S: mean of r r' on normal images, m = trace(S) / C

With S = 0 it is the cosine distance 1 - cos(t, s), and it never exceeds it. S / m + I is S shrunk
half way towards a multiple of the identity (Ledoit and Wolf, 2004), so that few images are enough.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def whitening(second_moment: NDArray[np.float64]) -> NDArray[np.float32]:
    """W with d = |W r|^2 / 2, symmetric, its eigenvalues in (0, 1].

    Args:
        second_moment: S, (C, C), positive semidefinite.

    Returns:
        (C, C) float32; the identity where S is zero.
    """
    values, directions = np.linalg.eigh(second_moment)
    mean = max(float(values.mean()), np.finfo(np.float64).tiny)
    roots = 1.0 / np.sqrt(np.maximum(values, 0.0) / mean + 1.0)
    return np.asarray((directions * roots) @ directions.T, np.float32)


class SecondMoments:
    """Means of r r' over images and locations, one per level, in float64."""

    def __init__(self, levels: int) -> None:
        self._sums: list[Any] = [0.0] * levels
        self._locations = [0] * levels

    def add(self, differences: Sequence[NDArray[np.float32]]) -> None:
        """Per level the (C, locations) differences of some images."""
        for level, difference in enumerate(differences):
            self._sums[level] += np.asarray(difference @ difference.T, np.float64)
            self._locations[level] += difference.shape[1]

    def whitening(self) -> dict[str, NDArray[np.float32]]:
        """`whitening1`..: see `whitening`."""
        means = zip(self._sums, self._locations, strict=True)
        return {
            f"whitening{number}": whitening(total / count)
            for number, (total, count) in enumerate(means, start=1)
        }
