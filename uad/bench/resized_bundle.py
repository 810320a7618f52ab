"""A model at any input size for the benchmark, in a throw-away bundle."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from uad.bundle import Bundle, add_int8, write_bundle
from uad.config import InputSpec, ScoreDefinition, TrainingConfig
from uad.config.score import Distance
from uad.images import Image, resize
from uad.inference.graph import build_int8
from uad.inference.quantization.quantize import measure_extremes
from uad.models.parts import Teacher, TrainedModel
from uad.models.resnet import Weights, random_weights


@contextmanager
def resized(bundle: Bundle | None, size: int, width: int) -> Iterator[Bundle]:
    """`bundle`'s weights (None: random ones of `width`) at `size` x `size` px, and in 8 bits.

    The ranges of the 8-bit model are those of the golden inputs. That is enough to measure its
    speed and its differences on these images. `uad calibrate` makes the model to serve.
    """
    student, teacher, images = _parts(bundle, size, width)
    distance, matrices = _distance(bundle, width)
    spec = InputSpec(height=size, width=size)
    channels = len(student["conv1.weight"])
    config = TrainingConfig.model_validate({"input": {}, "model": {"width": channels}})
    model = TrainedModel(
        student=student,
        teacher=Teacher("bench", "", teacher),
        input=spec,
        score=ScoreDefinition(distance=distance),
        statistics=matrices,
        config=config,
        golden=tuple(resize(image, (size, size)) for image in images),
    )
    ranges = measure_extremes(model.parts(), spec, model.golden).ranges()
    rounded = build_int8(model.parts(), spec, ranges).SerializeToString()
    with tempfile.TemporaryDirectory() as folder:
        written = write_bundle(Path(folder) / "bundle", model)
        yield add_int8(written, rounded, {})


def batch_of(bundle: Bundle, count: int) -> NDArray[np.uint8]:
    """`count` of the golden inputs, repeated as needed, (count, H, W, 3)."""
    images = bundle.golden()
    return np.stack([images[index % len(images)] for index in range(count)])


def _parts(bundle: Bundle | None, size: int, width: int) -> tuple[Weights, Weights, list[Image]]:
    if bundle is not None:
        return bundle.arrays("student"), bundle.arrays("teacher"), bundle.golden()
    images = [_clouds(size, seed) for seed in range(3)]
    return random_weights(width, 0), random_weights(width, 1), images


def _distance(bundle: Bundle | None, width: int) -> tuple[Distance, Weights]:
    """The bundle's own; for random weights the one that training takes, and leaves as it is."""
    if bundle is not None:
        return bundle.manifest.score.distance, bundle.arrays("statistics")
    levels = enumerate((width, 2 * width, 4 * width), start=1)
    return "mahalanobis", {f"whitening{n}": np.eye(c, dtype=np.float32) for n, c in levels}


def _clouds(size: int, seed: int) -> Image:
    """Smooth random colours with some grain."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0, 255, (8, 8, 3)).astype(np.float32)
    smooth = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    grain = rng.normal(0, 8, smooth.shape)
    return np.asarray(np.clip(smooth + grain, 0, 255), np.uint8)
