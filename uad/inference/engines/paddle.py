"""Paddle itself, on every device that it has; on a CPU through its inference library and oneDNN."""

import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uad.bundle import Bundle
from uad.errors import EngineError
from uad.inference.engines.base import LevelMaps
from uad.scoring.maps import whitenings

Run = Callable[[NDArray[np.uint8]], LevelMaps]


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

    def level_maps(self, batch: NDArray[np.uint8]) -> LevelMaps:
        """See `Engine.level_maps`."""
        if self._run is None:
            raise EngineError("this engine was closed: load the model again")
        with self._turn:
            return self._run(np.ascontiguousarray(batch))

    def close(self) -> None:
        """See `Engine.close`."""
        self._run = None


def _require(device: str) -> None:
    """Refuse a device that the installed Paddle cannot use."""
    try:
        from uad.paddle_runtime import require
    except ImportError as exc:
        raise EngineError("Paddle is not installed: pip install 'uad[cpu]' or 'uad[gpu]'") from exc
    require([device])


def _network(bundle: Bundle) -> Any:
    """uint8 BGR images to level maps, as a Paddle layer."""
    from uad.models.backbone import Pyramid
    from uad.models.stfpm import mahalanobis, unit
    from uad.paddle_runtime import paddle

    spec = bundle.manifest.input
    found = whitenings(bundle.manifest.score, bundle.arrays("statistics"))

    class Network(paddle.nn.Layer):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            width = bundle.manifest.width
            self.teacher = Pyramid(width).load(bundle.arrays("teacher")).frozen()
            self.student = Pyramid(width).load(bundle.arrays("student")).frozen()
            self.register_buffer("mean", paddle.to_tensor(np.asarray(spec.mean, np.float32) * 255))
            self.register_buffer("std", paddle.to_tensor(np.asarray(spec.std, np.float32) * 255))
            for level, whitening in enumerate(found or []):
                self.register_buffer(f"whitening{level}", paddle.to_tensor(whitening))

        def forward(self, image: Any) -> list[Any]:
            pixels = (image.astype("float32").flip(-1) - self.mean) / self.std  # (N, H, W, 3) RGB
            pixels = pixels.transpose([0, 3, 1, 2])
            pairs = zip(self.teacher(pixels), self.student(pixels))  # noqa: B905  (traced)
            if found is None:
                return [1.0 - (unit(t) * unit(s)).sum(axis=1) for t, s in pairs]
            matrices = [getattr(self, f"whitening{level}") for level in range(len(found))]
            return [mahalanobis(unit(t), s, w) for (t, s), w in zip(pairs, matrices)]  # noqa: B905

    network = Network()
    network.eval()
    return network


def _on_device(bundle: Bundle, device: str) -> Run:
    from uad.paddle_runtime import paddle

    paddle.set_device(device)
    network = _network(bundle)

    def run(batch: NDArray[np.uint8]) -> LevelMaps:
        paddle.set_device(device)  # Paddle remembers it by thread
        with paddle.no_grad():
            return [level.numpy() for level in network(paddle.to_tensor(batch))]

    return run


def _on_cpu(bundle: Bundle, threads: int) -> Run:
    """Three times as fast as running the layers one by one."""
    from uad.paddle_runtime import paddle

    spec = bundle.manifest.input
    image = paddle.static.InputSpec([None, spec.height, spec.width, 3], "uint8", "image")
    with tempfile.TemporaryDirectory() as folder:
        paddle.jit.save(_network(bundle), f"{folder}/model", input_spec=[image])
        predictor = _predictor(Path(folder), threads)
    entry = predictor.get_input_handle("image")
    exits = [predictor.get_output_handle(name) for name in predictor.get_output_names()]

    def run(batch: NDArray[np.uint8]) -> LevelMaps:
        entry.copy_from_cpu(batch)
        predictor.run()
        return [handle.copy_to_cpu() for handle in exits]

    return run


def _predictor(folder: Path, threads: int) -> Any:
    from paddle import inference

    config = inference.Config(f"{folder}/model.json", f"{folder}/model.pdiparams")
    config.disable_gpu()
    config.enable_mkldnn()
    config.set_cpu_math_library_num_threads(threads)
    config.disable_glog_info()
    return inference.create_predictor(config)
