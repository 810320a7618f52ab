"""Import an STFPM that PaddleX or PaddleSeg trained: its `.pdparams` becomes a bundle.

PaddleSeg builds both networks as a sequence of ResNet-18's children, so its names have numbers
instead of layer names: `student.model.4.0.bn1._mean` is the student's `layer1.0.bn1.running_mean`.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from uad.bundle import Bundle, DatasetRef, write_bundle
from uad.config import DetectorConfig, InputConfig, InputSpec, ScoreDefinition, TrainingConfig
from uad.config.loading import validate
from uad.config.training import ModelConfig
from uad.data import Dataset
from uad.errors import DataError, TeacherError
from uad.images import read, resize
from uad.inference.calibrate import calibrate
from uad.models.parts import TrainedModel
from uad.models.resnet import Weights, check
from uad.models.teacher import read_weights, teacher_from
from uad.scoring.conformal import images_needed

Arrays = Mapping[str, NDArray[np.generic]]

_CHILDREN = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3"}
_STATISTICS = {"_mean": "running_mean", "_variance": "running_var"}
_GOLDEN_IMAGES = 3


def import_stfpm(
    file: Path,
    normals: Dataset,
    output: Path,
    *,
    alpha: float = 0.05,
    size: tuple[int, int] = (256, 256),
    progress: bool = False,
) -> Bundle:
    """Write a bundle of the weights in `file`, its threshold set by `normals`.

    The bundle computes PaddleX's score up to a constant: its distances are |t - s|^2 of unit
    vectors, ours 1 - cos, half of that, so our product of three maps is an eighth of PaddleX's.

    Args:
        file: `.pdparams` of a PaddleX or PaddleSeg STFPM with a ResNet-18.
        normals: images of good parts that it was not trained on; all of them set the threshold.
        output: the bundle's folder; must not exist, be empty, or hold a bundle.
        alpha: target false alarm rate.
        size: (H, W) that it was trained at.
        progress: show a bar on standard error.

    Raises:
        TeacherError: no such file, or not an STFPM's weights.
        DataError: `normals` holds test images.
        ConfigError: a size that is not a multiple of 16.
    """
    if normals.test:
        raise DataError(
            f"{normals.name} also has test images. Name a folder of good images only, which "
            "PaddleX was not trained on."
        )
    images_needed(alpha)  # refuses an impossible alpha before anything is written
    values = {"height": size[0], "width": size[1], "interpolation": "linear"}
    model = _model(file, normals, validate(InputSpec, values, origin="size"))
    reference = DatasetRef(
        name=normals.name,
        version=normals.version,
        train=0,
        selection=0,
        calibration=len(normals.normals),
    )
    bundle = write_bundle(output, model, dataset=reference)
    return calibrate(
        bundle,
        normals.normals,
        alpha=alpha,
        group_pattern=normals.group_pattern,
        progress=progress,
    )


def split_weights(arrays: Arrays, *, origin: str) -> tuple[Weights, Weights]:
    """Student and teacher out of an STFPM's state, by torchvision's names.

    Raises:
        TeacherError: a network is missing or is not a ResNet-18.
    """
    first = arrays.get("student.model.0.weight")
    if first is None or first.ndim != 4:
        raise TeacherError(
            f"{origin} is not an STFPM of PaddleX or PaddleSeg: it has no "
            "'student.model.0.weight'. An exported inference model has no names; give the "
            "model.pdparams beside it."
        )
    student, teacher = (
        check(_renamed(arrays, part), first.shape[0], origin=f"{origin}, {part}")
        for part in ("student", "teacher")
    )
    return student, teacher


def _model(file: Path, normals: Dataset, spec: InputSpec) -> TrainedModel:
    student, teacher = split_weights(read_weights(file), origin=str(file))
    images = [read(sample.path) for sample in normals.normals[:_GOLDEN_IMAGES]]
    return TrainedModel(
        student=student,
        teacher=teacher_from(f"file:{file.name}", teacher),
        input=spec,
        score=ScoreDefinition(reason="PaddleX multiplies the level maps"),
        statistics={},
        config=TrainingConfig(
            input=InputConfig.model_validate(spec.model_dump()),
            model=ModelConfig(width=len(student["bn1.weight"])),
            detector=DetectorConfig(memory=False, whole_image=False),
        ),
        golden=tuple(
            resize(image, (spec.height, spec.width), spec.interpolation) for image in images
        ),
    )


def _renamed(arrays: Arrays, part: str) -> dict[str, NDArray[np.generic]]:
    start = f"{part}.model."
    found = {}
    for name, value in arrays.items():
        child, _, rest = name.removeprefix(start).partition(".")
        if name.startswith(start) and child in _CHILDREN:
            *path, last = rest.split(".")
            found[".".join([_CHILDREN[child], *path, _STATISTICS.get(last, last)])] = value
    return found
