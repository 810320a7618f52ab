"""Demo images: made, seeded, in the MVTec layout; for trying the system, not for claims."""

from pathlib import Path

import cv2
import numpy as np


def make_demo_images(folder: Path, *, seed: int = 0, size: int = 192) -> list[Path]:
    """Write the demo categories into `folder`; the category folders."""
    made = []
    for number, category in enumerate(("fabric", "washer")):
        root = folder / category
        rng = np.random.default_rng([seed, number])
        for index in range(48):
            _write(root / "train" / "good" / f"{index:03}.png", _image(category, rng, size))
        for index in range(15):
            _write(root / "test" / "good" / f"{index:03}.png", _image(category, rng, size))
        for defect in ("hole", "stain", "scratch"):
            for index in range(6):
                image = _image(category, rng, size)
                mask = np.zeros((size, size), np.uint8)
                y, x = rng.integers(size // 4, 3 * size // 4, 2)
                cv2.circle(mask, (int(x), int(y)), size // 16, 255, -1)
                image[mask > 0] = rng.integers(0, 255, 3)
                _write(root / "test" / defect / f"{index:03}.png", image)
                _write(root / "ground_truth" / defect / f"{index:03}_mask.png", mask)
        made.append(root)
    return made


def _image(category: str, rng: np.random.Generator, size: int) -> np.ndarray:
    image = rng.normal(128, 6, (size, size, 3))
    if category == "fabric":
        wave = np.sin(np.arange(size) / 2 + rng.uniform(0, 6))
        image += 30 * (wave[:, None] + wave[None, :])[..., None]
    else:
        disc = np.zeros((size, size), np.uint8)
        centre = (size // 2 + int(rng.integers(-5, 6)), size // 2 + int(rng.integers(-5, 6)))
        cv2.circle(disc, centre, size // 3, 1, -1)
        cv2.circle(disc, centre, size // 8, 0, -1)
        image += 70 * disc[..., None] - 40
    return np.clip(image, 0, 255).astype(np.uint8)


def _write(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".png", image)[1].tobytes())
