"""Add a bundle to the registry as a product's next version."""

from pathlib import Path

from prefect import task

from flows import logs
from flows.retries import REGISTRY
from uad.evaluation import read_report
from uad.registry import ModelRegistry, RunTracker


@task(name="register", task_run_name="register {product}", **REGISTRY)
def register_bundle(
    bundle: str,
    product: str,
    run_id: str | None = None,
    report: str | None = None,
    tags: dict[str, str] | None = None,
) -> str:
    """Register a bundle with the figures of its report; returns the new version.

    Called again for the same run, it finds the version it made.
    """
    metrics = read_report(Path(report)).metrics() if report else {}
    version = ModelRegistry().register_once(
        Path(bundle), product, run_id=run_id, metrics=metrics, tags=tags or {}
    )
    logs.logger.info("registered: %s", version.address)
    return version.version


@task(name="log report", task_run_name="log report", **REGISTRY)
def log_report(run_id: str, report: str | None) -> None:
    """Put a report's folder (page, pictures, scores) into the MLflow run.

    Its figures follow with the version, so that they are linked to run, model and dataset.
    """
    if report:
        RunTracker().log_folder(run_id, Path(report).parent, "evaluation")
