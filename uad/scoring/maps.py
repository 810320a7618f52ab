"""The student's anomaly map, from its distance maps; `parts.py` joins it with the other parts.

numpy and OpenCV only: the same code scores in training, calibration, evaluation and serving.
"""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from uad.config import ScoreDefinition

Map = NDArray[np.float32]
Outputs = Mapping[str, NDArray[np.float32]]
"""A graph's outputs for N images, by name, N first: the student's distance maps `LEVELS`, each (N,
h_l, w_l), the largest first; `MEMORY`, (N, h, w) distances; `WHOLE_IMAGE`, (N,) distances. Parts
that the detector does not have are missing."""
LEVELS = ("map1", "map2", "map3")
MEMORY = "memory"
WHOLE_IMAGE = "whole_image"
Statistics = Mapping[str, NDArray[np.float32]]


def anomaly_map(
    level_maps: Sequence[Map],
    definition: ScoreDefinition,
    statistics: Statistics,
    size: tuple[int, int],
) -> Map:
    """As `combined`, at the image's own size (H, W)."""
    return resize_map(combined(level_maps, definition, statistics), size)


def combined(level_maps: Sequence[Map], definition: ScoreDefinition, statistics: Statistics) -> Map:
    """Combine the student's level maps of one image.

    Args:
        level_maps: per level an (h_l, w_l) float32 map of distances in [0, 2], largest first;
            the model's graph computes them, by `definition.distance`.
        definition: how to normalise, combine and smooth.
        statistics: per level `mean{l}`, a scalar or an (h_l, w_l) map, unless `normalise` is
            "none".

    Returns:
        float32, non-negative, of the first level's size.
    """
    finest = level_maps[0].shape
    total = (
        np.zeros(finest, np.float32) if definition.combine == "sum" else np.ones(finest, np.float32)
    )
    for level, (distances, weight) in enumerate(
        zip(level_maps, definition.weights, strict=True), start=1
    ):
        if definition.normalise != "none":
            distances = distances / statistics[f"mean{level}"]
        upsampled = resize_map(np.asarray(distances, np.float32), finest)
        if definition.combine == "sum":
            total += np.float32(weight) * upsampled
        else:
            total *= upsampled if weight == 1.0 else np.power(upsampled, np.float32(weight))
    if definition.smooth_sigma > 0:
        total = np.asarray(cv2.GaussianBlur(total, (0, 0), definition.smooth_sigma), np.float32)
    return total


def whitenings(definition: ScoreDefinition, statistics: Statistics) -> list[Map] | None:
    """Per level the (C_l, C_l) matrix that the model's graph applies; None for the cosine.

    See `uad.models.whitening`.
    """
    if definition.distance == "cosine":
        return None
    return [statistics[f"whitening{level}"] for level, _ in enumerate(definition.weights, start=1)]


def image_score(full_map: Map) -> float:
    """The map's maximum, so that verdict and label map agree by construction."""
    return float(full_map.max())


def describe(score: ScoreDefinition) -> str:
    """One line a person can read: `sum of mahalanobis maps x (0.5, 1, 1), smoothed by 1`."""
    weights = ", ".join(f"{weight:g}" for weight in score.weights)
    normalised = (
        "" if score.normalise == "none" else f", each divided by its {score.normalise} mean"
    )
    smoothed = f", smoothed by {score.smooth_sigma:g}" if score.smooth_sigma else ""
    return f"{score.combine} of {score.distance} maps x ({weights}){normalised}{smoothed}"


def resize_map(values: Map, size: tuple[int, int]) -> Map:
    """(H, W), interpolated linearly."""
    if values.shape == size:
        return values
    resized = cv2.resize(values, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
    return np.asarray(resized, np.float32)
