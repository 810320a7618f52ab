"""Paddle itself, on every device that it has; on a CPU through its inference library and oneDNN."""

import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uad.bundle import Bundle
from uad.config import InputSpec
from uad.errors import EngineError
from uad.models.parts import Parts
from uad.scoring.maps import LEVELS, MEMORY, WHOLE_IMAGE, Outputs

Run = Callable[[NDArray[np.uint8]], Outputs]


class PaddleEngine:
    """The bundle's weights in Paddle. Safe to share between threads: they take turns."""

    name = "paddle"
    precision = "fp32"

    def __init__(self, bundle: Bundle, device: str, threads: int) -> None:
        _require(device)
        self._run: Run | None = (
            _on_cpu(bundle, threads) if device == "cpu" else _on_device(bundle, device)
        )
        self._turn = threading.Lock()

    @property
    def key(self) -> str:
        """The key of its calibration entry."""
        return f"{self.name}/{self.precision}"

    def outputs(self, batch: NDArray[np.uint8]) -> Outputs:
        """See `Engine.outputs`."""
        if self._run is None:
            raise EngineError("This engine was closed. Load the model again.")
        with self._turn:
            return self._run(np.ascontiguousarray(batch))

    def close(self) -> None:
        """See `Engine.close`."""
        self._run = None


def _require(device: str) -> None:
    """Refuse a device that the installed Paddle cannot use."""
    try:
        from uad.models.paddle_runtime import require
    except ImportError as exc:
        raise EngineError("Paddle is not installed: pip install 'uad[cpu]' or 'uad[gpu]'") from exc
    require([device])


def _network(parts: Parts, spec: InputSpec) -> Any:
    """uint8 BGR images to the outputs that `_names` names, as a Paddle layer."""
    from uad.models.backbone import Pyramid
    from uad.models.paddle_parts import MemoryDistance, WholeImageDistance
    from uad.models.paddle_runtime import paddle
    from uad.models.stfpm import mahalanobis, unit

    width = len(parts.teacher["bn1.weight"])

    class Network(paddle.nn.Layer):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.teacher = Pyramid(width).load(parts.teacher).frozen()
            if parts.student is not None:
                self.student = Pyramid(width).load(parts.student).frozen()
            if parts.memory is not None:
                self.memory = MemoryDistance(parts.memory)
            if parts.whole_image is not None:
                self.whole_image = WholeImageDistance(parts.whole_image)
            self.register_buffer("mean", paddle.to_tensor(np.asarray(spec.mean, np.float32) * 255))
            self.register_buffer("std", paddle.to_tensor(np.asarray(spec.std, np.float32) * 255))
            for level, whitening in enumerate(parts.whitenings or []):
                self.register_buffer(f"whitening{level}", paddle.to_tensor(whitening))

        def forward(self, image: Any) -> list[Any]:
            pixels = (image.astype("float32").flip(-1) - self.mean) / self.std  # (N, H, W, 3) RGB
            pixels = pixels.transpose([0, 3, 1, 2])
            levels = self.teacher(pixels)
            found = [] if parts.student is None else self.distances(levels, self.student(pixels))
            if parts.memory is not None:
                found.append(self.memory(levels))
            if parts.whole_image is not None:
                found.append(self.whole_image(levels))
            return found

        def distances(self, teacher: list[Any], student: list[Any]) -> list[Any]:
            pairs = zip(teacher, student)  # noqa: B905  (traced)
            if parts.whitenings is None:
                return [1.0 - (unit(t) * unit(s)).sum(axis=1) for t, s in pairs]
            matrices = [getattr(self, f"whitening{level}") for level in range(len(teacher))]
            return [mahalanobis(unit(t), s, w) for (t, s), w in zip(pairs, matrices)]  # noqa: B905

    network = Network()
    network.eval()
    return network


def _names(parts: Parts) -> list[str]:
    """Of the network's outputs, in their order."""
    names = list(LEVELS) if parts.student is not None else []
    names += [MEMORY] if parts.memory is not None else []
    return names + ([WHOLE_IMAGE] if parts.whole_image is not None else [])


def _on_device(bundle: Bundle, device: str) -> Run:
    from uad.models.paddle_runtime import paddle

    paddle.set_device(device)
    parts = bundle.parts()
    network, names = _network(parts, bundle.manifest.input), _names(parts)

    def run(batch: NDArray[np.uint8]) -> Outputs:
        paddle.set_device(device)  # Paddle remembers it by thread
        with paddle.no_grad():
            found = network(paddle.to_tensor(batch))
        return {name: output.numpy() for name, output in zip(names, found, strict=True)}

    return run


def _on_cpu(bundle: Bundle, threads: int) -> Run:
    """Three times as fast as running the layers one by one."""
    from uad.models.paddle_runtime import paddle

    parts, spec = bundle.parts(), bundle.manifest.input
    image = paddle.static.InputSpec([None, spec.height, spec.width, 3], "uint8", "image")
    with tempfile.TemporaryDirectory() as folder:
        paddle.jit.save(_network(parts, spec), f"{folder}/model", input_spec=[image])
        predictor = _predictor(Path(folder), threads)
    entry = predictor.get_input_handle("image")
    exits = [predictor.get_output_handle(name) for name in predictor.get_output_names()]
    names = _names(parts)

    def run(batch: NDArray[np.uint8]) -> Outputs:
        entry.copy_from_cpu(batch)
        predictor.run()
        found = [handle.copy_to_cpu() for handle in exits]
        return dict(zip(names, found, strict=True))

    return run


def _predictor(folder: Path, threads: int) -> Any:
    from paddle import inference

    config = inference.Config(f"{folder}/model.json", f"{folder}/model.pdiparams")
    config.disable_gpu()
    config.enable_mkldnn()
    config.set_cpu_math_library_num_threads(threads)
    config.disable_glog_info()
    return inference.create_predictor(config)
