"""The classification of fractals: read it from top to bottom.

The network is the teacher itself, ResNet-18's conv1 to layer3, under the mean over layer3's places
and a linear head over the categories, which is thrown away in the end; the loss is cross entropy.
The paper also trains layer4. That doubles the work of a step, and no teacher here has a layer4.
"""

import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from uad.models.teacher.distillation.formula.batches import (
    FormulaRecipe,
    FractalBatches,
    Purpose,
    categories,
)
from uad.models.teacher.distillation.network import Tensors, initial_weights, normalised, pyramid
from uad.models.teacher.distillation.optimization import Means, precision, recalibrated, update
from uad.models.teacher.distillation.state import (
    TrainingState,
    begin,
    fresh,
    load,
    placed,
    report,
    resumed,
    save,
)


def classify(recipe: FormulaRecipe, folder: Path) -> Tensors:
    """Train to the end of the schedule; continues from `folder` after an interruption.

    Args:
        recipe: must equal the one that `folder` was begun with.
        folder: keeps the recipe, the checkpoint and the curve.

    Returns:
        The averaged network, its batch norm statistics measured on pictures of training.
    """
    for _ in updates(recipe, folder):
        pass
    drawn = FractalBatches(recipe, Purpose.RECALIBRATION, categories(recipe))
    pictures = (drawn[number][0] for number in range(recipe.recalibration_batches))
    return recalibrated(load(folder)["average"], recipe, pictures)


def updates(recipe: FormulaRecipe, folder: Path) -> Iterator[TrainingState]:
    """The training itself: its state after each update that is still to be made."""
    begin(recipe, folder)
    state = resumed(recipe, folder) or fresh(_first_weights(recipe), recipe)
    started = time.monotonic() - state.elapsed_seconds
    saved, shown = time.monotonic(), Means()
    batches = _drawn_ahead(FractalBatches(recipe, Purpose.TRAINING, categories(recipe)), state.step)
    while (progress := recipe.progress(state.images, state.elapsed_seconds)) < 1.0:
        pictures, labels = next(batches)
        shown.add(_step(state, pictures, labels, recipe, progress))
        state.step, state.images = state.step + 1, state.images + len(labels)
        state.elapsed_seconds = time.monotonic() - started
        if state.step % recipe.report_every_steps == 0:
            report(folder, state, recipe.rate(progress), shown.taken())
        if time.monotonic() - saved > recipe.checkpoint_every_seconds:
            save(state, folder)
            saved = time.monotonic()
        yield state
    save(state, folder)


def held_out_accuracy(weights: Tensors, recipe: FormulaRecipe) -> float:
    """Share of pictures named rightly whose parameters lie between those of training."""
    batches = FractalBatches(recipe, Purpose.HELD_OUT, categories(recipe))
    network = placed(weights, recipe)
    right = []
    for number in range(recipe.held_out_batches):
        pictures, labels = batches[number]
        with torch.no_grad(), precision(recipe):
            answers = logits(network, normalised(pictures, recipe.device), training=False)
        right.append(answers.argmax(1).cpu().numpy() == labels)
    return float(np.mean(right))


def logits(weights: Tensors, images: Any, *, training: bool) -> Any:
    """(N, 3, H, W) as `normalised` gives them, to (N, categories)."""
    *_, last = pyramid(weights, images, training=training)
    return F.linear(last.mean((2, 3)), weights["head.weight"], weights["head.bias"])


def _step(
    state: TrainingState, pictures: Any, labels: Any, recipe: FormulaRecipe, progress: float
) -> dict[str, float]:
    """One update; its loss and the share of its pictures that were named rightly."""
    wanted = torch.from_numpy(labels).to(recipe.device)
    with precision(recipe):
        answers = logits(state.student, normalised(pictures, recipe.device), training=True)
    loss = F.cross_entropy(answers.float(), wanted)
    update(state, loss, recipe, progress)
    accuracy = (answers.argmax(1) == wanted).float().mean()
    return {"loss": float(loss.detach()), "accuracy": float(accuracy)}


def _first_weights(recipe: FormulaRecipe) -> Tensors:
    """A network that knows nothing, and a head that prefers no category."""
    weights = initial_weights(recipe.seed, recipe.width)
    features = len(weights["layer3.1.bn2.bias"])
    weights["head.weight"] = torch.zeros(recipe.categories, features)
    weights["head.bias"] = torch.zeros(recipe.categories)
    return weights


def _drawn_ahead(batches: FractalBatches, first: int) -> Iterator[Any]:
    """Batches from number `first` on, by the recipe's drawers."""
    loader = torch.utils.data.DataLoader(
        batches,
        batch_size=None,  # a lesson is a batch already
        sampler=count(first),
        collate_fn=_unchanged,
        num_workers=batches.recipe.drawers,
    )
    return iter(loader)


def _unchanged(lesson: Any) -> Any:
    return lesson
