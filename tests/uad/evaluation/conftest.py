"""A detector that calls bright pixels anomalous, and images made for it."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from uad.bundle import Bundle, CalibrationEntry, DatasetRef, Manifest, TeacherRef
from uad.config.training import InputSpec
from uad.data import Sample
from uad.inference.detector import Detection
from uad.scoring.conformal import conformal_threshold, p_value, unmet_alpha
from uad.scoring.maps import ScoreDefinition

Picture = NDArray[np.uint8]

MANIFEST = Manifest(
    uad_version="0.1.0",
    width=8,
    input=InputSpec(height=64, width=64),
    score=ScoreDefinition(),
    teacher=TeacherRef(id="random", sha256="0" * 64),
    dataset=DatasetRef(name="tiles", version="abc", train=8, selection=2, calibration=19),
    config={},
    metrics={},
    files={"model.onnx": "1" * 64},
)


@dataclass(frozen=True)
class Engine:
    key: str = "brightness/fp32"


class Brightness:
    """Has a Detector's interface; the anomaly map is the picture's brightness in [0, 1]."""

    def __init__(
        self,
        alpha: float = 0.05,
        calibration: Sequence[float] = (),
        images: Sequence[str] = (),
    ) -> None:
        scores = tuple(calibration or np.linspace(0.1, 0.5, 19))
        self.threshold, self.alpha = conformal_threshold(scores, alpha)
        self.calibration = CalibrationEntry(
            alpha=self.alpha,
            requested_alpha=alpha,
            threshold=self.threshold,
            scores=scores,
            golden_scores=(),
            images=tuple(images),
            tolerance=1e-3,
        )
        self.bundle = Bundle(Path("bundles/tiles"), MANIFEST)
        self.engine = Engine()
        self.requested_alpha = unmet_alpha(alpha, self.alpha)

    def map(self, image: Picture) -> NDArray[np.float32]:
        return image.mean(axis=2, dtype=np.float32) / np.float32(255)

    def detect(self, images: Sequence[Picture]) -> list[Detection]:
        maps = [self.map(image) for image in images]
        return [
            Detection(
                values,
                float(values.max()),
                threshold=self.threshold,
                alpha=self.alpha,
                p_value=p_value(float(values.max()), self.calibration.scores),
                map_threshold=self.threshold,
            )
            for values in maps
        ]


class Constant(Brightness):
    """Says the same of every pixel of every image."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = np.float32(value)

    def map(self, image: Picture) -> NDArray[np.float32]:
        return np.full(image.shape[:2], self.value)


AddSample = Callable[..., Sample]


@pytest.fixture
def add_sample(tmp_path: Path) -> AddSample:
    """Write a picture (and a mask) and give its Sample."""

    def add(
        name: str, picture: Picture, defect: str = "good", mask: Picture | None = None
    ) -> Sample:
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), picture)
        mask_path = path.with_name(path.stem + "_mask.png") if mask is not None else None
        if mask_path is not None:
            cv2.imwrite(str(mask_path), mask)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        size = (picture.shape[0], picture.shape[1])
        return Sample(path, int(defect != "good"), defect, mask_path, digest, size, name)

    return add


@pytest.fixture
def tiles(add_sample: AddSample) -> list[Sample]:
    """Six good pictures, four with a scratch, four with a (fainter) spot; 40 x 60 pixels.

    The first of each kind looks like a good one."""
    rng = np.random.default_rng(0)

    def noise() -> Picture:
        return rng.integers(0, 120, (40, 60, 1), np.uint8).repeat(3, axis=2)

    samples = [add_sample(f"test/good/{i}.png", noise()) for i in range(6)]
    for kind, box, level in (("scratch", np.s_[5:8, 10:50], 70), ("spot", np.s_[20:30, 5:15], 12)):
        for i in range(4):
            picture, mask = noise(), np.zeros((40, 60), np.uint8)
            picture[box] = np.clip(picture[box].astype(int) + level * i, 0, 255)
            mask[box] = 255
            samples.append(add_sample(f"test/{kind}/{i}.png", picture, kind, mask))
    return samples
