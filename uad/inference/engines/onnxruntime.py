"""ONNX Runtime: the default engine on a CPU; CUDA and TensorRT through its providers."""

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uad.config import InputSpec
from uad.errors import EngineError
from uad.scoring.maps import Outputs
from uad.storage.paths import cache_dir

log = logging.getLogger(__name__)

Provider = tuple[str, dict[str, Any]]

REPLACED = "pip install --force-reinstall --no-deps onnxruntime-gpu (in place of onnxruntime)"
CURE = {
    "CUDAExecutionProvider": (f"pip install 'uad[cuda]', then {REPLACED}; or use --device cpu"),
    "TensorrtExecutionProvider": (
        f"pip install 'uad[tensorrt]', then {REPLACED}; or use --device cpu"
    ),
}
LARGEST_TENSORRT_BATCH = 32


class OnnxRuntimeEngine:
    """A graph in an ONNX Runtime session; safe to share between threads."""

    def __init__(
        self,
        model: Path,
        precision: str,
        threads: int,
        providers: list[Provider] | None = None,
        name: str = "onnxruntime",
    ) -> None:
        self.name = name
        self.precision = precision
        self._session: Any = _session(model, threads, providers or [("CPUExecutionProvider", {})])
        self._names = [output.name for output in self._session.get_outputs()]

    @property
    def key(self) -> str:
        """The key of its calibration entry."""
        return f"{self.name}/{self.precision}"

    def outputs(self, batch: NDArray[np.uint8]) -> Outputs:
        """See `Engine.outputs`."""
        found = self._session.run(self._names, {"image": np.ascontiguousarray(batch)})
        return dict(zip(self._names, found, strict=True))

    def close(self) -> None:
        """See `Engine.close`."""
        self._session = None


def cuda(device: str) -> list[Provider]:
    """The CUDA provider on `gpu:N`, in full float32 precision."""
    return [("CUDAExecutionProvider", {"device_id": _number(device), "use_tf32": "0"})]


def tensorrt(device: str, precision: str, spec: InputSpec) -> list[Provider]:
    """The TensorRT provider on `gpu:N`; its compiled engines are kept in the cache folder."""
    shape = f"x{spec.height}x{spec.width}x3"
    options = {
        "device_id": _number(device),
        "trt_fp16_enable": precision == "fp16",
        "trt_engine_cache_enable": True,
        "trt_engine_cache_path": str(cache_dir() / "tensorrt"),
        "trt_timing_cache_enable": True,
        "trt_profile_min_shapes": f"image:1{shape}",
        "trt_profile_opt_shapes": f"image:1{shape}",
        "trt_profile_max_shapes": f"image:{LARGEST_TENSORRT_BATCH}{shape}",
    }
    return [("TensorrtExecutionProvider", options), *cuda(device)]


def offers(provider: str) -> bool:
    """Whether the installed ONNX Runtime was built with `provider`."""
    import onnxruntime as ort

    return provider in ort.get_available_providers()


def _session(model: Path, threads: int, providers: list[Provider]) -> Any:
    import onnxruntime as ort

    wanted = providers[0][0]
    if not offers(wanted):
        raise EngineError(f"the installed ONNX Runtime has no {wanted}: {CURE[wanted]}")
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Idle threads sleep: a server's workers share the cores with decoding and each other.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        with _gpu_libraries() if wanted != "CPUExecutionProvider" else nullcontext():
            session = ort.InferenceSession(str(model), options, providers=providers)
    except Exception as exc:  # onnxruntime raises a dozen unrelated types
        raise EngineError(f"ONNX Runtime cannot load {model}: {exc}") from exc
    if session.get_providers()[0] != wanted:  # it falls back to the CPU with a warning only
        raise EngineError(
            f"ONNX Runtime could not start {wanted} (driver or libraries missing): {CURE[wanted]}"
        )
    return session


@contextmanager
def _gpu_libraries() -> Iterator[None]:
    """Load CUDA, cuDNN and TensorRT from pip's folders, where the system does not search.

    ONNX Runtime would print what is missing and use the CPU; uad refuses instead and says what to
    do.
    """
    import onnxruntime as ort

    with redirect_stdout(io.StringIO()):
        if find_spec("tensorrt_libs"):
            import_module("tensorrt_libs")  # loads them when imported
        ort.preload_dlls()
        yield


def _number(device: str) -> int:
    return int(device.partition(":")[2] or 0)
