"""What every engine offers, and how many threads one inference should have."""

import os
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from uad.scoring.maps import Outputs


class Engine(Protocol):
    """A loaded model. Results do not depend on how images are batched."""

    @property
    def name(self) -> str:
        """For example `onnxruntime`."""
        ...

    @property
    def precision(self) -> str:
        """What it computes in: `fp32`, `bf16`, `int8`."""
        ...

    @property
    def key(self) -> str:
        """`name/precision`, the key of its calibration entry in a bundle."""
        ...

    def outputs(self, batch: NDArray[np.uint8]) -> Outputs:
        """Run a batch (N, H, W, 3) uint8 BGR at the bundle's input size."""
        ...

    def close(self) -> None:
        """Release the model's memory; the engine cannot be used afterwards."""
        ...


def physical_cores() -> int:
    """Physical cores this process may use; more threads than that make inference slower."""
    if not hasattr(os, "sched_getaffinity"):
        return max(1, (os.cpu_count() or 2) // 2)
    return max(1, len({_core(cpu) for cpu in os.sched_getaffinity(0)}))


def _core(cpu: int) -> tuple[str, str]:
    topology = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology")
    try:
        package = (topology / "physical_package_id").read_text().strip()
        return package, (topology / "core_id").read_text().strip()
    except OSError:
        return str(cpu), ""
