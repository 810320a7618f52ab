"""What a training keeps in its folder: the recipe, the curve and all needed to go on."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from uad.errors import TrainingError
from uad.models.teacher.distillation.network import Tensors, is_trained
from uad.models.teacher.distillation.recipe import Training
from uad.storage.atomic_writes import replacing

CHECKPOINT = "checkpoint.pt"
CURVE = "curve.csv"
RECIPE = "recipe.json"


@dataclass
class TrainingState:
    """All that is needed to go on."""

    student: Tensors
    average: Tensors
    optimiser: Any
    variances: list[Any] = field(default_factory=list)
    """In a distillation, per level the teacher's variance of each channel, (C_l,)."""
    step: int = 0
    images: int = 0
    elapsed_seconds: float = 0.0


def fresh(weights: Tensors, recipe: Training, variances: Sequence[Any] = ()) -> TrainingState:
    """The state before the first update of a network that begins with `weights`."""
    student = _trainable(weights, recipe)
    average = {name: value.detach().clone() for name, value in student.items()}
    return TrainingState(student, average, optimiser_for(student, recipe), list(variances))


def optimiser_for(student: Tensors, recipe: Training) -> Any:
    """AdamW; only kernels decay."""
    kernels = [v for name, v in student.items() if is_trained(name) and v.dim() > 1]
    norms = [v for name, v in student.items() if is_trained(name) and v.dim() == 1]
    groups = [
        {"params": kernels, "weight_decay": recipe.weight_decay},
        {"params": norms, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate)


def placed(weights: Tensors, recipe: Training) -> Tensors:
    """On the recipe's device, kernels with their channels last, which convolves fastest."""
    placed = {name: value.to(recipe.device) for name, value in weights.items()}
    return {
        name: value.contiguous(memory_format=torch.channels_last) if value.dim() == 4 else value
        for name, value in placed.items()
    }


def report(folder: Path, state: TrainingState, rate: float, measured: Mapping[str, float]) -> None:
    """Append one line to the curve: where the training is, and what was measured since the last."""
    file = folder / CURVE
    new = not file.exists()
    with file.open("a", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        if new:
            writer.writerow(["step", "images", "seconds", "rate", *measured])
        seconds = round(state.elapsed_seconds, 1)
        values = [f"{value:.5f}" for value in measured.values()]
        writer.writerow([state.step, state.images, seconds, f"{rate:.6f}", *values])


def begin(recipe: Training, folder: Path) -> None:
    """Make `folder` and note the recipe in it, or check that it is the one noted there.

    Raises:
        TrainingError: `folder` was begun with another recipe.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / RECIPE
    noted = recipe.model_dump(mode="json")
    if file.exists() and json.loads(file.read_text(encoding="utf-8")) != noted:
        raise TrainingError(
            f"{file} belongs to another recipe: choose another folder or the same recipe"
        )
    file.write_text(json.dumps(noted, indent=2) + "\n", encoding="utf-8")


def save(state: TrainingState, folder: Path) -> None:
    """Replace the checkpoint in `folder` in one step."""
    with replacing(folder / CHECKPOINT) as new:
        torch.save(_plain(state), new)


def _plain(state: TrainingState) -> dict[str, Any]:
    """The state as plain tensors and numbers, which is all a checkpoint may hold."""
    return {
        "student": {name: value.detach() for name, value in state.student.items()},
        "average": state.average,
        "optimiser": state.optimiser.state_dict(),
        "variances": state.variances,
        "step": state.step,
        "images": state.images,
        "elapsed_seconds": state.elapsed_seconds,
    }


def resumed(recipe: Training, folder: Path) -> TrainingState | None:
    """The state that `folder` was left in, or None."""
    if not (folder / CHECKPOINT).exists():
        return None
    values = load(folder)
    student = _trainable(values["student"], recipe)
    optimiser = optimiser_for(student, recipe)
    optimiser.load_state_dict(values["optimiser"])
    return TrainingState(
        student=student,
        average=placed(values["average"], recipe),
        optimiser=optimiser,
        variances=[variance.to(recipe.device) for variance in values["variances"]],
        step=values["step"],
        images=values["images"],
        elapsed_seconds=values["elapsed_seconds"],
    )


def _trainable(weights: Tensors, recipe: Training) -> Tensors:
    student = placed(weights, recipe)
    for name, value in student.items():
        value.requires_grad_(is_trained(name))
    return student


def load(folder: Path) -> dict[str, Any]:
    """The plain values of the checkpoint in `folder`; nothing in it is run."""
    file = folder / CHECKPOINT
    values: dict[str, Any] = torch.load(file, weights_only=True, map_location="cpu")
    return values
