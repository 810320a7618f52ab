"""What the frozen teacher sees, on the fastest inference engine here: one pass, no Paddle.

The memory, the whole image's statistics and the search for suspects learn from it.
"""

import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from uad.config import InputSpec
from uad.data import Sample
from uad.graph import MOMENTS, PATCHES, build, build_features
from uad.images import Image, read
from uad.inference.engines import Engine, open_model
from uad.inference.engines.loading import installed
from uad.models.parts import Parts
from uad.models.resnet import Weights
from uad.scoring.maps import Outputs
from uad.scoring.zones import prepared

if TYPE_CHECKING:
    import onnx

BATCH = 8


@dataclass(frozen=True)
class Features:
    """Of N images."""

    patches: NDArray[np.float32]
    """(N, H / 16, W / 16, D): levels 2 and 3 side by side, a vector a location."""
    moments: NDArray[np.float32]
    """(N, D'): every level's channel means, then every level's standard deviations."""


class FeatureExtractor:
    """The teacher, ready to describe images at the input size."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def of(self, batch: NDArray[np.uint8]) -> Features:
        """(N, H, W, 3) uint8 BGR."""
        found: Outputs = self._engine.outputs(batch)
        return Features(found[PATCHES], found[MOMENTS])


@contextmanager
def feature_extractor(
    teacher: Weights, spec: InputSpec, *, as_directions: bool = False
) -> Iterator[FeatureExtractor]:
    """Load the teacher; `as_directions`: see `build_features`."""
    with _running(build_features(teacher, spec, as_directions=as_directions), spec) as engine:
        yield FeatureExtractor(engine)


def outputs_of(parts: Parts, spec: InputSpec, *groups: NDArray[np.uint8]) -> list[Outputs]:
    """What the parts say of groups of images at the input size, (N, H, W, 3) uint8 BGR each."""
    with _running(build(parts, spec), spec) as engine:
        return [_all_of(engine, images) for images in groups]


def _all_of(engine: Engine, images: NDArray[np.uint8]) -> Outputs:
    found = [
        engine.outputs(images[start : start + BATCH]) for start in range(0, len(images), BATCH)
    ]
    return {name: np.concatenate([one[name] for one in found]) for name in found[0]}


@contextmanager
def _running(model: "onnx.ModelProto", spec: InputSpec) -> Iterator[Engine]:
    """The model on OpenVINO where it is installed, else on ONNX Runtime; in float32."""
    name = "openvino" if installed("openvino") else "onnxruntime"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        file.write_bytes(model.SerializeToString())
        with closing(open_model(file, name, "fp32", spec)) as engine:
            yield engine


def decoded_batches(
    samples: Sequence[Sample], spec: InputSpec, *, size: int = BATCH
) -> Iterator[NDArray[np.uint8]]:
    """The samples' images at the input size, (N, H, W, 3) uint8 BGR; the next is read meanwhile."""

    def load(sample: Sample) -> Image:
        return prepared(read(sample.path), spec)

    starts = range(0, len(samples), size)
    with ThreadPoolExecutor() as pool:
        coming = [pool.submit(load, sample) for sample in samples[:size]]
        for start in starts:
            ready = coming
            following = samples[start + size : start + 2 * size]
            coming = [pool.submit(load, sample) for sample in following]
            yield np.stack([future.result() for future in ready])
