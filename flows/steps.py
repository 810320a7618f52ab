"""The steps of a retraining as Prefect tasks: ingest, fine-tune, evaluate, register."""

from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from flows import logs
from flows.tracking import REGISTRY, EpochLog, log_missed_epochs
from uad.data import Dataset, FolderRoles
from uad.evaluation import read_report
from uad.monitoring.feedback import apply_feedback
from uad.monitoring.judged_images import JudgedImages
from uad.operations.evaluation import evaluate_into, unseen_normals
from uad.operations.images import store_images
from uad.operations.inputs import EvaluationImages, TrainingInputs
from uad.operations.judging import trained_on
from uad.operations.training import described, train_bundle
from uad.registry import ModelRegistry, RunTracker
from uad.storage.names import DatasetAddress, ModelVersionNumber, ProductName, RunId


@task(name="ingest", task_run_name="ingest {data}")
def ingest_images(
    data: str, name: str, settle_seconds: float = 0.0, roles: FolderRoles | None = None
) -> DatasetAddress:
    """The address `name@version` of what `data` stands for: a path, or a stored version.

    Of a path, files modified less than `settle_seconds` ago are left for next time; `roles` is what
    a person says of its folders.
    """
    stored = store_images(data, name, roles=roles, settle_seconds=settle_seconds, progress=True)
    logs.tell(stored.told)
    return stored.address


@task(name="apply feedback", task_run_name="apply feedback to {dataset}")
def apply_people_said(dataset: DatasetAddress, product: ProductName) -> DatasetAddress:
    """The address of the dataset version with people's corrections in it."""
    applied = apply_feedback(JudgedImages(), product, dataset)
    for line in applied.lines():
        logs.logger.info(line)
    return applied.version.address


@task(name="fine-tune", task_run_name="fine-tune on {inputs.address}", cache_policy=NO_CACHE)
def finetune(
    inputs: TrainingInputs,
    product: ProductName,
    device: str = "cpu",
    run_id: RunId | None = None,
    resumed: bool = False,
) -> str:
    """Fit, calibrate and check a detector; returns its bundle's folder.

    No retries: what fails here, bad images or a loss that is not finite, fails again.
    """
    on_epoch = EpochLog(RunTracker(), run_id) if run_id else None
    progress = True
    bundle = train_bundle(
        inputs, product, device=device, on_epoch=on_epoch, take_finished=resumed, progress=progress
    )
    if run_id:
        log_missed_epochs(run_id, bundle.manifest.history)
    logs.logger.info("trained: %s, bundle %s", described(bundle), bundle.path)
    return str(bundle.path)


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
    product: ProductName,
    champion: ModelVersionNumber | None,
    folder: str,
) -> str | None:
    """Evaluate a bundle on the good images of the folder `recent`; returns report.json.

    Images that the new version or the champion was trained on prove nothing and are left out. None
    if there are no others.
    """
    known = [address for address in (images.address, trained_on(product, champion)) if address]
    samples, count = unseen_normals(recent, known, progress=True)
    logs.logger.info("recent images: %d of %d are new to the model", len(samples), count)
    report = evaluate_into(bundle, samples, Path(folder), progress=True)
    return None if report is None else str(report)


def _evaluate(bundle: str, dataset: Dataset, folder: str) -> str | None:
    report = evaluate_into(
        bundle, dataset.test, Path(folder), normals=dataset.normals, progress=True
    )
    return None if report is None else str(report)


@task(name="register", task_run_name="register {product}", **REGISTRY)
def register_bundle(
    bundle: str,
    product: ProductName,
    run_id: RunId | None = None,
    report: str | None = None,
    tags: dict[str, str] | None = None,
) -> ModelVersionNumber:
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
def log_report(run_id: RunId, report: str | None) -> None:
    """Put a report's folder (page, pictures, scores) into the MLflow run.

    Its figures follow with the version, so that they are linked to run, model and dataset.
    """
    if report:
        RunTracker().log_folder(run_id, Path(report).parent, "evaluation")
