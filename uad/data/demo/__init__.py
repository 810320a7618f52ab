"""Demo images: made by the project, seeded, in the MVTec layout.

They let you try the system without your own pictures. They say nothing about accuracy. There is a
woven texture that fills the image, and a metal part on a belt, each with three kinds of defects.
"""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from uad.data.demo import fabric, gear
from uad.data.demo.noise import Mask, Picture, photograph

Category = Callable[[np.random.Generator, int, str], tuple[Picture, Mask]]

_CATEGORIES: dict[str, tuple[Category, tuple[str, ...]]] = {
    "fabric": (fabric.make, fabric.DEFECTS),
    "gear": (gear.make, gear.DEFECTS),
}


def make_demo_images(
    folder: Path,
    *,
    seed: int = 0,
    size: int = 224,
    train: int = 48,
    test_good: int = 15,
    per_defect: int = 6,
) -> list[Path]:
    """Write the demo categories into `folder`, replacing demo images of an earlier call.

    Args:
        folder: where the category folders go.
        seed: the same seed gives the same images.
        size: height and width in pixels.
        train: normal images for training, selection and calibration.
        test_good: normal test images.
        per_defect: test images of each of the three kinds of defects, a mask each.

    Returns:
        The category folders, in the MVTec layout, for `ingest`.
    """
    made = []
    for number, (name, (make, defects)) in enumerate(_CATEGORIES.items()):
        root = Path(folder) / name
        groups = [("train/good", "", train), ("test/good", "", test_good)]
        groups += [(f"test/{defect}", defect, per_defect) for defect in defects]
        for part, (place, defect, count) in enumerate(groups):
            for index in range(count):
                rng = np.random.default_rng([seed, number, part, index])
                scene, mask = make(rng, size, defect)
                _write(root / place / f"{index:03}.png", photograph(scene, rng))
                if defect:
                    _write(root / "ground_truth" / defect / f"{index:03}_mask.png", mask)
        made.append(root)
    return made


def _write(path: Path, image: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    encoded = cv2.imencode(".png", image)[1]
    path.write_bytes(encoded.tobytes())
