"""ONNX Runtime: the default engine on a CPU."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uad.engines.base import LevelMaps
from uad.errors import EngineError


class OnnxRuntimeEngine:
    """A graph in an ONNX Runtime session; safe to share between threads."""

    name = "onnxruntime"

    def __init__(self, model: Path, precision: str, threads: int) -> None:
        self.precision = precision
        self._session: Any = _session(model, threads)
        self._outputs = [output.name for output in self._session.get_outputs()]

    @property
    def key(self) -> str:
        """The key of its calibration entry."""
        return f"{self.name}/{self.precision}"

    def level_maps(self, batch: NDArray[np.uint8]) -> LevelMaps:
        """See `Engine.level_maps`."""
        maps: LevelMaps = self._session.run(self._outputs, {"image": np.ascontiguousarray(batch)})
        return maps

    def close(self) -> None:
        """See `Engine.close`."""
        self._session = None


def _session(model: Path, threads: int) -> Any:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Idle threads sleep: a server's workers share the cores with decoding and each other.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    except Exception as exc:  # onnxruntime raises a dozen unrelated types
        raise EngineError(f"ONNX Runtime cannot load {model}: {exc}") from exc
