"""Add a bundle to the registry as a product's next version."""

from pathlib import Path

from prefect import flow, task

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
    registry = ModelRegistry()
    if made := _made_by(registry, product, run_id):
        return made
    metrics = read_report(Path(report)).metrics() if report else {}
    version = registry.register(
        Path(bundle), product, run_id=run_id, metrics=metrics, tags=tags or {}
    )
    logs.logger.info("registered: %s", version.address)
    return version.version


@task(name="log report", task_run_name="log report", **REGISTRY)
def log_report(run_id: str, report: str | None) -> None:
    """Put a report's figures and its folder (page, pictures, scores) into the MLflow run."""
    if report:
        tracker, file = RunTracker(), Path(report)
        tracker.log_metrics(run_id, read_report(file).metrics())
        tracker.log_folder(run_id, file.parent, "evaluation")


@flow(name="register", flow_run_name="register {product}")
def register_flow(bundle: str, product: str) -> str:
    """Register a bundle's folder; returns the new version."""
    logs.prepare()
    return register_bundle(bundle, product)


def _made_by(registry: ModelRegistry, product: str, run_id: str | None) -> str | None:
    if run_id is None or product not in registry.products():
        return None
    same = (each.version for each in registry.versions(product) if each.run_id == run_id)
    return next(same, None)
