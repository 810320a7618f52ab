"""Fine-tune a student on a dataset version and write its bundle."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from flows import logs
from flows.tracking import EpochLog
from uad.operations.inputs import TrainingInputs
from uad.operations.training import described, train_bundle
from uad.registry import RunTracker


@task(name="fine-tune", task_run_name="fine-tune on {inputs.address}", cache_policy=NO_CACHE)
def finetune(
    inputs: TrainingInputs,
    product: str,
    device: str = "cpu",
    run_id: str | None = None,
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
    logs.logger.info("trained: %s, bundle %s", described(bundle), bundle.path)
    return str(bundle.path)
