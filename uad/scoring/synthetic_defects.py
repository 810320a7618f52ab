"""Synthetic defects for judging on normal images alone: planted, with their masks.

Three kinds, since real defects differ: a patch moved elsewhere (CutPaste, Li et al., CVPR 2021), a
foreign texture behind a cloud-shaped mask (DRAEM, Zavrtanik et al., ICCV 2021; the texture comes
from the same image, turned and recoloured), and a thin scratch.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from uad.images import Image

Mask = NDArray[np.bool_]


def plant(image: Image, rng: np.random.Generator) -> tuple[Image, Mask]:
    """A copy of `image`, (H, W, 3) uint8 BGR, with one defect, and where it is, (H, W) bool."""
    kinds = (_moved_patch, _foreign_texture, _scratch)
    while True:
        changed, mask = kinds[rng.integers(len(kinds))](image, rng)
        different = np.abs(changed.astype(np.int16) - image).max(axis=2) > 8
        mask &= different
        if mask.sum() >= 16:
            return changed, mask


def _moved_patch(image: Image, rng: np.random.Generator) -> tuple[Image, Mask]:
    height, width = image.shape[:2]
    area = rng.uniform(0.003, 0.03) * height * width
    aspect = np.exp(rng.uniform(-1.2, 1.2))
    h = int(np.clip(np.sqrt(area * aspect), 4, height // 2))
    w = int(np.clip(np.sqrt(area / aspect), 4, width // 2))
    top, left = (rng.integers(0, size) for size in (height - h, width - w))
    patch = image[top : top + h, left : left + w][:: rng.choice([-1, 1]), :: rng.choice([-1, 1])]
    top, left = (rng.integers(0, size) for size in (height - h, width - w))
    changed, mask = image.copy(), np.zeros((height, width), bool)
    changed[top : top + h, left : left + w] = _recoloured(patch, rng)
    mask[top : top + h, left : left + w] = True
    return changed, mask


def _foreign_texture(image: Image, rng: np.random.Generator) -> tuple[Image, Mask]:
    height, width = image.shape[:2]
    cells = int(rng.integers(3, 9))
    noise = rng.random((cells, cells), np.float32)
    cloud = cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    mask = np.asarray(cloud > np.quantile(cloud, rng.uniform(0.95, 0.99)))
    shifted = np.roll(image, tuple(rng.integers(0, (height, width))), axis=(0, 1))
    texture = _recoloured(np.ascontiguousarray(shifted[::-1]), rng)
    opacity = rng.uniform(0.4, 1.0)
    mixed = (1 - opacity) * image + opacity * texture
    return np.where(mask[..., None], mixed, image).astype(np.uint8), mask


def _scratch(image: Image, rng: np.random.Generator) -> tuple[Image, Mask]:
    height, width = image.shape[:2]
    steps = rng.normal(0, 0.06 * min(height, width), (int(rng.integers(3, 7)), 2))
    path = np.cumsum(steps, axis=0) + rng.uniform(0.2, 0.8, 2) * (width, height)
    mask = np.zeros((height, width), np.uint8)
    thickness = int(rng.integers(1, max(2, min(height, width) // 64) + 1))
    cv2.polylines(mask, [path.astype(np.int32)], isClosed=False, color=1, thickness=thickness)
    ink = np.clip(image.mean() + rng.choice([-1, 1]) * rng.uniform(30, 110), 0, 255)
    opacity = rng.uniform(0.5, 1.0)
    mixed = (1 - opacity) * image + opacity * ink
    hit = mask > 0
    return np.where(hit[..., None], mixed, image).astype(np.uint8), hit


def _recoloured(patch: Image, rng: np.random.Generator) -> Image:
    gain, offset = rng.uniform(0.7, 1.3), rng.uniform(-40, 40)
    return np.asarray(np.clip(patch * gain + offset, 0, 255), np.uint8)
