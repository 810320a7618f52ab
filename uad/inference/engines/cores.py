"""How many threads one inference should have."""

import os
from pathlib import Path


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
