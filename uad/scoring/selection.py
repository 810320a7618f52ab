"""Choose the score's definition on normal images alone, by defects planted in them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from uad.config import ScoreDefinition
from uad.config.score import Distance
from uad.config.training import Areas
from uad.metrics import PixelStream, image_auroc
from uad.scoring.maps import anomaly_map, describe, image_score
from uad.scoring.synthetic_defects import plant
from uad.scoring.zones import ignored

T = TypeVar("T")
LevelMaps = list[NDArray[np.float32]]
"""Per level (N, h_l, w_l) float32 distances."""
Statistics = dict[str, NDArray[np.float32]]

_TRIES = 100
"""A defect in an ignored region is planted again, at most this often."""
PLANTED = 96
"""Images with a planted defect, spread over the selection images."""
MOST = 200
"""Most selection images that are used; more take memory and time and change nothing."""
PRIOR_IMAGES = 16
"""See `level_statistics`: few images say little about single locations."""
MARGIN = 0.03
"""A candidate must be better than the first by this much. Planted defects are not real ones, and
with few images smaller differences change with the seed."""


@dataclass(frozen=True)
class Choice:
    """The definition to use, and what it was chosen from."""

    score: ScoreDefinition
    table: Mapping[str, float]
    """By candidate: the mean of image AUROC, pixel AUROC and AUPRO on planted defects."""


@dataclass(frozen=True)
class Planted:
    """Normal images with a defect planted in each, and where it lies."""

    images: NDArray[np.uint8]
    """(M, H, W, 3) uint8 BGR."""
    masks: Sequence[NDArray[np.bool_]]
    """(H, W) each."""

    def masks_at(self, size: tuple[int, ...]) -> list[NDArray[np.bool_]]:
        """The masks at a level's (h, w)."""
        return [_shrunk(mask, size) for mask in self.masks]


def candidates(images: int) -> Iterator[ScoreDefinition]:
    """The candidate definitions, the most expected one first, for a number of selection images.

    The first level sees the finest defects and also the most harmless texture, so its weight
    varies. It is never left out, because planted defects are coarser than the finest real ones.
    """
    normalisations = ("level", "location") if images >= PRIOR_IMAGES else ("level",)
    weights = ((0.5, 1.0, 1.0), (1.0, 1.0, 1.0))
    sigmas = (0.5, 0.0, 1.0, 2.0)
    for distance, *rest in (
        *product(("mahalanobis",), normalisations, weights, sigmas),
        *product(("cosine",), normalisations, weights[:1], sigmas[:1]),
    ):
        yield ScoreDefinition.model_validate(
            {
                "distance": distance,
                "combine": "sum",
                **dict(zip(("normalise", "weights", "smooth_sigma"), rest, strict=True)),
            }
        )
    for sigma in (0.0, 1.0):
        yield ScoreDefinition(combine="product", smooth_sigma=sigma)


def level_statistics(levels: LevelMaps, normalise: str) -> Statistics:
    """`mean1`..: the mean distance of each level on normal images.

    Args:
        levels: of the selection images.
        normalise: `level` gives a number a level; `location` a map, for parts that lie alike: the
            smoothed mean over the images, drawn towards the level's number as if
            `PRIOR_IMAGES` more images had shown nothing but it; `none` gives nothing.
    """
    statistics = {}
    for number, level in enumerate(levels, start=1):
        mean = np.asarray(level.mean(dtype=np.float64), np.float32)
        if normalise == "location":
            smooth = cv2.GaussianBlur(level.mean(axis=0), (0, 0), level.shape[1] / 32)
            mean = (len(level) * smooth + PRIOR_IMAGES * mean) / (len(level) + PRIOR_IMAGES)
        if normalise != "none":
            statistics[f"mean{number}"] = np.asarray(mean, np.float32)
    return statistics


def choose_score(
    clean: Mapping[Distance, LevelMaps],
    defective: Mapping[Distance, LevelMaps],
    masks: Sequence[NDArray[np.bool_]],
) -> Choice:
    """Compare the candidates on normal images without and with planted defects.

    Args:
        clean: level maps of the selection images by each distance.
        defective: level maps of images with a planted defect each.
        masks: of those, at the first level's size.
    """
    table = {
        score: quality(score, clean[score.distance], defective[score.distance], masks)
        for score in candidates(len(clean["cosine"][0]))
    }
    return _chosen(table)


def looked_at(samples: Sequence[T]) -> Sequence[T]:
    """At most `MOST` of the selection images, evenly spread."""
    return samples[:: -(-len(samples) // MOST)]


def plant_in(normals: NDArray[np.uint8], *, seed: int = 0, ignore: Areas = ()) -> Planted:
    """`PLANTED` copies or more of `normals`, (N, H, W, 3) uint8 BGR, each with a defect.

    Ignored regions stay as they are, and no defect lies in them.
    """
    rng = np.random.default_rng(seed)
    repeats = -(-PLANTED // len(normals))
    outside = ignored(ignore, (normals.shape[1], normals.shape[2])) == 0
    pairs = [_plant(image, rng, outside) for image in normals for _ in range(repeats)]
    return Planted(np.stack([image for image, _ in pairs]), [mask for _, mask in pairs])


def _plant(
    image: NDArray[np.uint8], rng: np.random.Generator, outside: NDArray[np.bool_]
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A defect that is at least partly outside the ignored regions."""
    for _ in range(_TRIES):
        planted, mask = plant(image, rng)
        seen = mask & outside
        if seen.any():
            break
    return np.where(outside[..., None], planted, image), seen


def _chosen(table: Mapping[ScoreDefinition, float]) -> Choice:
    first, best = next(iter(table)), max(table, key=lambda score: table[score])
    taken = best if table[best] > table[first] + MARGIN else first
    reason = (
        f"{table[taken]:.4f} on planted defects (mean of image AUROC, pixel AUROC and AUPRO); "
        f"the first of {len(table)} candidates reached {table[first]:.4f}, the best "
        f"{table[best]:.4f}; another than the first is taken when better by {MARGIN}"
    )
    score = taken.model_copy(update={"reason": reason})
    return Choice(score, {describe(score): value for score, value in table.items()})


def _shrunk(mask: NDArray[np.bool_], size: tuple[int, ...]) -> NDArray[np.bool_]:
    """`mask` at the first level's (h, w); a defect too thin for half a pixel keeps all it hits."""
    covered = cv2.resize(mask.astype(np.float32), size[::-1], interpolation=cv2.INTER_AREA)
    half = np.asarray(covered >= 0.5)
    return half if half.any() else np.asarray(covered > 0)


def quality(
    score: ScoreDefinition,
    clean: LevelMaps,
    defective: LevelMaps,
    masks: Sequence[NDArray[np.bool_]],
) -> float:
    """How well `score` detects planted defects: mean of image AUROC, pixel AUROC and AUPRO.

    Args:
        score: the definition.
        clean: level maps of normal images; the levels' statistics are taken from them.
        defective: level maps of images with a defect each.
        masks: of those, at one size.
    """
    statistics = level_statistics(clean, score.normalise)
    size = masks[0].shape
    nothing = np.zeros(size, bool)
    stream, labels, scores = PixelStream(), [], []
    for levels, image_masks in ((clean, [nothing] * len(clean[0])), (defective, masks)):
        for index, mask in enumerate(image_masks):
            full = anomaly_map([level[index] for level in levels], score, statistics, size)
            stream.add(full, mask)
            labels.append(int(mask.any()))
            scores.append(image_score(full))
    pixels = stream.overall()
    parts = (image_auroc(labels, scores), pixels.auroc, pixels.aupro)
    return float(np.mean([part or 0.0 for part in parts]))
