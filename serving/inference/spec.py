"""What an engine process is told to load."""

from pathlib import Path
from typing import Literal

from serving.settings import Limits, ServerSettings
from uad.config import Settings

ACCELERATOR_BATCH = 8


class EngineSpec(Settings):
    """One bundle on one engine, within limits."""

    bundle: str
    engine: str = "auto"
    device: str = "cpu"
    precision: str | None = None
    threads: int = 1
    batch: int = 1
    """Requests that are judged together when they wait together."""
    alpha: float | None = None
    threshold: float | None = None
    min_area: int | None = None
    visualize: bool = True
    niceness: int = 0
    """Of the process: 10 leaves the cores to others that want them."""
    limits: Limits = Limits()
    log_level: Literal["debug", "info", "warning", "error"] = "info"


def engine_spec(
    bundle: Path, settings: ServerSettings, niceness: int = 0, *, product: str = ""
) -> EngineSpec:
    """The spec of `bundle` under the server's settings, and those of its product."""
    decision = settings.decision(product)
    return EngineSpec(
        bundle=str(bundle.absolute()),
        engine=settings.engine,
        device=settings.device,
        precision=settings.precision,
        alpha=decision.alpha,
        threshold=decision.threshold,
        min_area=decision.min_area,
        threads=settings.threads,
        batch=settings.batch or (1 if settings.device.startswith("cpu") else ACCELERATOR_BATCH),
        visualize=settings.visualize,
        niceness=niceness,
        limits=settings.limits,
        log_level=settings.log_level,
    )
