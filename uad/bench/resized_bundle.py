"""A model at any input size for the benchmark, in a throw-away bundle."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from uad.bundle import Bundle, add_int8, write_bundle
from uad.config import (
    DetectorConfig,
    DetectorDefinition,
    InputSpec,
    PartDefinition,
    ScoreDefinition,
    TrainingConfig,
)
from uad.config.score import PartName
from uad.graph import build_int8
from uad.images import Image, resize
from uad.inference.quantization.quantize import measure_extremes
from uad.models.memory import COMPONENTS, Memory
from uad.models.parts import Teacher, TrainedModel
from uad.models.resnet import random_weights
from uad.models.statistics import WholeImage


@contextmanager
def resized(
    bundle: Bundle | None, size: int, width: int, names: Sequence[PartName] | None = None
) -> Iterator[Bundle]:
    """`bundle`'s weights (None: random ones of `width`) at `size` x `size` px, and in 8 bits.

    The ranges of the 8-bit model are those of the golden inputs. That is enough to measure its
    speed and its differences on these images. `uad calibrate` makes the model to serve.

    Args:
        bundle: whose weights are run.
        size: side of the input, pixels.
        width: of the random network.
        names: the parts of the detector to run; None for all that there are.
    """
    model = _model(bundle, size, width)
    if names is not None:
        model = _only(model, names)
    ranges = measure_extremes(model.parts(), model.input, model.golden).ranges()
    rounded = build_int8(model.parts(), model.input, ranges).SerializeToString()
    with tempfile.TemporaryDirectory() as folder:
        written = write_bundle(Path(folder) / "bundle", model)
        yield add_int8(written, rounded, {})


def _only(model: TrainedModel, names: Sequence[PartName]) -> TrainedModel:
    """`model` with these of its parts."""
    known = model.detector.parts() if model.detector else {}
    kept = {name: known[name] for name in names if name in known}
    return replace(
        model,
        student=model.student if "student" in names else None,
        memory=model.memory if "memory" in names else None,
        whole_image=model.whole_image if "whole_image" in names else None,
        detector=DetectorDefinition.model_validate(kept) if set(kept) - {"student"} else None,
    )


def batch_of(bundle: Bundle, count: int) -> NDArray[np.uint8]:
    """`count` of the golden inputs, repeated as needed, (count, H, W, 3)."""
    images = bundle.golden()
    return np.stack([images[index % len(images)] for index in range(count)])


def _model(bundle: Bundle | None, size: int, width: int) -> TrainedModel:
    if bundle is None:
        return _random_model(size, width)
    parts, manifest = bundle.parts(), bundle.manifest
    return TrainedModel(
        student=parts.student,
        teacher=Teacher("bench", "", parts.teacher),
        input=InputSpec(height=size, width=size),
        score=manifest.score,
        statistics=bundle.arrays("statistics"),
        config=_config(len(parts.teacher["conv1.weight"])),
        golden=tuple(resize(image, (size, size)) for image in bundle.golden()),
        memory=parts.memory,
        whole_image=parts.whole_image,
        detector=manifest.detector,
    )


def _random_model(size: int, width: int) -> TrainedModel:
    """All three parts, of the sizes that a training gives them; time depends on no value."""
    rng = np.random.default_rng(0)
    channels = (width, 2 * width, 4 * width)
    seen, moments = sum(channels[1:]), 2 * sum(channels)
    kept = min(COMPONENTS, seen)
    whitenings = {f"whitening{n}": np.eye(c, dtype=np.float32) for n, c in enumerate(channels, 1)}
    part = PartDefinition(weight=1.0, typical=1.0, spread=1.0, map_weight=1.0)
    return TrainedModel(
        student=random_weights(width, 0),
        teacher=Teacher("bench", "", random_weights(width, 1)),
        input=InputSpec(height=size, width=size),
        score=ScoreDefinition(distance="mahalanobis"),
        statistics=whitenings,
        config=_config(width),
        golden=tuple(_clouds(size, seed) for seed in range(3)),
        memory=Memory(
            np.zeros(seen, np.float32),
            np.eye(seen, kept, dtype=np.float32),
            rng.random((DetectorConfig().memory_features, kept), np.float32),
        ),
        whole_image=WholeImage(np.zeros(moments, np.float32), np.eye(moments, dtype=np.float32)),
        detector=DetectorDefinition(
            student=part, memory=part, whole_image=part.model_copy(update={"map_weight": 0.0})
        ),
    )


def _config(width: int) -> TrainingConfig:
    return TrainingConfig.model_validate({"input": {}, "model": {"width": width}})


def _clouds(size: int, seed: int) -> Image:
    """Smooth random colours with some grain."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0, 255, (8, 8, 3)).astype(np.float32)
    smooth = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    grain = rng.normal(0, 8, smooth.shape)
    return np.asarray(np.clip(smooth + grain, 0, 255), np.uint8)
