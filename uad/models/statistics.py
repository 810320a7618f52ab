"""The whole-image part: how unusual the mean and spread of each teacher channel are.

No map, but it sees what is missing, extra or in the wrong place (PUAD, Sugawara and Imamura,
arXiv 2402.15143).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


ROUNDING = 1e-5
"""float32 cannot distinguish spreads that are smaller than this share of the largest figure."""


@dataclass(frozen=True)
class WholeImage:
    """The normal images' statistics, as a distance needs them."""

    mean: Array
    """(D,)"""
    whitening: Array
    """(D, D): |(s - mean) W| is the Mahalanobis distance of s."""

    def distances(self, moments: Array) -> Array:
        """(N,) the distance of each image's statistics, (N, D)."""
        return np.asarray(np.linalg.norm((moments - self.mean) @ self.whitening, axis=1))

    def arrays(self) -> dict[str, Array]:
        """As they are stored."""
        return {"mean": self.mean, "whitening": self.whitening}


def fit_whole_image(moments: Array) -> WholeImage:
    """Of normal images' statistics, (N, D), with Ledoit and Wolf's (2004) shrunk covariance."""
    from sklearn.covariance import ledoit_wolf

    values = np.asarray(moments, np.float64)
    covariance = ledoit_wolf(values)[0] if len(values) > 1 else np.zeros((values.shape[1],) * 2)
    spreads, directions = np.linalg.eigh(covariance)
    least = max(ROUNDING * float(np.abs(values).max()), ROUNDING)
    whitening = directions / np.sqrt(np.maximum(spreads, least**2))
    return WholeImage(values.mean(axis=0).astype(np.float32), whitening.astype(np.float32))
