"""What all demo scenes share: smooth noise, soft blobs, and the camera."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.float32]
"""(H, W, 3) BGR light before the camera; 1 is white."""
Field = NDArray[np.floating[Any]]
"""(H, W)."""
Mask = NDArray[np.uint8]
"""(H, W), 0 or 255."""


def smooth(rng: np.random.Generator, size: int, cells: tuple[int, int]) -> Field:
    """Noise of about unit spread with `cells` = (rows, columns) of features over the image."""
    coarse = rng.normal(size=(cells[0] + 3, cells[1] + 3)).astype(np.float32)
    fine = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    return np.asarray(fine, np.float32)


def grid(size: int) -> tuple[Field, Field]:
    """Pixel coordinates (y, x), each (H, W)."""
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    return y, x


def blob(
    rng: np.random.Generator,
    centre: tuple[float, float],
    radius: float,
    size: int,
    ragged: float = 0.22,
) -> Field:
    """A ragged, stretched spot around `centre` = (y, x): positive inside, falling off outside."""
    y, x = grid(size)
    turn, stretch = rng.uniform(0, np.pi), rng.uniform(1.0, 1.7)
    dy, dx = y - centre[0], x - centre[1]
    along = (dx * np.cos(turn) + dy * np.sin(turn)) / stretch
    across = (dy * np.cos(turn) - dx * np.sin(turn)) * stretch**0.5
    cells = max(6, round(size / radius * 1.6))
    distance = np.sqrt(along**2 + across**2) / radius
    return np.asarray(1 - distance + ragged * smooth(rng, size, (cells, cells)), np.float32)


def curve(
    rng: np.random.Generator, centre: tuple[float, float], length: float, bend: float, size: int
) -> Field:
    """Distance in pixels to a gently bent line around `centre` = (y, x)."""
    steps = max(8, int(length / 2))
    heading = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, bend, steps)) / steps**0.5
    points = np.cumsum(np.stack([np.cos(heading), np.sin(heading)], 1), 0) * (length / steps)
    points += np.array(centre[::-1]) - points.mean(0)
    drawn = np.full((size, size), 255, np.uint8)
    fixed = (points * 16).round().astype(np.int32)
    cv2.polylines(drawn, [fixed], False, 0, 1, cv2.LINE_8, 4)
    return np.asarray(cv2.distanceTransform(drawn, cv2.DIST_L2, 5), np.float32)


def to_mask(inside: NDArray[np.bool_]) -> Mask:
    """255 where inside."""
    return np.where(inside, 255, 0).astype(np.uint8)


def photograph(scene: Picture, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Light falls off unevenly, the lens blurs a little, the sensor adds noise: (H, W, 3) uint8."""
    size = scene.shape[0]
    y, x = grid(size)
    slope = rng.uniform(-0.09, 0.09, 2)
    light = rng.normal(1.0, 0.035) + (slope[0] * (y / size - 0.5) + slope[1] * (x / size - 0.5))
    seen = cv2.GaussianBlur(scene * light[..., None].astype(np.float32), (0, 0), size / 400)
    noise = rng.normal(0, 1, scene.shape).astype(np.float32)
    seen = seen + noise * (0.008 + 0.01 * np.sqrt(np.clip(seen, 0, 1)))
    return np.asarray(np.clip(seen * 255, 0, 255).round(), np.uint8)
