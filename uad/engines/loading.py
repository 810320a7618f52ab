"""Choose an engine by what is installed and what was asked for."""

import os
from pathlib import Path

from uad.bundle import Bundle
from uad.devices import parse_device
from uad.engines.base import Engine
from uad.engines.onnxruntime import OnnxRuntimeEngine
from uad.errors import EngineError


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
        engine: `auto` or `onnxruntime`.
        device: one, `cpu`.
        precision: `fp32`; None for the engine's own default.
        threads: of one inference; None for one a physical core.

    Raises:
        EngineError: the engine, device or precision cannot be had here, with the cure.
    """
    device = parse_device(device)
    if engine not in ("auto", "onnxruntime"):
        raise EngineError(f"no engine {engine!r}: use auto or onnxruntime")
    if device != "cpu":
        raise EngineError(f"no device {device!r} here: use cpu")
    if precision not in (None, "fp32"):
        raise EngineError(f"no precision {precision!r}: use fp32")
    return OnnxRuntimeEngine(bundle.model_path, "fp32", threads or physical_cores())


def physical_cores() -> int:
    """Physical cores this process may use; more threads than that make inference slower."""
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    if allowed is None:
        return max(1, (os.cpu_count() or 2) // 2)
    cores = {_core(cpu) for cpu in allowed}
    return max(1, len(cores))


def _core(cpu: int) -> tuple[str, str]:
    topology = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology")
    try:
        package = (topology / "physical_package_id").read_text().strip()
        return package, (topology / "core_id").read_text().strip()
    except OSError:
        return str(cpu), ""
