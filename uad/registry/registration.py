"""From a bundle on disk to a version in the registry."""

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from uad import __version__
from uad.bundle import MANIFEST, Bundle, sha256
from uad.registry import pyfunc, runs
from uad.registry.connection import Connection
from uad.registry.types import BUNDLE_ID, BUNDLE_SHA256, METRIC_TAG
from uad.types import EpochMetrics

HEADLINES = {
    "image_auroc": "image AUROC",
    "pixel_auroc": "pixel AUROC",
    "aupro": "AUPRO",
    "false_alarm_rate": "false alarm rate",
}


@contextmanager
def own_run(
    connection: Connection,
    name: str,
    bundle: Bundle,
    metrics: Mapping[str, float],
    run_id: str | None,
) -> Iterator[str]:
    """The run that a version comes from: `run_id`, or a new one, closed at the end.

    A new one tells what the bundle says of its training: settings and metrics by epoch.
    """
    if run_id is not None:
        yield run_id
        return
    run = _make_run(connection, name, bundle, metrics)
    try:
        yield run
    except BaseException:
        connection.client.set_terminated(run, "FAILED")
        raise
    connection.client.set_terminated(run)


def _make_run(
    connection: Connection, name: str, bundle: Bundle, metrics: Mapping[str, float]
) -> str:
    manifest = bundle.manifest
    tags = {key: value for key, value in describe(bundle, {}).items() if key.startswith("uad.")}
    run = runs.start(
        connection, name, name=f"{name} {bundle.id}", params=manifest.config, tags=tags
    )
    for epoch in manifest.history:
        values = {key: value for key, value in epoch.items() if key != "epoch"}
        runs.log_epoch(connection, run, EpochMetrics(int(epoch["epoch"]), values))
    runs.log_metrics(connection, run, metrics)
    return run


def upload(connection: Connection, run: str, bundle: Bundle) -> str:
    """Put the bundle into the run's artifacts and return where a version's source is.

    In MLflow's model form if pandas is there, so that its own tools can load it; else as it is.
    """
    place = f"model-{sha256(bundle.path / MANIFEST)[:8]}"
    with tempfile.TemporaryDirectory(prefix="uad-register-") as folder:
        model = bundle.path
        if pyfunc.available():
            model = Path(folder) / "model"
            pyfunc.write_model(model, bundle)
        connection.client.log_artifacts(run, str(model), place)
    base = connection.client.get_run(run).info.artifact_uri
    return f"{base}/{place}"


def describe(bundle: Bundle, metrics: Mapping[str, float]) -> dict[str, str]:
    """Tags of a version: hashes, teacher, dataset, engines, and a tag a metric."""
    manifest = bundle.manifest
    tags = {
        BUNDLE_ID: bundle.id,
        BUNDLE_SHA256: sha256(bundle.path / MANIFEST),
        "uad.version": __version__,
        "uad.teacher": manifest.teacher.id,
        "uad.teacher_sha256": manifest.teacher.sha256,
        "uad.engines": json.dumps(sorted(manifest.calibration)),
    }
    if manifest.dataset is not None:
        tags["uad.dataset"] = f"{manifest.dataset.name}@{manifest.dataset.version}"
    if manifest.git_revision:
        tags["uad.git_revision"] = manifest.git_revision
    return {**tags, **{f"{METRIC_TAG}{key}": repr(float(v)) for key, v in metrics.items()}}


def sentence(bundle: Bundle, metrics: Mapping[str, float]) -> str:
    """What a version is, for who sees it in MLflow's pages."""
    manifest, shown = bundle.manifest, [name for name in HEADLINES if name in metrics]
    learned = ""
    if manifest.dataset is not None:
        learned = f", trained on {manifest.dataset.name}@{manifest.dataset.version}"
    figures = ", ".join(f"{HEADLINES[name]} {metrics[name]:.3f}" for name in shown)
    told = f"{manifest.model} with the teacher {manifest.teacher.id}{learned}"
    return f"{told}; {figures or 'no figures on labelled test images'}."


def ensure_model(connection: Connection, name: str) -> None:
    """Make the product if this is its first version."""
    from mlflow.exceptions import MlflowException

    try:
        connection.client.create_registered_model(name)
    except MlflowException as exc:
        if exc.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
