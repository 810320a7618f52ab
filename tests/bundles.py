"""Bundles with random weights, for tests of everything around a model."""

from pathlib import Path

import numpy as np

from uad.bundle import CalibrationEntry, add_calibration, write_bundle
from uad.calibration import conformal_threshold
from uad.config import InputSpec, TrainingConfig
from uad.detector import Scorer
from uad.engines import load_engine
from uad.resnet import random_weights
from uad.scoring import ScoreDefinition
from uad.types import EpochMetrics, Teacher, TrainedModel


def write_random_bundle(folder: Path, seed: int) -> Path:
    """Width 8, 32x32 input, calibrated with ONNX Runtime on 19 random images."""
    rng = np.random.default_rng(seed)
    images = [rng.integers(0, 256, (32, 32, 3), np.uint8) for _ in range(21)]
    config = TrainingConfig.model_validate(
        {"input": {"height": 32, "width": 32}, "model": {"width": 8}}
    )
    model = TrainedModel(
        student=random_weights(8, 2 * seed),
        teacher=Teacher("random", "0" * 64, random_weights(8, 2 * seed + 1)),
        input=InputSpec(height=32, width=32),
        score=ScoreDefinition(),
        statistics={},
        config=config,
        history=(EpochMetrics(1, {"train_loss": 1.0, "selection_loss": 0.5 + seed}),),
        chosen_epoch=1,
        golden=tuple(images[:2]),
    )
    bundle = write_bundle(folder, model)
    engine = load_engine(bundle, "onnxruntime")
    scores = [scored.score for scored in Scorer(bundle, engine).score(images)]
    threshold, alpha = conformal_threshold(scores[2:], 0.05)
    entry = CalibrationEntry(
        alpha=alpha,
        requested_alpha=0.05,
        threshold=threshold,
        scores=tuple(sorted(scores[2:])),
        golden_scores=tuple(scores[:2]),
        tolerance=1e-3,
    )
    add_calibration(bundle, engine.key, entry)
    engine.close()
    return folder
