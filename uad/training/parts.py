"""The parts that need no training, and how all parts are combined. Needs no Paddle."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from uad.config import (
    DetectorConfig,
    DetectorDefinition,
    InputSpec,
    ScoreDefinition,
    TrainingConfig,
)
from uad.config.score import Distance
from uad.console import progress_bar, step
from uad.data import Sample
from uad.inference.features import (
    decoded_batches,
    feature_extractor,
    outputs_of,
)
from uad.models.memory import FeatureSample, Memory, fit_memory
from uad.models.parts import Parts, Teacher, TrainedModel, TrainedStudent
from uad.models.statistics import WholeImage, fit_whole_image
from uad.scoring.composition import choose_composition
from uad.scoring.maps import LEVELS, Outputs
from uad.scoring.parts import Scoring
from uad.scoring.selection import (
    LevelMaps,
    Planted,
    choose_score,
    level_statistics,
    looked_at,
    plant_in,
)

GOLDEN_IMAGES = 3
Statistics = dict[str, NDArray[np.float32]]
MEMORY_SIZE = "detector.memory_features at most; on four sets no other size than 4000 was better"
"""Why it is as large as it is: measured once for all, see docs/quality.md."""


def fit_parts(
    teacher: Teacher,
    train: Sequence[Sample],
    spec: InputSpec,
    config: DetectorConfig,
    *,
    seed: int = 0,
    progress: bool = False,
) -> tuple[Memory | None, WholeImage | None]:
    """Memory and whole image's statistics of `train`, as far as `config` asks for them.

    The teacher runs once over the images. The memory it needs grows by only a few kB per image.
    """
    if not (config.memory or config.whole_image):
        return None, None
    sample, moments = FeatureSample(len(train), seed=seed), []
    with (
        progress_bar("images", visible=progress) as bar,
        feature_extractor(teacher.weights, spec) as extractor,
    ):
        task = bar.add_task("memory", total=len(train), note="")
        for batch in decoded_batches(train, spec):
            features = extractor.of(batch)
            count, *_, channels = features.patches.shape
            sample.add(features.patches.reshape(count, -1, channels))
            moments.append(features.moments)
            bar.advance(task, count)
    with step("memory: choosing features", visible=progress and config.memory):
        size = config.memory_features
        memory = fit_memory(sample.features(), size, seed=seed) if config.memory else None
    whole_image = fit_whole_image(np.concatenate(moments)) if config.whole_image else None
    return memory, whole_image


def put_together(
    teacher: Teacher,
    student: TrainedStudent | None,
    memory: Memory | None,
    whole_image: WholeImage | None,
    selection: Sequence[Sample],
    config: TrainingConfig,
) -> TrainedModel:
    """The detector of these parts; the normal images `selection` make all remaining choices.

    Args:
        teacher: the frozen network.
        student: None: without this part; the same for the next two.
        memory: see `student`.
        whole_image: see `student`.
        selection: normal images that were not used for training.
        config: the input in numbers, and a score where it is not `auto`.
    """
    spec = config.input.spec()
    normals = np.concatenate(list(decoded_batches(looked_at(selection), spec)))
    planted = plant_in(normals, seed=config.training.seed, ignore=spec.ignore)
    whitening = list(student.whitening.values()) if student else None
    weights = student.weights if student else None
    parts = Parts(teacher.weights, weights, whitening, memory, whole_image)
    examined = _Examined(parts, spec, normals, planted)
    score, statistics = _student_score(examined, student, config)
    detector = _composition(examined, score, statistics) if memory or whole_image else None
    if detector and detector.memory and memory:
        size = f"a memory of {len(memory.features)} features ({MEMORY_SIZE})"
        detector = detector.model_copy(update={"reason": f"{detector.reason}; {size}"})
    used = detector.parts() if detector else {"student": None}
    return TrainedModel(
        student=weights if "student" in used else None,
        teacher=teacher,
        input=spec,
        score=score,
        statistics=statistics,
        config=config,
        history=student.history if student else (),
        chosen_epoch=student.chosen_epoch if student else None,
        golden=tuple(np.array(image) for image in normals[:GOLDEN_IMAGES]),
        memory=memory if "memory" in used else None,
        whole_image=whole_image if "whole_image" in used else None,
        detector=detector,
    )


class _Examined:
    """The parts' results for the selection images, and for those with planted defects."""

    def __init__(
        self, parts: Parts, spec: InputSpec, normals: NDArray[np.uint8], planted: Planted
    ) -> None:
        self._parts, self.spec = parts, spec
        self._normals, self.planted = normals, planted
        self._known: dict[Distance, tuple[Outputs, Outputs]] = {}

    def both(self, distance: Distance) -> tuple[Outputs, Outputs]:
        """Of the normal images and of the planted ones, the student's by one distance."""
        if distance not in self._known:
            parts = self._parts
            if distance == "cosine":
                parts = replace(parts, whitenings=None)
            clean, defective = outputs_of(parts, self.spec, self._normals, self.planted.images)
            self._known[distance] = clean, defective
        return self._known[distance]

    def levels(self, distance: Distance) -> tuple[LevelMaps, LevelMaps]:
        """The student's maps alone."""
        clean, defective = self.both(distance)
        return [clean[name] for name in LEVELS], [defective[name] for name in LEVELS]


def _student_score(
    examined: _Examined, student: TrainedStudent | None, config: TrainingConfig
) -> tuple[ScoreDefinition, Statistics]:
    """How the student's maps become one, and the statistics of normal images for that."""
    if student is None:
        return ScoreDefinition(reason="there is no student"), {}
    score = config.score
    if score == "auto":
        distances: tuple[Distance, ...] = ("mahalanobis", "cosine")
        clean, defective = (
            {distance: examined.levels(distance)[which] for distance in distances}
            for which in (0, 1)
        )
        masks = examined.planted.masks_at(clean["cosine"][0].shape[1:])
        score = choose_score(clean, defective, masks).score
    statistics = level_statistics(examined.levels(score.distance)[0], score.normalise)
    if score.distance == "mahalanobis":
        statistics |= student.whitening
    return score, statistics


def _composition(
    examined: _Examined, score: ScoreDefinition, statistics: Statistics
) -> DetectorDefinition:
    scoring = Scoring(score, None, statistics, examined.spec.ignore)
    clean, defective = (
        [scoring.part_scores(outputs, index) for index in range(len(next(iter(outputs.values()))))]
        for outputs in examined.both(score.distance)
    )
    size = next(iter(clean[0].maps.values())).shape
    masks = examined.planted.masks_at(size)
    return choose_composition(score, statistics, clean, defective, masks)
