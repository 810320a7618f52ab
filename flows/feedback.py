"""Make what people said about judged images part of a dataset version."""

from prefect import task

from flows import logs
from uad.monitoring.feedback import apply_feedback
from uad.monitoring.judged_images import JudgedImages


@task(name="apply feedback", task_run_name="apply feedback to {dataset}")
def apply_people_said(dataset: str, product: str) -> str:
    """The address of the dataset version with people's corrections in it."""
    applied = apply_feedback(JudgedImages(), product, dataset)
    for line in applied.lines():
        logs.logger.info(line)
    return applied.version.address
