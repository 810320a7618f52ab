"""OpenVINO on a CPU, at a named precision (its own default is bf16 on some processors)."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uad.errors import EngineError
from uad.inference.engines.base import LevelMaps

HINTS = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}
"""What everything but integer operations computes in, by precision."""


class OpenVinoEngine:
    """A graph compiled for one image at a time, which is as fast as batches are on a CPU.

    Safe to share between threads: they take turns.
    """

    name = "openvino"

    def __init__(self, model: Path, precision: str, threads: int) -> None:
        self.precision = precision
        self._request: Any = _compiled(model, precision, threads).create_infer_request()
        self._turn = threading.Lock()

    @property
    def key(self) -> str:
        """The key of its calibration entry."""
        return f"{self.name}/{self.precision}"

    def level_maps(self, batch: NDArray[np.uint8]) -> LevelMaps:
        """See `Engine.level_maps`."""
        with self._turn:
            images = [self._one(np.ascontiguousarray(image[None])) for image in batch]
        return [np.concatenate(level) for level in zip(*images, strict=True)]

    def close(self) -> None:
        """See `Engine.close`."""
        self._request = None

    def _one(self, image: NDArray[np.uint8]) -> LevelMaps:
        # The outputs are views of the request's memory: copied before the next image runs.
        found = self._request.infer([image], share_inputs=True, share_outputs=True)
        return [found[index].copy() for index in range(len(found))]


def _compiled(model: Path, precision: str, threads: int) -> Any:
    try:
        import openvino
    except ImportError as exc:
        raise EngineError("OpenVINO is not installed: pip install 'uad[openvino]'") from exc
    core = openvino.Core()
    if precision == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise EngineError("this processor has no bf16 instructions: use --precision fp32 or int8")
    options = {
        "INFERENCE_PRECISION_HINT": HINTS[precision],
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
    }
    try:
        network = core.read_model(model)
        _, *sides = network.input().partial_shape
        network.reshape([1, *(side.get_length() for side in sides)])
        return core.compile_model(network, "CPU", options)
    except RuntimeError as exc:
        raise EngineError(f"OpenVINO cannot load {model}: {exc}") from exc
