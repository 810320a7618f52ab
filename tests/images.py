"""Small synthetic parts: stripes, with a rough patch as the defect."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.uint8]


def part(seed: int, *, size: tuple[int, int] = (48, 64)) -> Array:
    """A good part, (H, W, 3) uint8 BGR: diagonal stripes with noise and a changing brightness."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: size[0], : size[1]]
    stripes = 120 + 50 * np.sin((x + y) / 3.0 + rng.uniform(0, 6))
    noisy = stripes + rng.normal(0, 6, size) + rng.uniform(-10, 10)
    return np.repeat(np.clip(noisy, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def defective(seed: int, *, size: tuple[int, int] = (48, 64)) -> tuple[Array, Array]:
    """A part with a planted defect, and its mask (H, W) uint8 0/255."""
    rng = np.random.default_rng([seed, 1])
    image, mask = part(seed, size=size), np.zeros(size, np.uint8)
    centre = (int(rng.integers(14, size[1] - 14)), int(rng.integers(14, size[0] - 14)))
    cv2.circle(mask, centre, 9, 255, -1)
    image[mask > 0] = rng.choice([0, 255], size=(np.count_nonzero(mask), 1))
    return image, mask


def write_mvtec(folder: Path, *, train: int = 40, good: int = 8, bad: int = 8) -> Path:
    """An MVTec AD folder of such parts."""
    for kind, count, start in (("train/good", train, 0), ("test/good", good, 1000)):
        (folder / kind).mkdir(parents=True)
        for index in range(count):
            cv2.imwrite(str(folder / kind / f"{index:03}.png"), part(start + index))
    for kind in ("test/rough", "ground_truth/rough"):
        (folder / kind).mkdir(parents=True)
    for index in range(bad):
        image, mask = defective(2000 + index)
        cv2.imwrite(str(folder / f"test/rough/{index:03}.png"), image)
        cv2.imwrite(str(folder / f"ground_truth/rough/{index:03}_mask.png"), mask)
    return folder
