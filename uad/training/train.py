"""From a dataset to a calibrated bundle."""

import hashlib
import json
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path

from uad.bundle import Bundle, DatasetRef, refuse_foreign, write_bundle
from uad.config import TrainingConfig
from uad.console import step
from uad.data import Dataset
from uad.data.input_shape import fitted_input, remarks
from uad.data.samples import natural
from uad.errors import DataError
from uad.inference.calibrate import calibrate
from uad.inference.quantization.automatic import add_int8_where_accepted
from uad.models.parts import EpochMetrics, Teacher, TrainedStudent
from uad.scoring.regions import check_fits
from uad.scoring.zone_alpha import check_zones
from uad.scoring.zones import with_zones
from uad.storage.paths import checkpoints_dir
from uad.training.parts import fit_parts, put_together

log = logging.getLogger(__name__)


def train(
    dataset: Dataset,
    config: TrainingConfig,
    teacher: Teacher,
    output: Path,
    *,
    device: str = "cpu",
    on_epoch: Callable[[EpochMetrics], None] | None = None,
    checkpoints: Path | None = None,
    resume: bool = True,
    progress: bool = False,
) -> Bundle:
    """Fit a detector to the dataset's normals and write a calibrated bundle to `output`.

    Only normal images decide: `train` is for training, `selection` chooses the epoch and the score,
    `calibration` sets the threshold. Test images are not used.

    Args:
        dataset: its `train`, `selection` and `calibration` images are used.
        config: all settings.
        teacher: the frozen network.
        output: the bundle's folder; must not exist, be empty, or hold a bundle.
        device: `cpu`, `gpu:0`, or several that train this one student together: `gpu:0,1`.
        on_epoch: called after each epoch.
        checkpoints: where checkpoints lie; by default a folder of this very training under
            `UAD_HOME`. After a kill the same call continues from the last one.
        resume: False starts afresh.
        progress: show bars on standard error.
    """
    refuse_foreign(output)
    if not dataset.train or not dataset.selection or not dataset.calibration:
        raise DataError(
            f"{dataset.name} has too few normal images: training, selection and calibration need "
            "at least 3, and 30 or more work well"
        )
    check_zones(dataset.zones, config.data.alpha, len(dataset.calibration))
    for sample in dataset.calibration:
        check_fits(config.data.min_area, sample.size)
    if unknown := excluded_in_vain(config, dataset):
        log.warning(
            "data.exclude names %s, but there is no such good image: it excludes nothing. Names "
            "are relative to the dataset's folder, for example %s",
            natural(unknown),
            dataset.train[0].name,
        )
    config = settled(config, dataset)
    for remark in remarks(config.input.spec(), dataset.normals):
        log.warning(remark)
    key = training_key(dataset, config, teacher)
    folder = checkpoints or checkpoints_dir() / f"{dataset.name}-{key[:12]}"
    if not resume:
        forget_checkpoint(folder)
    student = None
    if config.detector.student:
        student = _train_student(
            dataset, config, teacher,
            device=device, on_epoch=on_epoch, checkpoints=folder, key=key, progress=progress,
        )  # fmt: skip
    parts = fit_parts(
        teacher,
        dataset.train,
        config.input.spec(),
        config.detector,
        seed=config.training.seed,
        progress=progress,
    )
    with step("score: trying the parts on planted defects", visible=progress):
        model = put_together(teacher, student, *parts, dataset.selection, config)
    bundle = write_bundle(output, model, dataset=_reference(dataset))
    if config.export.int8 == "auto":
        bundle = add_int8_where_accepted(
            bundle,
            dataset,
            alpha=config.data.alpha,
            min_area=config.data.min_area,
            progress=progress,
        )
    # Last: its entry says that the bundle is whole.
    bundle = calibrate(
        bundle,
        dataset.calibration,
        alpha=config.data.alpha,
        min_area=config.data.min_area,
        zones=dataset.zones,
        group_pattern=dataset.group_pattern,
        progress=progress,
    )
    forget_checkpoint(folder)
    return bundle


def excluded_in_vain(config: TrainingConfig, dataset: Dataset) -> list[str]:
    """Names in `data.exclude` that no image of the dataset has."""
    left_out = [p.message for p in dataset.problems if p.kind == "excluded"]
    return [
        name
        for name in config.data.exclude
        if not any(message.startswith(f"{name} is left out") for message in left_out)
    ]


def training_key(dataset: Dataset, config: TrainingConfig, teacher: Teacher) -> str:
    """Hash of images, settings and teacher: trainings with the same key give the same result."""
    config = settled(config, dataset)
    facts = {
        # The folders of the images do not matter.
        "config": config.model_dump(mode="json", exclude={"data": {"normal", "defects", "masks"}}),
        "teacher": teacher.sha256,
        "train": [sample.sha256 for sample in dataset.train],
        "selection": [sample.sha256 for sample in dataset.selection],
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def settled(config: TrainingConfig, dataset: Dataset) -> TrainingConfig:
    """The settings with all that follows from the dataset: the input's sides, and its zones."""
    fitted = fitted_input(config.input, dataset.normals)
    return with_zones(config.model_copy(update={"input": fitted}), dataset.ignore)


def _train_student(
    dataset: Dataset,
    config: TrainingConfig,
    teacher: Teacher,
    *,
    device: str,
    on_epoch: Callable[[EpochMetrics], None] | None,
    checkpoints: Path,
    key: str,
    progress: bool,
) -> TrainedStudent:
    from uad.models.paddle_runtime import paddle
    from uad.training.distributed import check_devices, fit_on, training_devices
    from uad.training.loop import fit

    devices = training_devices(device)
    check_devices(devices)
    if len(devices) == 1:
        paddle.set_device(devices[0])
    run = fit if len(devices) == 1 else partial(fit_on, devices)
    student: TrainedStudent = run(
        teacher,
        dataset.train,
        dataset.selection,
        config,
        on_epoch=on_epoch,
        checkpoints=checkpoints,
        key=key,
        progress=progress,
    )
    return student


def forget_checkpoint(folder: Path) -> None:
    """Remove the checkpoint in `folder`, if there is one."""
    from uad.training.checkpoint import FILE

    (folder / FILE).unlink(missing_ok=True)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _reference(dataset: Dataset) -> DatasetRef:
    return DatasetRef(
        name=dataset.name,
        version=dataset.version,
        train=len(dataset.train),
        selection=len(dataset.selection),
        calibration=len(dataset.calibration),
    )
