"""What every training does with a loss, whatever it trains for."""

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch

from uad.errors import TrainingError
from uad.models.teacher.distillation.network import Tensors, is_trained, normalised, pyramid
from uad.models.teacher.distillation.recipe import Training
from uad.models.teacher.distillation.state import TrainingState, placed
from uad.models.teacher.distillation.stream import Batch


def update(
    state: TrainingState,
    loss: Any,
    recipe: Training,
    progress: float,
    share: Callable[[list[Any]], None] | None = None,
) -> None:
    """Move the student, then the average, once down the gradient of `loss`.

    Args:
        state: changed in place.
        loss: scalar computed with the state's student.
        recipe: says the learning rate and how slowly the average moves.
        progress: in [0, 1]; where in the recipe's schedule this is.
        share: changes the gradients in place, before they are clipped and used.

    Raises:
        TrainingError: the gradient is not finite.
    """
    for group in state.optimiser.param_groups:
        group["lr"] = recipe.rate(progress)
    state.optimiser.zero_grad(set_to_none=True)
    loss.backward()
    trained = [value for name, value in state.student.items() if is_trained(name)]
    if share is not None:
        share([value.grad for value in trained])
    norm = torch.nn.utils.clip_grad_norm_(trained, 5.0)
    if not bool(torch.isfinite(norm)):
        raise TrainingError(f"the training diverged at step {state.step}; lower learning_rate")
    state.optimiser.step()
    _average(state, recipe.average_decay)


def recalibrated(weights: Tensors, recipe: Training, batches: Iterable[Batch]) -> Tensors:
    """A copy whose running statistics are the mean over `batches`."""
    result = placed({name: value.detach().clone() for name, value in weights.items()}, recipe)
    for index, batch in enumerate(batches):
        images = normalised(batch, recipe.device)
        with torch.no_grad(), precision(recipe):
            pyramid(result, images, training=True, momentum=1.0 / (index + 1))
    return {name: value.cpu() for name, value in result.items()}


def precision(recipe: Training) -> Any:
    """The context of a forward pass."""
    kind = torch.device(recipe.device).type
    return torch.autocast(kind, torch.bfloat16) if recipe.bfloat16 else nullcontext()


class Means:
    """Of what was measured since the last report."""

    def __init__(self) -> None:
        self._rows: list[dict[str, float]] = []

    def add(self, measured: dict[str, float]) -> None:
        """Of one update; the same names every time."""
        self._rows.append(measured)

    def taken(self) -> dict[str, float]:
        """The means, forgotten here."""
        means = {name: float(np.mean([row[name] for row in self._rows])) for name in self._rows[0]}
        self._rows.clear()
        return means


def _average(state: TrainingState, decay: float) -> None:
    """Move the average towards the student, faster at the start."""
    decay = min(decay, (1 + state.step) / (10 + state.step))
    names = list(state.student)
    kept = [state.average[name] for name in names]
    new = [state.student[name].detach() for name in names]
    torch._foreach_lerp_(kept, new, 1.0 - decay)
