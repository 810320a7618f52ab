"""Bundles with random weights, for tests of everything around a model."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from uad.bundle import Bundle, CalibrationEntry, add_calibration, write_bundle
from uad.config import InputSpec, TrainingConfig
from uad.config.score import Distance
from uad.images import Image
from uad.inference.detector import Scorer
from uad.inference.engines import load_engine
from uad.models.resnet import random_weights
from uad.models.whitening import SecondMoments
from uad.scoring.conformal import conformal_threshold
from uad.scoring.maps import ScoreDefinition
from uad.types import EpochMetrics, Teacher, TrainedModel


def write_random_bundle(
    folder: Path, seed: int, *, width: int = 8, size: int = 32, distance: Distance = "mahalanobis"
) -> Path:
    """Channels of the first level, square input, calibrated with ONNX Runtime on 19 images."""
    rng = np.random.default_rng(seed)
    images = [rng.integers(0, 256, (size, size, 3), np.uint8) for _ in range(21)]
    config = TrainingConfig.model_validate(
        {"input": {"height": size, "width": size}, "model": {"width": width}}
    )
    model = TrainedModel(
        student=random_weights(width, 2 * seed),
        teacher=Teacher("random", "0" * 64, random_weights(width, 2 * seed + 1)),
        input=InputSpec(height=size, width=size),
        score=ScoreDefinition(distance=distance),
        statistics=random_whitenings(width, rng) if distance == "mahalanobis" else {},
        config=config,
        history=(EpochMetrics(1, {"train_loss": 1.0, "selection_loss": 0.5 + seed}),),
        chosen_epoch=1,
        golden=tuple(images[:2]),
    )
    bundle = write_bundle(folder, model)
    calibrate(bundle, "onnxruntime", images[2:])
    return folder


def random_whitenings(width: int, rng: np.random.Generator) -> dict[str, NDArray[np.float32]]:
    """As of differences that lie mostly in a few directions."""
    moments = SecondMoments(levels=3)
    channels = [width, 2 * width, 4 * width]
    moments.add([rng.normal(size=(c, c // 4)).astype(np.float32) for c in channels])
    return moments.whitening()


def calibrate(bundle: Bundle, engine: str, images: Sequence[Image]) -> None:
    """Set the threshold of one more engine from images in memory."""
    loaded = load_engine(bundle, engine, precision="fp32")
    scorer = Scorer(bundle, loaded)
    scores = [scored.score for scored in scorer.score(images)]
    threshold, alpha = conformal_threshold(scores, 0.05)
    entry = CalibrationEntry(
        alpha=alpha,
        requested_alpha=0.05,
        threshold=threshold,
        scores=tuple(sorted(scores)),
        golden_scores=tuple(scored.score for scored in scorer.score(bundle.golden())),
        tolerance=1e-3,
    )
    add_calibration(bundle, loaded.key, entry)
    loaded.close()
