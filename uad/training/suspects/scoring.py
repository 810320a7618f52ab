"""How much each image differs from the others, measured by the other images only.

An image's nearest neighbours (fellows) are found by its vector (as in SPADE, Cohen and Hoshen,
arXiv 2005.02357). Each patch is then compared with the most similar patch of each neighbour. Its
value is the mean over the share of neighbours that agree most (as in MuSc, Li et al., ICLR 2024,
arXiv 2401.16753). So a patch that a third of the neighbours also show is not a defect, and one
defective neighbour does not hide another.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from uad.console import progress_bar
from uad.models.memory import nearest_distances
from uad.training.suspects.features import UnitFeatures

FELLOWS = 20
AGREEING = 0.3
"""Share of the neighbours, the most similar ones, with which a patch is compared."""
WORST = 0.05
"""Share of an image's patches, the most unlike ones, that make its score."""

Maps = NDArray[np.float32]


def patch_maps(
    features: UnitFeatures, groups: Sequence[str], *, fellows: int = FELLOWS, progress: bool = False
) -> Maps:
    """(N, h, w) float32, cosine distances in [0, 2]: how unlike the fellows each patch is.

    Args:
        features: of N images, 2 or more groups.
        groups: each image's capture; images of one capture are never neighbours, or a defective
            part that is photographed twice would look normal.
        fellows: number of nearest neighbours.
        progress: show a bar.
    """
    count = len(features.images)
    maps = np.empty((count, *features.grid), np.float32)
    names = np.asarray(groups)
    with progress_bar("images", visible=progress) as bar:
        task = bar.add_task("compare", total=count, note="")
        for index in range(count):
            near = _fellows(features, index, names, fellows)
            maps[index] = _unlikeness(features, index, near).reshape(features.grid)
            bar.advance(task)
    return maps


def image_scores(maps: Maps) -> NDArray[np.float64]:
    """(N,) the mean of each map's most unlike patches."""
    flat = np.sort(maps.reshape(len(maps), -1), axis=1)
    worst = max(1, round(WORST * flat.shape[1]))
    return np.asarray(flat[:, -worst:].mean(axis=1), np.float64)


def _fellows(
    features: UnitFeatures, index: int, groups: NDArray[np.str_], count: int
) -> NDArray[np.intp]:
    similarity = features.images @ features.images[index]
    others = np.flatnonzero(groups != groups[index])
    return others[np.argsort(-similarity[others], kind="stable")[:count]]


def _unlikeness(features: UnitFeatures, index: int, near: NDArray[np.intp]) -> NDArray[np.float32]:
    own = features.patches[index].astype(np.float32)  # (P, D)
    theirs = features.patches[near].astype(np.float32)  # (K, P, D)
    nearest = np.stack([nearest_distances(own, other) ** 2 / 2 for other in theirs])  # (K, P)
    agreeing = max(1, round(AGREEING * len(near)))
    return np.asarray(np.sort(nearest, axis=0)[:agreeing].mean(axis=0), np.float32)
