"""From a bundle on disk to a version in the registry."""

import json
import re
import shlex
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from uad import __version__
from uad.bundle import MANIFEST, Bundle, sha256
from uad.registry import pyfunc, runs
from uad.registry.connection import Connection
from uad.registry.types import (
    BUNDLE_ID,
    BUNDLE_SHA256,
    DATASET,
    METRIC_TAG,
    PROMOTE_IN_MLFLOW,
    ModelVersion,
)
from uad.storage.names import DatasetAddress, ProductName, RunId

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel

HEADLINES = {
    "image_auroc": "image AUROC",
    "pixel_auroc": "pixel AUROC",
    "aupro": "AUPRO",
    "recall": "recall",
    "false_alarm_rate": "false alarm rate",
}
NO_FIGURES = "not evaluated on test images yet"
MAX_METRICS = 500
"""MLflow takes 1,000 in one call."""
_NOT_IN_A_NAME = re.compile(r"[/:.%\"']")
"""What MLflow allows in a product's name but not in a LoggedModel's."""


@contextmanager
def own_run(
    connection: Connection, name: ProductName, bundle: Bundle, run_id: RunId | None
) -> Iterator[RunId]:
    """The run that a version comes from: `run_id`, or a new one, closed at the end.

    A new run gets what the bundle says about its training: settings and metrics by epoch.
    """
    if run_id is not None:
        yield run_id
        return
    run = _make_run(connection, name, bundle)
    try:
        yield run
    except BaseException:
        connection.client.set_terminated(run, "FAILED")
        raise
    connection.client.set_terminated(run)


def _make_run(connection: Connection, name: ProductName, bundle: Bundle) -> RunId:
    manifest = bundle.manifest
    tags = {key: value for key, value in describe(bundle, {}).items() if key.startswith("uad.")}
    run = runs.start(
        connection, name, name=f"{name} {bundle.id}", params=manifest.config, tags=tags
    )
    runs.log_history(connection, run, manifest.history)
    return run


@dataclass(frozen=True)
class Uploaded:
    """A bundle in MLflow, not yet a version."""

    source: str
    """Where its files are."""
    model_id: str | None
    """Of MLflow's LoggedModel; None on a server that has none (MLflow 2)."""


def upload(
    connection: Connection, run: RunId, name: ProductName, bundle: Bundle, tags: Mapping[str, str]
) -> Uploaded:
    """Make the bundle a model of the run, as MLflow 3 shows and compares it.

    In MLflow's model form if pandas is there, so that its own tools can load it; else as it is.
    """
    with tempfile.TemporaryDirectory(prefix="uad-register-") as folder:
        form = bundle.path
        if pyfunc.available():
            form = Path(folder) / "model"
            pyfunc.write_model(form, bundle)
        model = _logged_model(connection, run, name, tags)
        if model is None:
            place = f"model-{sha256(bundle.path / MANIFEST)[:8]}"
            connection.client.log_artifacts(run, str(form), place)
            return Uploaded(f"{connection.client.get_run(run).info.artifact_uri}/{place}", None)
        connection.client.log_model_artifacts(model.model_id, str(form))
        connection.client.finalize_logged_model(model.model_id, "READY")
        return Uploaded(model.artifact_location, model.model_id)


def name_version(connection: Connection, model_id: str | None, version: ModelVersion) -> None:
    """Show the version on the LoggedModel's page; MLflow's server does it, the database not."""
    if model_id is not None:
        named = json.dumps([{"name": version.name, "version": version.version}])
        connection.client.set_logged_model_tags(model_id, {"mlflow.modelVersions": named})


def log_figures(
    connection: Connection,
    run: str,
    model_id: str | None,
    figures: Mapping[str, float],
    dataset: DatasetAddress | None,
) -> None:
    """Log metrics of a model on the run that made it, so that both can be sorted by them."""
    from mlflow.entities import Metric

    name, _, digest = (dataset or "").partition("@")
    now = int(time.time() * 1000)
    linked = {"model_id": model_id, "run_id": run}
    if dataset and model_id:
        linked |= {"dataset_name": name, "dataset_digest": digest[:36]}
    metrics = [Metric(key, float(value), now, 0, **linked) for key, value in figures.items()]
    for begin in range(0, len(metrics), MAX_METRICS):
        connection.client.log_batch(run, metrics=metrics[begin : begin + MAX_METRICS])


def _logged_model(
    connection: Connection, run: RunId, name: ProductName, tags: Mapping[str, str]
) -> "LoggedModel | None":
    from mlflow.entities.logged_model_output import LoggedModelOutput
    from mlflow.exceptions import MlflowException

    client = connection.client
    experiment = client.get_run(run).info.experiment_id
    try:
        model = client.create_logged_model(
            experiment, _NOT_IN_A_NAME.sub("_", name), run, tags=dict(tags), model_type="uad"
        )
        client.log_outputs(run, [LoggedModelOutput(model.model_id, step=0)])
    except MlflowException as exc:
        if exc.error_code not in ("ENDPOINT_NOT_FOUND", "NOT_IMPLEMENTED"):
            raise
        return None
    return model


def describe(bundle: Bundle, metrics: Mapping[str, float]) -> dict[str, str]:
    """Tags of a version: hashes, teacher, dataset, engines, and one tag per metric."""
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
        tags[DATASET] = manifest.dataset.address
    if manifest.git_revision:
        tags["uad.git_revision"] = manifest.git_revision
    return {**tags, **{f"{METRIC_TAG}{key}": repr(float(v)) for key, v in metrics.items()}}


def sentence(bundle: Bundle, metrics: Mapping[str, float], version: ModelVersion) -> str:
    """What a version is and how to promote it, for readers of MLflow's pages."""
    manifest, shown = bundle.manifest, [name for name in HEADLINES if name in metrics]
    learned = ""
    if manifest.dataset is not None:
        learned = f", trained on {manifest.dataset.address}"
    figures = ", ".join(f"{HEADLINES[name]} {metrics[name]:.3f}" for name in shown)
    told = f"{manifest.model} with the teacher {manifest.teacher.id}{learned}"
    command = shlex.join(["uad", "promote", version.name, version.version])
    return (
        f"{told}; {figures or NO_FIGURES}{PROMOTE_IN_MLFLOW}give it the alias `champion` or run "
        f'`{command}` (the button "Promote model" only makes a copy).'
    )


def ensure_model(connection: Connection, name: ProductName) -> None:
    """Make the product if this is its first version."""
    from mlflow.exceptions import MlflowException

    try:
        connection.client.create_registered_model(name)
    except MlflowException as exc:
        if exc.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
