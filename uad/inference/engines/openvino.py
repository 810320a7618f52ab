"""OpenVINO on a CPU, at a named precision (its own default is bf16 on some processors)."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uad.errors import EngineError
from uad.scoring.maps import Outputs

HINTS = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}
"""What everything but integer operations computes in, by precision."""


class OpenVinoEngine:
    """A graph compiled for one image at a time, which is as fast as batches are on a CPU.

    Safe to share between threads: they take turns.
    """

    name = "openvino"

    def __init__(self, model: Path, precision: str, threads: int) -> None:
        self.precision = precision
        compiled, self._names = _compiled(model, precision, threads)
        self._request: Any = compiled.create_infer_request()
        self._turn = threading.Lock()

    @property
    def key(self) -> str:
        """The key of its calibration entry."""
        return f"{self.name}/{self.precision}"

    def outputs(self, batch: NDArray[np.uint8]) -> Outputs:
        """See `Engine.outputs`."""
        with self._turn:
            images = [self._one(np.ascontiguousarray(image[None])) for image in batch]
        return {name: np.concatenate([image[name] for image in images]) for name in self._names}

    def close(self) -> None:
        """See `Engine.close`."""
        self._request = None

    def _one(self, image: NDArray[np.uint8]) -> Outputs:
        # The outputs are views of the request's memory: copied before the next image runs.
        found = self._request.infer([image], share_inputs=True, share_outputs=True)
        return {name: found[index].copy() for index, name in enumerate(self._names)}


def _compiled(model: Path, precision: str, threads: int) -> tuple[Any, list[str]]:
    """The model, and its outputs' names, to which compiling may add those of inner values."""
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
        names = [output.any_name for output in network.outputs]
        return core.compile_model(network, "CPU", options), names
    except RuntimeError as exc:
        raise EngineError(f"OpenVINO cannot load {model}: {exc}") from exc
