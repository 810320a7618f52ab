"""The checkpoint of a training: written completely after each epoch, data only."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from uad.errors import TrainingError
from uad.models.parts import EpochMetrics
from uad.models.resnet import Weights
from uad.storage.atomic_writes import write_file

Arrays = Mapping[str, NDArray[Any]]
FILE = "last.safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """The state of a training after an epoch."""

    epoch: int
    student: Weights
    average: Weights
    best: Weights
    """The average of `best_epoch`, the best so far."""
    best_epoch: int
    optimizer: Arrays
    history: tuple[EpochMetrics, ...]
    key: str
    """Hash of all that decides the outcome; another key is another training."""


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Replace the folder's checkpoint in one rename; a kill leaves the old or the new one."""
    arrays = {
        f"{part}.{name}": np.ascontiguousarray(array)
        for part in ("student", "average", "best", "optimizer")
        for name, array in getattr(checkpoint, part).items()
    }
    facts = {
        "epoch": checkpoint.epoch,
        "best_epoch": checkpoint.best_epoch,
        "history": [asdict(metrics) for metrics in checkpoint.history],
        "key": checkpoint.key,
    }
    data = save(arrays, metadata={"facts": json.dumps(facts)})
    write_file(folder / FILE, data, durable=True)


def load_checkpoint(folder: Path, key: str) -> Checkpoint | None:
    """The folder's checkpoint; None if there is none.

    Raises:
        TrainingError: it cannot be read, or belongs to another training.
    """
    file = folder / FILE
    if not file.is_file():
        return None
    try:
        with safe_open(file, framework="np") as stored:
            facts = json.loads((stored.metadata() or {})["facts"])
            arrays = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, KeyError, ValueError) as exc:
        raise TrainingError(f"{file} is damaged. Delete it to train from the start.") from exc
    if facts["key"] != key:
        raise TrainingError(
            f"{file} belongs to a training with other images, another teacher or other settings. "
            "Delete it, or name another folder."
        )
    return Checkpoint(
        epoch=facts["epoch"],
        student=_part(arrays, "student"),
        average=_part(arrays, "average"),
        best=_part(arrays, "best"),
        best_epoch=facts["best_epoch"],
        optimizer=_part(arrays, "optimizer"),
        history=tuple(EpochMetrics(**metrics) for metrics in facts["history"]),
        key=facts["key"],
    )


def _part(arrays: Arrays, part: str) -> dict[str, NDArray[Any]]:
    start = f"{part}."
    return {name[len(start) :]: array for name, array in arrays.items() if name.startswith(start)}
