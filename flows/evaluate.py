"""Evaluate a bundle on the test images of a dataset version, and on recent good images."""

from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from flows import logs
from uad.data import Dataset
from uad.operations.evaluation import evaluate_into, unseen_normals
from uad.operations.inputs import EvaluationImages
from uad.operations.judging import learned_by


@task(name="evaluate", task_run_name="evaluate on {images.address}", cache_policy=NO_CACHE)
def evaluate_bundle(bundle: str, images: EvaluationImages, folder: str) -> str | None:
    """Evaluate a bundle (a folder or `models:/...`); returns report.json, None without test images.

    The bundle's golden inputs are checked either way.
    """
    dataset = images.dataset
    return _evaluate(bundle, dataset, folder)


@task(
    name="evaluate on recent images",
    task_run_name="evaluate on {recent}",
    cache_policy=NO_CACHE,
)
def evaluate_recent(
    bundle: str,
    recent: str,
    images: EvaluationImages,
    product: str,
    champion: str | None,
    folder: str,
) -> str | None:
    """Evaluate a bundle on the good images of the folder `recent`; returns report.json.

    Images that the new version or the champion learned from say nothing: they are left out. None
    if no other is there.
    """
    learned = [images.dataset, *learned_by(product, champion)]
    samples, count = unseen_normals(recent, learned, progress=True)
    logs.logger.info("recent images: %d of %d are new to the model", len(samples), count)
    report = evaluate_into(bundle, samples, Path(folder), progress=True)
    return None if report is None else str(report)


def _evaluate(bundle: str, dataset: Dataset, folder: str) -> str | None:
    report = evaluate_into(
        bundle, dataset.test, Path(folder), normals=dataset.normals, progress=True
    )
    return None if report is None else str(report)
