"""Fine-tune a student on a dataset version and write its bundle."""

from pathlib import Path

from prefect import flow, task

from flows import logs
from flows.tracking import EpochLog
from uad.bundle import read_bundle
from uad.config import TrainingConfig
from uad.data import Dataset, load_dataset
from uad.errors import BundleError
from uad.models.teacher import load_teacher
from uad.names import place_of
from uad.paths import bundles_dir
from uad.registry import RunTracker
from uad.scoring.parts import described_parts
from uad.types import Teacher


@task(name="fine-tune", task_run_name="fine-tune on {dataset}")
def finetune(
    dataset: str,
    product: str,
    teacher: str,
    config: TrainingConfig,
    device: str = "cpu",
    run_id: str | None = None,
    resumed: bool = False,
) -> str:
    """Fit, calibrate and check a detector; returns its bundle's folder.

    After a kill the same call goes on from the last epoch, or takes the finished bundle if it is
    `resumed`. No retries: what fails here, bad images or a loss that is not finite, fails again.
    """
    from uad.training import train

    output = bundle_folder(product, dataset, training_id(dataset, teacher, config))
    if resumed and is_complete(output):
        return str(output)
    bundle = train(
        *_inputs(dataset, teacher, config),
        output,
        device=device,
        on_epoch=EpochLog(RunTracker(), run_id) if run_id else None,
        progress=True,
    )
    made = bundle.manifest
    kept = "no student" if made.chosen_epoch is None else f"epoch {made.chosen_epoch} kept"
    logs.logger.info(
        "trained: input %d x %d (height x width), parts %s, %s, bundle %s",
        *(made.input.height, made.input.width, described_parts(made.detector), kept, output),
    )
    return str(bundle.path)


@flow(name="finetune", flow_run_name="fine-tune {product}")
def finetune_flow(
    dataset: str,
    product: str,
    teacher: str = "embedded",
    config: TrainingConfig | None = None,
    device: str = "cpu",
) -> str:
    """Fine-tune on a stored dataset (`name` or `name@version`); returns the bundle's folder."""
    logs.prepare()
    return finetune(dataset, product, teacher, config or TrainingConfig(), device)


def training_id(dataset: str, teacher: str, config: TrainingConfig) -> str:
    """Hash of all that decides the weights: images, settings, teacher."""
    from uad.training import training_key

    images, _, weights = _inputs(dataset, teacher, config)
    return training_key(images, config, weights)


def bundle_folder(product: str, dataset: str, training: str) -> Path:
    """Where the bundle of a training lies: the same training, the same place."""
    return place_of(bundles_dir(), product) / f"{dataset.partition('@')[2]}-{training[:12]}"


def is_complete(bundle: Path) -> bool:
    """Whether the folder holds a whole bundle."""
    from uad.training.output import is_whole

    try:
        return is_whole(read_bundle(bundle))
    except BundleError:
        return False


def _inputs(
    dataset: str, teacher: str, config: TrainingConfig
) -> tuple[Dataset, TrainingConfig, Teacher]:
    from uad.suspects import leave_out_suspects

    weights = load_teacher(teacher, width=config.model.width, seed=config.training.seed)
    config = leave_out_suspects(dataset, config, weights, progress=True)
    return load_dataset(dataset, config.data), config, weights
