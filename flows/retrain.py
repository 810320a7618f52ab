"""The chain: ingest, fine-tune, evaluate, register, and promote if the gate passes."""

from datetime import datetime

from prefect import flow, runtime
from pydantic import BaseModel, ConfigDict

from flows import logs
from flows.approval import WAIT_HOURS, ask, require_server
from flows.promote import decide_and_promote
from flows.resume import begin_again
from flows.schedule import cancel_overdue
from flows.steps import (
    apply_people_said,
    evaluate_bundle,
    finetune,
    ingest_images,
    log_report,
    register_bundle,
)
from flows.tracking import REASON, TRAINING_KEY, closing_run, log_dataset, open_run
from uad.config import TrainingConfig
from uad.data import roles_of
from uad.operations.inputs import training_inputs
from uad.operations.judging import Candidate
from uad.operations.training import only_retraining
from uad.registry import ModelRegistry, RunTracker
from uad.registry.gate import GateRule, GateVerdict, Mode
from uad.registry.types import DATASET
from uad.storage.names import DatasetAddress, ModelVersionNumber, ProductName, RunId, place_of
from uad.storage.paths import reports_dir

TURN_SECONDS = 12 * 3600.0
"""How long a scheduled or triggered run waits for a running one of the same product."""


class Retraining(BaseModel):
    """What a retraining did."""

    model_config = ConfigDict(frozen=True)

    product: ProductName
    dataset: DatasetAddress
    """`name@version`."""
    version: ModelVersionNumber
    """The new version; if nothing changed, the version trained on exactly these inputs."""
    unchanged: bool = False
    """Images, settings and teacher are those of `version`: nothing was trained."""
    promoted: bool = False
    verdict: GateVerdict | None = None
    bundle: str | None = None
    report: str | None = None
    """report.json; None without test images."""
    run_id: RunId | None = None
    """MLflow's."""


def run_name() -> str:
    """`cookie 2026-11-24 03:00`."""
    product = runtime.flow_run.parameters.get("product", "")
    return f"{product} {datetime.now().astimezone():%Y-%m-%d %H:%M}"


@flow(name="retrain", flow_run_name=run_name, on_crashed=[begin_again])
def retrain(
    data: str,
    product: ProductName,
    teacher: str = "embedded",
    config: TrainingConfig | None = None,
    device: str = "cpu",
    promote: Mode = "gate",
    rule: GateRule | None = None,
    skip_unchanged: bool = False,
    recent: str | None = None,
    wait_hours: float = WAIT_HOURS,
    settle_seconds: float = 0.0,
    reason: str = "",
    with_feedback: bool = False,
) -> Retraining:
    """Ingest `data`, fine-tune, evaluate, register, and promote if the gate passes.

    Args:
        data: a folder or manifest, or a stored dataset (`cookie`, `cookie@<version>`).
        product: the registered model's name; also names the dataset that a path is stored as.
        teacher: `embedded`, `imagenet`, or a weight file.
        config: training settings; None means the defaults.
        device: where to train: `cpu`, `gpu:0`, or on several: `gpu:0,1`.
        promote: `gate` (the rule decides), `always`, `never`, or `ask`: the run pauses in Prefect
            until a person resumes it with a decision.
        rule: the gate's thresholds; None means the defaults.
        skip_unchanged: do nothing if a version was trained on exactly these images, settings and
            teacher.
        recent: a folder of recent normal images, on which the gate compares false alarms.
        wait_hours: how long `ask` waits; then the version stays challenger.
        settle_seconds: files of `data` that were written less than this many seconds ago are left
            for the next run: a camera may still be writing them.
        reason: what started it, such as `drift or defects`; a tag of MLflow's run and the version.
        with_feedback: whether what people said about judged images becomes part of the dataset.

    Raises:
        UadError: bad data, settings or weights, a registry that does not answer, or another
            retraining of the product under way.
    """
    logs.prepare()
    if promote == "ask":
        require_server()
    cancel_overdue()
    RunTracker().check_storage(product)
    config = config or TrainingConfig()
    with only_retraining(product, TURN_SECONDS if runtime.deployment.id else 0.0):
        dataset = ingest_images(data, product, settle_seconds, roles_of(config.data))
        if with_feedback:
            dataset = apply_people_said(dataset, product)
        inputs = training_inputs(dataset, teacher, config, progress=True)
        images, key = inputs.images, inputs.key
        same = {TRAINING_KEY: key, DATASET: dataset}
        known = ModelRegistry().trained_on(product, same)
        if known and skip_unchanged:
            logs.logger.info("nothing new: version %s was trained on just this", known.version)
            return Retraining(
                product=product, dataset=dataset, version=known.version, unchanged=True
            )
        if known:
            logs.logger.info(
                "Images, settings and teacher are those of version %s. It is trained again, and "
                "the new version will be about as good.",
                known.version,
            )
        run = open_run(product, dataset, teacher, config, key, device, reason)
        if run.resumed:
            logs.logger.info(
                "This goes on with a retraining that was stopped: MLflow run %s", run.id
            )
        with closing_run(run.id), RunTracker().machine(run.id):
            log_dataset(run.id, images)
            bundle = finetune(inputs, product, device, run.id, run.resumed)
            folder = place_of(reports_dir(), product) / run.id
            report = evaluate_bundle(bundle, images, str(folder / "new"))
            log_report(run.id, report)
            tags = {TRAINING_KEY: key, **({REASON: reason} if reason else {})}
            version = register_bundle(bundle, product, run.id, report, tags)
            candidate = Candidate(
                product=product,
                version=version,
                images=images,
                folder=folder,
                report=report,
                recent=recent,
                mode=promote,
                rule=rule,
            )
            verdict, promoted = decide_and_promote(candidate)
    if promote == "ask":
        promoted = ask(product, version, verdict, wait_hours)
    return Retraining(
        product=product,
        dataset=dataset,
        version=version,
        promoted=promoted,
        verdict=verdict,
        bundle=bundle,
        report=report,
        run_id=run.id,
    )
