"""Bundles with random weights, for tests of everything around a model."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from uad.bundle import Bundle, add_calibration, write_bundle
from uad.config import DetectorDefinition, InputSpec, PartDefinition, TrainingConfig
from uad.config.score import Distance, PartName
from uad.images import Image
from uad.inference.calibrate import calibration_entry
from uad.inference.detector import Scorer
from uad.inference.engines import load_engine
from uad.inference.features import feature_extractor
from uad.models.memory import FeatureSample, Memory, fit_memory
from uad.models.parts import EpochMetrics, Teacher, TrainedModel
from uad.models.resnet import Weights, random_weights
from uad.models.statistics import WholeImage, fit_whole_image
from uad.models.whitening import SecondMoments
from uad.scoring.maps import ScoreDefinition


def write_random_bundle(
    folder: Path,
    seed: int,
    *,
    width: int = 8,
    size: int = 32,
    distance: Distance = "mahalanobis",
    parts: Sequence[PartName] = ("student",),
) -> Path:
    """Channels of the first level, square input, calibrated with ONNX Runtime on 19 images."""
    rng = np.random.default_rng(seed)
    images = [rng.integers(0, 256, (size, size, 3), np.uint8) for _ in range(21)]
    config = TrainingConfig.model_validate(
        {"input": {"height": size, "width": size}, "model": {"width": width}}
    )
    teacher, spec = random_weights(width, 2 * seed + 1), InputSpec(height=size, width=size)
    alone = tuple(parts) == ("student",)
    memory, whole_image = (None, None) if alone else fitted(teacher, spec, images)
    model = TrainedModel(
        student=random_weights(width, 2 * seed) if "student" in parts else None,
        teacher=Teacher("random", "0" * 64, teacher),
        input=spec,
        memory=memory if "memory" in parts else None,
        whole_image=whole_image if "whole_image" in parts else None,
        detector=None if alone else definition(parts),
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


def fitted(teacher: Weights, spec: InputSpec, images: Sequence[Image]) -> tuple[Memory, WholeImage]:
    """The parts that need no training, of `images`."""
    sample = FeatureSample(len(images))
    with feature_extractor(teacher, spec) as extractor:
        features = extractor.of(np.stack(images))
    sample.add(features.patches.reshape(len(images), -1, features.patches.shape[-1]))
    return fit_memory(sample.features(), 20), fit_whole_image(features.moments)


def definition(parts: Sequence[PartName]) -> DetectorDefinition:
    """Weights and scales that nothing was measured for."""
    known: dict[PartName, PartDefinition] = {
        "student": PartDefinition(weight=0.5, typical=0.5, spread=0.1, map_weight=1, map_mean=0.4),
        "memory": PartDefinition(weight=1, typical=0.3, spread=0.2, map_weight=4, map_mean=0.1),
        "whole_image": PartDefinition(weight=0.5, typical=5, spread=0.1),
    }
    return DetectorDefinition.model_validate({name: known[name] for name in parts})


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
    found = [(one.score, float(one.anomaly_map.max())) for one in scorer.score(images)]
    golden = [scored.score for scored in scorer.score(bundle.golden())]
    entry = calibration_entry(bundle, found, golden, alpha=0.05, tolerance=1e-3)
    add_calibration(bundle, loaded.key, entry)
    loaded.close()
