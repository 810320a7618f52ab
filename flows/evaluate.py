"""Judge a bundle on the test images of a dataset version."""

from contextlib import closing
from pathlib import Path

from prefect import flow, task

from flows import logs
from uad.config import SplitConfig
from uad.data import load_dataset
from uad.detector import load_detector
from uad.evaluation import evaluate, write_report
from uad.live import open_bundle


@task(name="evaluate", task_run_name="evaluate on {dataset}")
def evaluate_bundle(bundle: str, dataset: str, split: SplitConfig, folder: str) -> str | None:
    """Evaluate a bundle (a folder or `models:/...`); returns report.json, None without test images.

    The bundle's golden inputs are checked either way.
    """
    samples = load_dataset(dataset, split).test
    with closing(load_detector(open_bundle(bundle))) as detector:
        if not samples:
            return None
        report = evaluate(detector, samples, progress=logs.interactive())
        return str(write_report(report, Path(folder), detector, samples)["report.json"])


@flow(name="evaluate", flow_run_name="evaluate {bundle}")
def evaluate_flow(bundle: str, dataset: str, folder: str) -> str | None:
    """Evaluate a bundle on a stored dataset; the report and its figures go to `folder`."""
    logs.prepare()
    return evaluate_bundle(bundle, dataset, SplitConfig(), folder)
