"""Choose an engine: what is installed, what the bundle is calibrated for, what was asked for."""

import logging
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from uad.bundle import INT8_MODEL, Bundle
from uad.config import InputSpec
from uad.config.choices import DEVICES, ENGINE_NAMES, PRECISIONS, parse_device
from uad.errors import EngineError
from uad.inference.engines import onnxruntime
from uad.inference.engines.base import Engine, physical_cores
from uad.inference.engines.onnxruntime import OnnxRuntimeEngine

log = logging.getLogger(__name__)

FASTEST = {
    "cpu": (
        ("openvino", "int8"),
        ("openvino", "bf16"),
        ("onnxruntime", "int8"),
        ("openvino", "fp32"),
        ("onnxruntime", "fp32"),
    ),
    "gpu": (("tensorrt", "fp16"),),
}
"""By kind of device, as measured (docs/inference.md): bf16 only where `bf16_pays`."""
EXTRAS = {"openvino": "openvino", "paddle": "cpu"}


def load_engine(
    bundle: Bundle,
    engine: str = "auto",
    *,
    device: str = "cpu",
    precision: str | None = None,
    threads: int | None = None,
) -> Engine:
    """Load a bundle's model.

    Args:
        bundle: a verified bundle.
        engine: `onnxruntime`, `openvino`, `paddle`, `tensorrt`; or `auto`, the first of them that
            is installed, runs on the device and at the precision, and has a calibration in the
            bundle if any has.
        device: one of `cpu`, `gpu:0`, `npu:0`, `xpu:0`, `mlu:0`.
        precision: `fp32`, `bf16`, `fp16` or `int8`; None for the engine's own default.
        threads: of one inference; None: one per physical core.

    Raises:
        EngineError: the engine, device or precision cannot be had here, with the cure.
    """
    one = parse_device(device)
    if engine == "auto":
        return _load(bundle, *_automatic(bundle, one, precision), one, threads)
    return _load(bundle, *_checked(engine, one, precision), one, threads)


def installed(engine: str) -> bool:
    """Whether an engine's library is there; nothing is imported but ONNX Runtime."""
    if engine == "tensorrt":
        return onnxruntime.offers("TensorrtExecutionProvider")
    return find_spec(engine) is not None


def _load(bundle: Bundle, engine: str, precision: str, device: str, threads: int | None) -> Engine:
    count = threads or physical_cores()
    if engine == "paddle":
        from uad.inference.engines.paddle import PaddleEngine

        return PaddleEngine(bundle, device, count)
    model = _model_file(bundle, engine, precision)
    return open_model(model, engine, precision, bundle.manifest.input, device, count)


def open_model(
    model: Path,
    engine: str,
    precision: str,
    spec: InputSpec,
    device: str = "cpu",
    threads: int | None = None,
) -> Engine:
    """Load an ONNX file that need not lie in a bundle; arguments as `load_engine`'s.

    Raises:
        EngineError: the engine runs no ONNX file, or cannot load this one.
    """
    count = threads or physical_cores()
    if engine == "openvino":
        from uad.inference.engines.openvino import OpenVinoEngine

        return OpenVinoEngine(model, precision, count)
    if engine == "tensorrt":
        providers = onnxruntime.tensorrt(device, precision, spec)
        return OnnxRuntimeEngine(model, precision, count, providers, name=engine)
    if engine == "onnxruntime":
        own = None if device == "cpu" else onnxruntime.cuda(device)
        return OnnxRuntimeEngine(model, precision, count, own)
    raise EngineError(f"{engine} cannot run an ONNX file. Use onnxruntime, openvino or tensorrt.")


def _checked(engine: str, device: str, precision: str | None) -> tuple[str, str]:
    """The engine and precision asked for; raises EngineError if they are not available."""
    if engine not in PRECISIONS:
        raise EngineError(f"There is no engine '{engine}'. Use auto, fastest, {ENGINE_NAMES}.")
    kind = device.partition(":")[0]
    if kind not in DEVICES[engine]:
        raise EngineError(
            f"{engine} does not run on {device}: use --device {' or '.join(DEVICES[engine])}, or "
            f"--engine {' or '.join(name for name in DEVICES if kind in DEVICES[name])}"
        )
    if precision not in (None, *PRECISIONS[engine]):
        raise EngineError(
            f"{engine} has no precision '{precision}': use {' or '.join(PRECISIONS[engine])}"
        )
    if engine in EXTRAS and not installed(engine):
        raise EngineError(f"{engine} is not installed: pip install 'uad[{EXTRAS[engine]}]'")
    return engine, precision or PRECISIONS[engine][0]


def bf16_pays(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether this processor computes faster in bf16 than in float32.

    With AMX, or an AMD one with bf16 instructions; on an Intel one with AVX-512 alone it was
    measured slower. Linux only; False elsewhere.
    """
    try:
        words = set(cpuinfo.read_text(encoding="utf-8").split())
    except OSError:
        return False
    return "amx_bf16" in words or {"AuthenticAMD", "avx512_bf16"} <= words


def by_speed(bundle: Bundle, device: str, precision: str | None) -> list[tuple[str, str]]:
    """Engine and precision of all that run here and that the bundle is calibrated for.

    Args:
        bundle: whose calibrations are looked at.
        device: see `load_engine`.
        precision: only those of this precision, where it is given.
    """
    one = parse_device(device)
    possible = list(_possible(one, precision))
    return [
        pair
        for pair in FASTEST.get(one.partition(":")[0], ())
        if pair in possible
        and "/".join(pair) in bundle.manifest.calibration
        and (pair[1] != "bf16" or bf16_pays())
    ]


def _automatic(bundle: Bundle, device: str, precision: str | None) -> tuple[str, str]:
    """The first available engine; engines with a calibration entry come first."""
    possible = list(_possible(device, precision))
    if not possible:
        raise EngineError(_nothing_for(device, precision))
    calibrated = [pair for pair in possible if "/".join(pair) in bundle.manifest.calibration]
    chosen = (calibrated or possible)[0]
    log.info("engine %s on %s, of %s", "/".join(chosen), device, ["/".join(p) for p in possible])
    return chosen


def _possible(device: str, precision: str | None) -> Iterator[tuple[str, str]]:
    kind = device.partition(":")[0]
    for engine, precisions in PRECISIONS.items():
        if kind not in DEVICES[engine] or not installed(engine):
            continue
        if (engine, kind) == ("onnxruntime", "gpu") and not onnxruntime.offers(
            "CUDAExecutionProvider"
        ):
            continue
        yield from ((engine, one) for one in precisions if precision in (None, one))


def _nothing_for(device: str, precision: str | None) -> str:
    kind = device.partition(":")[0]
    at = f" at {precision}" if precision else ""
    return (
        f"No installed engine runs on {device}{at}. Install Paddle's {kind} build"
        + (" or onnxruntime-gpu" if kind == "gpu" else "")
        + ", or use --device cpu"
    )


def _model_file(bundle: Bundle, engine: str, precision: str) -> Path:
    if precision != "int8":
        return bundle.model_path
    if INT8_MODEL not in bundle.manifest.files:
        raise EngineError(
            f"{bundle.path} has no int8 model: make one with `uad calibrate {bundle.path} "
            f"--data DATA --engine {engine} --precision int8`"
        )
    return bundle.path / INT8_MODEL
