"""How detection moves during training: time to quality, and what the chosen epoch is worth.

    python tests/bench/curves.py --data FOLDER --teacher FILE --recipe published --recipe default

Trains by each recipe on the same splits and measures the student of every few epochs on the test
images, which training itself never sees. Prints, as means over the seeds, image and pixel AUROC
of the epoch that each criterion on normal images chooses (selection loss, which is training's own;
planted defects; stability of the scores), of the last one and of the best in hindsight, and how
many steps and seconds of training passed until both figures reached what the first recipe ends
with.
"""

import json
import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from scipy.stats import spearmanr

from uad.bench.quality import seeded
from uad.config import TrainingConfig, load_settings
from uad.console import print_table
from uad.data import Dataset, load_dataset
from uad.data.samples import Sample
from uad.images import read, read_mask, resize
from uad.metrics import PixelStream, image_auroc
from uad.models.backbone import Pyramid
from uad.models.paddle_runtime import paddle
from uad.models.parts import EpochMetrics, Teacher
from uad.models.resnet import Weights
from uad.models.stfpm import differences, distance_maps, mahalanobis, unit
from uad.models.teacher import load_teacher
from uad.models.whitening import SecondMoments
from uad.scoring.maps import anomaly_map, image_score
from uad.scoring.selection import LevelMaps, candidates, level_statistics, plant_in, quality
from uad.training import settled
from uad.training.checkpoint import load_checkpoint
from uad.training.loop import fit
from uad.training.teacher_features import network_input


@dataclass(frozen=True)
class Point:
    recipe: str
    seed: int
    epoch: int
    steps: int
    seconds: float
    """Of training alone: decoding and the teacher's pass come once, before."""
    selection_loss: float
    planted: float
    """Detection of defects planted in the selection images."""
    stability: float
    """Rank correlation of the selection and planted images' scores with the last look's."""
    image_auroc: float
    pixel_auroc: float


CRITERIA: dict[str, Callable[[Point], float]] = {
    "selection loss": lambda point: -point.selection_loss,
    "planted defects": lambda point: point.planted,
    "stable scores": lambda point: point.stability,
    "the last epoch": lambda point: point.epoch,
    "hindsight": lambda point: point.image_auroc + point.pixel_auroc,
}
"""Of the points of one training the one with the highest value is taken."""


class Examiner:
    """Measures students of one split and teacher on the test images."""

    def __init__(self, dataset: Dataset, config: TrainingConfig, teacher: Teacher) -> None:
        self.config, self.test = config, dataset.test
        score = config.score
        self.score = next(iter(candidates(0))) if score == "auto" else score
        finest = (config.input.spec().height // 4, config.input.spec().width // 4)
        normals = self._read(dataset.selection)
        planted = plant_in(normals, seed=config.training.seed)
        self.planted_masks = planted.masks_at(finest)
        self.selection, self.planted, self.images = (
            self._network_input(images)
            for images in (normals, planted.images, self._read(dataset.test))
        )
        frozen = Pyramid().load(teacher.weights).frozen()
        self.targets = {
            id(images): [[unit(level) for level in frozen(batch)] for batch in images]
            for images in (self.selection, self.planted, self.images)
        }
        self.scores: list[float] | None = None
        self.masks = [
            resize(read_mask(sample.mask, sample.size).astype(np.uint8) * 255, finest, "area") > 127
            if sample.mask
            else np.zeros(finest, bool)
            for sample in dataset.test
        ]

    def examine(self, student: Weights) -> dict[str, float]:
        """A point's `planted` .. `pixel_auroc`, pixels at the finest level's resolution."""
        network = Pyramid().load(student).frozen()
        maps_of = partial(self._maps, network, self._whitenings(network))
        clean, defective, levels = map(maps_of, (self.selection, self.planted, self.images))
        statistics = level_statistics(clean, self.score.normalise)

        def maps(levels: LevelMaps, count: int) -> Iterator[NDArray[np.float32]]:
            size = self.planted_masks[0].shape
            for index in range(count):
                one = [level[index] for level in levels]
                yield anomaly_map(one, self.score, statistics, size)

        stream, scores = PixelStream(), []
        for one, mask in zip(maps(levels, len(self.masks)), self.masks, strict=True):
            stream.add(one, mask)
            scores.append(image_score(one))
        own = [image_score(one) for part in (clean, defective) for one in maps(part, len(part[0]))]
        before, self.scores = self.scores, own
        return {
            "planted": quality(self.score, clean, defective, self.planted_masks),
            "stability": float(spearmanr(before, own).statistic) if before else 0.0,
            "image_auroc": image_auroc([sample.label for sample in self.test], scores) or 0.0,
            "pixel_auroc": stream.overall().auroc or 0.0,
        }

    def _read(self, samples: Sequence[Sample]) -> NDArray[np.uint8]:
        spec = self.config.input.spec()
        size = (spec.height, spec.width)
        return np.stack([resize(read(s.path), size, spec.interpolation) for s in samples])

    def _network_input(self, images: NDArray[np.uint8]) -> list[object]:
        return [
            paddle.to_tensor(network_input(images[start : start + 8], self.config.input.spec()))
            for start in range(0, len(images), 8)
        ]

    def _pairs(self, network: Pyramid, batches: list[object]) -> Iterator[tuple[Any, Any]]:
        for targets, batch in zip(self.targets[id(batches)], batches, strict=True):
            yield targets, network(batch)

    def _whitenings(self, network: Pyramid) -> list[Any] | None:
        if self.score.distance == "cosine":
            return None
        moments = SecondMoments(levels=3)
        for pair in self._pairs(network, self.selection):
            moments.add(differences(*pair))
        return [paddle.to_tensor(matrix) for matrix in moments.whitening().values()]

    def _maps(
        self, network: Pyramid, whitenings: list[Any] | None, batches: list[object]
    ) -> LevelMaps:
        maps = [
            [level.numpy() for level in distance_maps(*pair)]
            if whitenings is None
            else [mahalanobis(*level).numpy() for level in zip(*pair, whitenings, strict=True)]
            for pair in self._pairs(network, batches)
        ]
        return [np.concatenate(level) for level in zip(*maps, strict=True)]


def curve(
    recipe: str, config: TrainingConfig, data: str, seed: int, teacher: Teacher, every: int
) -> Iterator[Point]:
    """The student of each `every` epochs of one training, and of the last."""
    config = seeded(config, seed)
    dataset = load_dataset(data, config.data)
    config = settled(config, dataset)
    examiner, points, options = Examiner(dataset, config, teacher), [], config.training
    steps = math.ceil(len(dataset.train) / options.batch_size)
    last = max(options.epochs, math.ceil(options.min_steps / steps))
    seconds = 0.0

    with tempfile.TemporaryDirectory() as name:

        def look(metrics: EpochMetrics) -> None:
            nonlocal seconds
            seconds += metrics.values["seconds"]
            checkpoint = load_checkpoint(Path(name), "curve")
            if checkpoint is None or (metrics.epoch % every and metrics.epoch != last):
                return
            points.append(
                Point(
                    recipe, seed, metrics.epoch, metrics.epoch * steps, seconds,
                    metrics.values["selection_loss"], **examiner.examine(checkpoint.average),
                )
            )  # fmt: skip

        fit(
            teacher, dataset.train, dataset.selection, config,
            on_epoch=look, checkpoints=Path(name), key="curve", progress=True,
        )  # fmt: skip
    yield from points


def summary(points: Sequence[Point], reference: str) -> list[tuple[str, ...]]:
    """A row a recipe; figures are means over the seeds, image and pixel AUROC."""
    runs: dict[tuple[str, int], list[Point]] = {}
    for point in points:
        runs.setdefault((point.recipe, point.seed), []).append(point)
    rows = []
    for recipe in dict.fromkeys(point.recipe for point in points):
        mine = [run for (name, _), run in runs.items() if name == recipe]
        reached = [_reaches(run, runs[reference, run[0].seed][-1]) for run in mine]
        there = [point for point in reached if point is not None]
        time = "-"
        if there:
            steps, seconds = (np.mean([getattr(p, f) for p in there]) for f in ("steps", "seconds"))
            time = f"{steps:.0f} / {seconds:.0f}"
        rows.append(
            (
                recipe,
                str(len(mine)),
                *(_mean([max(run, key=value) for run in mine]) for value in CRITERIA.values()),
                f"{time} ({len(there)} of {len(mine)})",
            )
        )
    return rows


def _mean(points: Sequence[Point]) -> str:
    image, pixel = ([getattr(p, f) for p in points] for f in ("image_auroc", "pixel_auroc"))
    return (
        f"{np.mean(image):.3f} ± {np.std(image):.3f} / {np.mean(pixel):.3f} ± {np.std(pixel):.3f}"
    )


def _reaches(run: Sequence[Point], goal: Point) -> Point | None:
    """The first point that detects as well as `goal` by both figures."""
    for point in run:
        if point.image_auroc >= goal.image_auroc and point.pixel_auroc >= goal.pixel_auroc:
            return point
    return None


def main(
    data: Annotated[str, typer.Option()],
    teacher: Annotated[str, typer.Option()],
    recipe: Annotated[list[str], typer.Option()],
    seeds: int = 3,
    every: int = 1,
    set_: Annotated[list[str] | None, typer.Option("--set")] = None,
    output: Path = Path("output/curves.jsonl"),
) -> None:
    """See the module."""
    frozen, points = load_teacher(teacher), []
    output.parent.mkdir(parents=True, exist_ok=True)
    with output.open("w") as stream:
        for seed in range(seeds):
            for name in recipe:
                known = Path(str(files("uad"))) / "configs" / "training" / f"{name}.yaml"
                file = known if known.is_file() else Path(name)
                config = load_settings(TrainingConfig, file, set_ or [])
                for point in curve(file.stem, config, data, seed, frozen, every):
                    points.append(point)
                    stream.write(json.dumps(asdict(point)) + "\n")
                    stream.flush()
    columns = ("recipe", "seeds", *CRITERIA, "steps / seconds to the first's end")
    print_table("curves", columns, summary(points, Path(recipe[0]).stem))


if __name__ == "__main__":
    typer.run(main)
