"""Paddle, set up for speed. Import it from here, never directly.

Paddle reads its environment when it is loaded, so the fast path is set up before:

- its MKL looks for an Intel processor and takes a slow path on others; naming the instruction set
  that the processor really has makes matrix products up to five times faster;
- one thread a physical core: more make convolutions slower.

`require` refuses the devices that it has not.
"""

import contextlib
import io
import logging
import os
import platform
import signal
import threading
import warnings
from collections.abc import Sequence
from pathlib import Path

import psutil

from uad.errors import EngineError

CPUINFO = Path("/proc/cpuinfo")


def environment(cpuinfo: str, cores: int) -> dict[str, str]:
    """The variables that make Paddle fast on the processor that `cpuinfo` describes."""
    chosen = {"OMP_NUM_THREADS": str(cores)}
    flags = next((line for line in cpuinfo.splitlines() if line.startswith("flags")), "").split()
    if "GenuineIntel" not in cpuinfo:
        if {"avx512f", "avx512bw", "avx512dq", "avx512vl"} <= set(flags):
            chosen["MKL_DEBUG_CPU_TYPE"] = "7"
        elif "avx2" in flags:
            chosen["MKL_DEBUG_CPU_TYPE"] = "5"
    return chosen


def _prepare() -> None:
    readable = platform.machine() in {"x86_64", "AMD64"} and CPUINFO.is_file()
    cores = psutil.cpu_count(logical=False) or os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        cores = min(cores, len(os.sched_getaffinity(0)))
    for name, value in environment(CPUINFO.read_text() if readable else "", cores).items():
        os.environ.setdefault(name, value)


_prepare()
_handlers, _level = list(logging.root.handlers), logging.root.level
_on_terminate = signal.getsignal(signal.SIGTERM)
with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
    # It warns of a missing ccache, and of more than one OpenMP thread.
    warnings.simplefilter("ignore")
    import paddle
    from paddle import nn
# Paddle installs a root handler at INFO, which floods every other library's log.
logging.root.handlers[:] = _handlers
logging.root.setLevel(_level)
# It also handles SIGTERM and aborts. A cancelled training must still close things.
paddle.disable_signal_handler()
if threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGTERM, _on_terminate or signal.SIG_DFL)

__all__ = ["environment", "nn", "paddle", "require"]


def require(devices: Sequence[str]) -> None:
    """Refuse devices (`uad.config.choices`) that the installed Paddle cannot use here.

    Raises:
        EngineError: some are not there; names them, and the cure.
    """
    kind = devices[0].partition(":")[0]
    if kind == "cpu":
        return
    count = _count(kind)
    missing = [device for device in devices if int(device.partition(":")[2]) >= (count or 0)]
    if missing:
        why = (
            f"The installed Paddle does not support {kind}. Install Paddle's {kind} build"
            if count is None
            else f"Paddle sees {count} {kind} devices on this machine. Name others"
        )
        raise EngineError(f"{', '.join(missing)} cannot be used. {why}, or use --device cpu")


def _count(kind: str) -> int | None:
    """How many devices of a kind there are; None if Paddle is not built for it."""
    if kind == "gpu":
        return int(paddle.device.cuda.device_count()) if paddle.is_compiled_with_cuda() else None
    if kind == "xpu":
        return int(paddle.device.xpu.device_count()) if paddle.is_compiled_with_xpu() else None
    if not paddle.device.is_compiled_with_custom_device(kind):
        return None
    found = paddle.device.get_available_custom_device() or []
    return sum(str(name).partition(":")[0] == kind for name in found)
