"""The distillation loop: read it from top to bottom.

Loss of a level: mean squared error over the teacher's variance of each channel, plus
1 - cosine over channels; the sum of the three levels is minimised.
"""

import tempfile
import time
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as distributed
import torch.multiprocessing
import torch.nn.functional as F
from numpy.typing import NDArray

from uad.distill.network import (
    Tensors,
    folded,
    initial_weights,
    is_trained,
    normalised,
    pyramid,
)
from uad.distill.recipe import Recipe
from uad.distill.state import (
    State,
    begin,
    load,
    optimiser_for,
    placed,
    report,
    resumed,
    save,
)
from uad.distill.stream import CropStream, prefetching
from uad.errors import TrainingError


def distill(teacher: Mapping[str, NDArray[np.float32]], recipe: Recipe, folder: Path) -> Tensors:
    """Train a student of `teacher` on drawn images; goes on from `folder` when interrupted.

    Args:
        teacher: torchvision's names to float32 arrays, conv1 to layer3.
        recipe: must equal the one that `folder` was begun with.
        folder: keeps the recipe, the checkpoint and the loss curve.

    Returns:
        The averaged student, its batch norm statistics measured at the size of use.
    """
    folder.mkdir(parents=True, exist_ok=True)
    begin(recipe, folder)
    with tempfile.TemporaryDirectory() as meeting:
        arguments = (dict(teacher), recipe, folder, Path(meeting) / "meeting")
        torch.multiprocessing.spawn(_work, arguments, nprocs=recipe.workers)
    return recalibrated(load(folder)["average"], recipe)


def _work(
    rank: int,
    teacher: dict[str, NDArray[np.float32]],
    recipe: Recipe,
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


def _run(rank: int, state: State, teacher: Tensors, recipe: Recipe, folder: Path) -> None:
    started = time.monotonic() - state.elapsed_seconds
    saved, shown = time.monotonic(), _Average()
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
    state: State, teacher: Tensors, images: Any, recipe: Recipe, progress: float
) -> list[float]:
    """One update; the losses, squared error and 1 - cosine of each level in turn."""
    for group in state.optimiser.param_groups:
        group["lr"] = recipe.rate(progress)
    with _precision(recipe):
        with torch.no_grad():
            wanted = pyramid(teacher, images, training=False)
        below = wanted if progress < recipe.apart_until else None
        got = pyramid(state.student, images, training=True, below=below)
    parts = level_losses(wanted, got, state.variances)
    state.optimiser.zero_grad(set_to_none=True)
    sum(parts).backward()
    trained = [value for name, value in state.student.items() if is_trained(name)]
    _share([value.grad for value in trained])
    norm = torch.nn.utils.clip_grad_norm_(trained, 5.0)
    if not bool(torch.isfinite(norm)):
        raise TrainingError(f"the distillation diverged at step {state.step}; lower learning_rate")
    state.optimiser.step()
    _average(state, recipe.average_decay)
    return [float(part.detach()) for part in parts]


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


def recalibrated(weights: Tensors, recipe: Recipe) -> Tensors:
    """A copy whose running statistics are the mean over drawn images of the size of use."""
    result = placed({name: value.detach().clone() for name, value in weights.items()}, recipe)
    stream = CropStream((recipe.seed, 2), pool=64, crops_a_scene=8)
    count = max(1, recipe.recalibration_images // 16)
    for index in range(count):
        images = normalised(stream.batch(16, recipe.recalibration_px), recipe.device)
        with torch.no_grad(), _precision(recipe):
            pyramid(result, images, training=True, momentum=1.0 / (index + 1))
    return {name: value.cpu() for name, value in result.items()}


def _fresh(recipe: Recipe, teacher: Tensors) -> State:
    student = placed(initial_weights(recipe.seed, recipe.width), recipe)
    for name, value in student.items():
        value.requires_grad_(is_trained(name))
    average = {name: value.detach().clone() for name, value in student.items()}
    return State(student, average, optimiser_for(student, recipe), _variances(teacher, recipe))


def _variances(teacher: Tensors, recipe: Recipe) -> list[Any]:
    stream = CropStream((recipe.seed, 0), pool=96, crops_a_scene=100)
    with torch.no_grad():
        images = normalised(stream.batch(192, 96), recipe.device)
        features = pyramid(teacher, images, training=False)
    variances = [level.var((0, 2, 3)) for level in features]
    return [variance + 0.01 * variance.mean() for variance in variances]


def _average(state: State, decay: float) -> None:
    """Move the average towards the student, faster at the start."""
    decay = min(decay, (1 + state.step) / (10 + state.step))
    names = list(state.student)
    kept = [state.average[name] for name in names]
    new = [state.student[name].detach() for name in names]
    torch._foreach_lerp_(kept, new, 1.0 - decay)


def _precision(recipe: Recipe) -> Any:
    kind = torch.device(recipe.device).type
    return torch.autocast(kind, torch.bfloat16) if recipe.bfloat16 else nullcontext()


def _order(crops: Any, recipe: Recipe, state: State) -> None:
    stage = recipe.stage(recipe.progress(state.images, state.elapsed_seconds))
    crops.ask(stage.batch_size, stage.edge_px)


class _Average:
    """Means since the last report."""

    def __init__(self) -> None:
        self._rows: list[list[float]] = []

    def add(self, parts: list[float]) -> None:
        self._rows.append(parts)

    def taken(self) -> list[float]:
        means = [float(value) for value in np.mean(self._rows, axis=0)]
        self._rows.clear()
        return means
