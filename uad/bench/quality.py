"""Train by several recipes on the same splits and compare what they detect: `uad bench quality`."""

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from uad.config import ExportConfig, TrainingConfig
from uad.data import load_dataset
from uad.evaluation import Report, compare, evaluate
from uad.inference.detector import load_detector
from uad.metrics import Difference
from uad.models.teacher import load_teacher
from uad.training import train
from uad.training.output import finished

FIGURES = ("image_auroc", "pixel_auroc", "aupro", "f1", "recall", "false_alarm_rate")


@dataclass(frozen=True)
class Recipe:
    """One way to train."""

    name: str
    config: TrainingConfig
    teacher: str


@dataclass(frozen=True)
class RecipeResult:
    """One recipe on one data set with one seed, which splits the images and starts the student."""

    data: str
    recipe: str
    seed: int
    report: Report
    minutes: float
    """Wall-clock time of the whole training: decoding, teacher, epochs, score, calibration."""


def run(
    data: Iterable[str],
    recipes: Sequence[Recipe],
    seeds: Sequence[int],
    folder: Path,
    *,
    device: str = "cpu",
    progress: bool = True,
    on_outcome: Callable[[RecipeResult], None] | None = None,
) -> list[RecipeResult]:
    """Every data set x seed x recipe; bundles that are in `folder` are not trained again.

    Args:
        data: names of ingested datasets, or folders, with labelled test images.
        recipes: the others are compared with the first one.
        seeds: each gives another split of the normal images, the same for all recipes.
        folder: keeps the bundles and the times.
        device: where to train.
        progress: show bars.
        on_outcome: called as results come.

    Raises:
        TrainingError: `folder` holds another training's bundle under the same name.
    """
    outcomes = []
    for name in data:
        for seed in seeds:
            for recipe in recipes:
                outcome = _outcome(name, recipe, seed, folder, device, progress)
                outcomes.append(outcome)
                if on_outcome is not None:
                    on_outcome(outcome)
    return outcomes


def differences(outcomes: Sequence[RecipeResult], reference: str) -> list[tuple[str, Difference]]:
    """Each outcome minus the reference recipe's on the same split, by a paired bootstrap.

    Returns:
        Pairs of `data, seed, recipe: metric` and the 95 % interval of the difference.
    """
    base = {(o.data, o.seed): o.report for o in outcomes if o.recipe == reference}
    return [
        (f"{o.data}, seed {o.seed}, {o.recipe}: {metric}", difference)
        for o in outcomes
        if o.recipe != reference and (o.data, o.seed) in base
        for metric, difference in compare(o.report, base[o.data, o.seed]).items()
    ]


def summary(outcomes: Sequence[RecipeResult]) -> list[tuple[str, ...]]:
    """Rows of data, recipe, seeds, then mean +- standard deviation of each figure.

    The last two are the minutes of a training and the milliseconds of an image.
    """
    groups: dict[tuple[str, str], list[RecipeResult]] = {}
    for outcome in outcomes:
        groups.setdefault((outcome.data, outcome.recipe), []).append(outcome)
    return [
        (
            Path(data).name,
            recipe,
            str(len(group)),
            *(_spread([getattr(o.report, figure) for o in group], 3) for figure in FIGURES),
            _spread([o.minutes for o in group], 1),
            _spread([o.report.latency.median_ms for o in group], 1),
        )
        for (data, recipe), group in groups.items()
    ]


def as_json(outcomes: Sequence[RecipeResult], reference: str) -> str:
    """Everything above, for machines."""
    runs: list[Mapping[str, object]] = [
        {
            "data": o.data,
            "recipe": o.recipe,
            "seed": o.seed,
            "minutes": round(o.minutes, 2),
            "milliseconds": round(o.report.latency.median_ms, 2),
            "false_alarm_range": o.report.false_alarm_range,
            **{figure: getattr(o.report, figure) for figure in FIGURES},
        }
        for o in outcomes
    ]
    intervals = {
        name: [difference.difference, difference.low, difference.high]
        for name, difference in differences(outcomes, reference)
    }
    return json.dumps({"runs": runs, "minus_" + reference: intervals}, indent=2) + "\n"


def _outcome(
    data: str, recipe: Recipe, seed: int, folder: Path, device: str, progress: bool
) -> RecipeResult:
    config = seeded(recipe.config, seed)
    dataset = load_dataset(data, config.data)
    bundle = folder / f"{Path(data).name}-{recipe.name}-{seed}"
    times = bundle.with_name(bundle.name + "-minutes.json")
    teacher = load_teacher(recipe.teacher, width=config.model.width)
    there = finished(bundle, dataset, config, teacher, cure="remove it")
    if there is None or not times.is_file():
        started = time.monotonic()
        train(dataset, config, teacher, bundle, device=device, progress=progress)
        times.write_text(json.dumps((time.monotonic() - started) / 60.0))
    report = evaluate(load_detector(bundle), dataset.test, progress=progress)
    return RecipeResult(data, recipe.name, seed, report, json.loads(times.read_text()))


def seeded(config: TrainingConfig, seed: int) -> TrainingConfig:
    """`config` with one seed for the split and for the training."""
    return config.model_copy(
        update={
            "data": config.data.model_copy(update={"seed": seed}),
            "training": config.training.model_copy(update={"seed": seed}),
            "export": ExportConfig(int8="off"),  # judged in float32, and timed
        }
    )


def _spread(values: Sequence[float | None], digits: int) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    return f"{np.mean(known):.{digits}f} ± {np.std(known):.{digits}f}"
