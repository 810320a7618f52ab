"""The distillation loop: read it from top to bottom.

Loss of a level: mean squared error over the teacher's variance of each channel, plus
1 - cosine over channels; the sum of the three levels is minimised.
"""

import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as distributed
import torch.multiprocessing
import torch.nn.functional as F
from numpy.typing import NDArray

from uad.models.teacher.distillation.network import (
    LEVELS,
    Tensors,
    folded,
    initial_weights,
    normalised,
    pyramid,
)
from uad.models.teacher.distillation.optimization import Means, precision, recalibrated, update
from uad.models.teacher.distillation.recipe import DistillationRecipe
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
from uad.models.teacher.distillation.stream import Batch, CropStream, prefetching

PARTS = [f"{kind}{level}" for level in LEVELS for kind in ("squared", "cosine")]
"""The loss's parts, as the curve names them."""


def distill(
    teacher: Mapping[str, NDArray[np.float32]], recipe: DistillationRecipe, folder: Path
) -> Tensors:
    """Train a student of `teacher` on drawn images; continues from `folder` after a stop.

    Args:
        teacher: torchvision's names to float32 arrays, conv1 to layer3.
        recipe: must equal the one that `folder` was begun with.
        folder: keeps the recipe, the checkpoint and the loss curve.

    Returns:
        The averaged student, its batch norm statistics measured at the size of use.
    """
    begin(recipe, folder)
    with tempfile.TemporaryDirectory() as meeting:
        arguments = (dict(teacher), recipe, folder, Path(meeting) / "meeting")
        torch.multiprocessing.spawn(_work, arguments, nprocs=recipe.workers)
    return recalibrated(load(folder)["average"], recipe, _crops_of_use(recipe))


def _work(
    rank: int,
    teacher: dict[str, NDArray[np.float32]],
    recipe: DistillationRecipe,
    folder: Path,
    meeting: Path,
) -> None:
    """One of the processes that share each update."""
    torch.set_num_threads(recipe.threads)
    distributed.init_process_group(
        "gloo", init_method=f"file://{meeting}", rank=rank, world_size=recipe.workers
    )
    frozen = placed(folded(teacher), recipe)
    state = resumed(recipe, folder) or _fresh(recipe, frozen)
    distributed.barrier()
    _run(rank, state, frozen, recipe, folder)
    distributed.destroy_process_group()


def _run(
    rank: int, state: TrainingState, teacher: Tensors, recipe: DistillationRecipe, folder: Path
) -> None:
    started = time.monotonic() - state.elapsed_seconds
    saved, shown = time.monotonic(), Means()
    with prefetching((recipe.seed, 1, state.step, rank)) as crops:
        for _ in range(4):
            _order(crops, recipe, state)
        while (progress := recipe.progress(state.images, state.elapsed_seconds)) < 1.0:
            images = normalised(crops.take(), recipe.device)
            _order(crops, recipe, state)
            shown.add(_step(state, teacher, images, recipe, progress))
            counted = torch.tensor([len(images), 0.0 if rank else time.monotonic() - started])
            distributed.all_reduce(counted)
            state.step, state.images = state.step + 1, state.images + int(counted[0])
            state.elapsed_seconds = float(counted[1])
            if rank:
                continue
            if state.step % recipe.report_every_steps == 0:
                report(folder, state, recipe.rate(progress), shown.taken())
            if time.monotonic() - saved > recipe.checkpoint_every_seconds:
                save(state, folder)
                saved = time.monotonic()
    if rank == 0:
        save(state, folder)


def _step(
    state: TrainingState, teacher: Tensors, images: Any, recipe: DistillationRecipe, progress: float
) -> dict[str, float]:
    """One update; the parts of its loss by name."""
    with precision(recipe):
        with torch.no_grad():
            wanted = pyramid(teacher, images, training=False)
        below = wanted if progress < recipe.apart_until else None
        got = pyramid(state.student, images, training=True, below=below)
    parts = level_losses(wanted, got, state.variances)
    update(state, sum(parts), recipe, progress, _share)
    return {name: float(part.detach()) for name, part in zip(PARTS, parts, strict=True)}


def _share(gradients: list[Any]) -> None:
    """Replace each worker's gradients by the mean over the workers."""
    if distributed.get_world_size() == 1:
        return
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
    distributed.all_reduce(flat)
    flat /= distributed.get_world_size()
    start = 0
    for gradient in gradients:
        gradient.copy_(flat[start : start + gradient.numel()].view_as(gradient))
        start += gradient.numel()


def level_losses(wanted: list[Any], got: list[Any], variances: list[Any]) -> list[Any]:
    """For each level the squared error over the variance, then 1 - cosine; six scalars."""
    losses = []
    for target, answer, variance in zip(wanted, got, variances, strict=True):
        target, answer = target.float(), answer.float()
        losses.append(((answer - target).square().mean((0, 2, 3)) / variance).mean())
        losses.append(1.0 - F.cosine_similarity(answer, target, dim=1).mean())
    return losses


def _crops_of_use(recipe: DistillationRecipe) -> Iterator[Batch]:
    """Drawn images of the size at which a teacher is used, 16 at a time."""
    stream = CropStream((recipe.seed, 2), pool=64, crops_a_scene=8)
    for _ in range(max(1, recipe.recalibration_images // 16)):
        yield stream.batch(16, recipe.recalibration_px)


def _fresh(recipe: DistillationRecipe, teacher: Tensors) -> TrainingState:
    weights = initial_weights(recipe.seed, recipe.width)
    return fresh(weights, recipe, _variances(teacher, recipe))


def _variances(teacher: Tensors, recipe: DistillationRecipe) -> list[Any]:
    stream = CropStream((recipe.seed, 0), pool=96, crops_a_scene=100)
    with torch.no_grad():
        images = normalised(stream.batch(192, 96), recipe.device)
        features = pyramid(teacher, images, training=False)
    variances = [level.var((0, 2, 3)) for level in features]
    return [variance + 0.01 * variance.mean() for variance in variances]


def _order(crops: Any, recipe: DistillationRecipe, state: TrainingState) -> None:
    stage = recipe.stage(recipe.progress(state.images, state.elapsed_seconds))
    crops.ask(stage.batch_size, stage.edge_px)
