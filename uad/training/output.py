"""Check a training's output folder: empty, its own bundle, or something else."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from uad.bundle import REFERENCE, Bundle, read_bundle, refuse_foreign
from uad.config import TrainingConfig
from uad.data import Dataset
from uad.errors import BundleError, TrainingError
from uad.models.parts import Teacher
from uad.training.train import settled


def finished(
    output: Path,
    dataset: Dataset,
    config: TrainingConfig,
    teacher: Teacher,
    *,
    cure: str = "replace it with --overwrite",
) -> Bundle | None:
    """The complete bundle of this training at `output`; None if it is not there yet.

    Args:
        output: where it is to write.
        dataset: of this training, as are `config` and `teacher`.
        config: see `dataset`.
        teacher: see `dataset`.
        cure: what a user can do about another training's bundle, besides choosing another place.

    Raises:
        BundleError: something other than a bundle is there.
        TrainingError: another training's bundle is there, or one that cannot be read.
    """
    refuse_foreign(output)
    config = settled(config, dataset)
    if not output.exists() or not any(output.iterdir()):
        return None
    try:
        bundle = read_bundle(output)
    except BundleError as exc:
        raise TrainingError(f"{exc}; or {cure}") from exc
    if different := _differences(bundle, dataset, config, teacher):
        raise TrainingError(
            f"{output} has a bundle of {' and '.join(different)}. Choose another --output, or "
            f"{cure}."
        )
    return bundle if is_whole(bundle) else None


def is_whole(bundle: Bundle) -> bool:
    """Whether its training is complete: the calibration of float32 is written last."""
    return REFERENCE in bundle.manifest.calibration


def _differences(
    bundle: Bundle, dataset: Dataset, config: TrainingConfig, teacher: Teacher
) -> list[str]:
    made = bundle.manifest
    settings = _changed(made.config, config.model_dump(mode="json"))
    same = {
        "other images": made.dataset is not None and made.dataset.version == dataset.version,
        f"other settings ({', '.join(settings)})": not settings,
        "another teacher": made.teacher.sha256 == teacher.sha256,
    }
    return [what for what, holds in same.items() if not holds]


def _changed(made: Mapping[str, Any], now: Mapping[str, Any], section: str = "") -> list[str]:
    """`training.epochs 10, was 20`: each setting that differs."""
    changes = []
    for name in sorted({*made, *now}):
        before, after, key = made.get(name), now.get(name), f"{section}{name}"
        if isinstance(before, dict) and isinstance(after, dict):
            changes += _changed(before, after, f"{key}.")
        elif before != after:
            changes.append(f"{key} {after}, was {before}")
    return changes
