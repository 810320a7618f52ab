"""Judge a bundle on the test images of a dataset version, and on recent normal images."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from prefect import flow, task

from flows import logs
from uad.config import SplitConfig
from uad.data import Sample, load_dataset
from uad.data.checks import scan
from uad.evaluation import evaluate, write_report
from uad.hot_reload import open_bundle
from uad.inference.detector import load_detector


@task(name="evaluate", task_run_name="evaluate on {dataset}")
def evaluate_bundle(bundle: str, dataset: str, split: SplitConfig, folder: str) -> str | None:
    """Evaluate a bundle (a folder or `models:/...`); returns report.json, None without test images.

    The bundle's golden inputs are checked either way.
    """
    images = load_dataset(dataset, split)
    return _evaluate(bundle, images.test, folder, images.normals)


@task(name="evaluate on recent images", task_run_name="evaluate on {recent}")
def evaluate_recent(
    bundle: str, recent: str, learned: Sequence[str], split: SplitConfig, folder: str
) -> str | None:
    """Evaluate a bundle on the normal images of the folder `recent`; returns report.json.

    Images that the datasets `learned` trained, selected or calibrated with say nothing: they are
    left out. None if no other is there.
    """
    known = {sample.sha256 for each in learned for sample in load_dataset(each, split).normals}
    found = scan(Path(recent).expanduser(), progress=True).entries
    normal = (entry.sample for entry in found if not entry.label)
    samples = [sample for sample in normal if sample.sha256 not in known]
    logs.logger.info("recent images: %d of %d are new to the model", len(samples), len(found))
    return _evaluate(bundle, samples, folder)


@flow(name="evaluate", flow_run_name="evaluate {bundle}")
def evaluate_flow(bundle: str, dataset: str, folder: str) -> str | None:
    """Evaluate a bundle on a stored dataset; the report and its figures go to `folder`."""
    logs.prepare()
    return evaluate_bundle(bundle, dataset, SplitConfig(), folder)


def _evaluate(
    bundle: str, samples: Sequence[Sample], folder: str, normals: Sequence[Sample] = ()
) -> str | None:
    with closing(load_detector(open_bundle(bundle))) as detector:
        if not samples:
            return None
        report = evaluate(detector, samples, progress=True)
        files = write_report(report, Path(folder), detector, samples, normals=normals)
        return str(files["report.json"])
