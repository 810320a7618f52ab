"""Judge a bundle on the test images of a dataset version."""

from contextlib import closing
from pathlib import Path

from prefect import flow, task

from flows import logs
from uad.config import SplitConfig
from uad.data import load_dataset
from uad.detector import load_detector
from uad.evaluation import Report, evaluate, write_report
from uad.live import open_bundle

REPORT = "report.json"


@task(name="evaluate", task_run_name="evaluate on {dataset}")
def evaluate_bundle(
    bundle: str, dataset: str, split: SplitConfig, folder: str, *, figures: bool = True
) -> str | None:
    """Evaluate a bundle (a folder or `models:/...`); returns report.json, None without test images.

    The bundle's golden inputs are checked either way.
    """
    samples = load_dataset(dataset, split).test
    with closing(load_detector(open_bundle(bundle))) as detector:
        if not samples:
            return None
        report = evaluate(detector, samples, progress=logs.interactive())
        if figures:
            write_report(report, Path(folder), detector, samples)
    return str(write_json(report, Path(folder)))


@flow(name="evaluate", flow_run_name="evaluate {bundle}")
def evaluate_flow(bundle: str, dataset: str, folder: str) -> str | None:
    """Evaluate a bundle on a stored dataset; the report and its figures go to `folder`."""
    logs.prepare()
    return evaluate_bundle(bundle, dataset, SplitConfig(), folder)


def write_json(report: Report, folder: Path) -> Path:
    """Write report.json and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / REPORT
    file.write_text(report.to_json(), encoding="utf-8")
    return file


def read_json(path: str | None) -> Report | None:
    """The report at `path`; None for None."""
    return Report.from_json(Path(path).read_text(encoding="utf-8")) if path else None
