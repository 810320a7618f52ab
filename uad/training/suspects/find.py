"""From a dataset to its images in the order of suspicion, and to settings without the suspects."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from uad.config import InputSpec, TrainingConfig
from uad.data import Dataset, Sample, load_dataset
from uad.data.input_shape import fitted_input
from uad.data.split import capture, compile_pattern
from uad.errors import DataError
from uad.models.parts import Teacher
from uad.storage.atomic_writes import replacing
from uad.storage.paths import cache_dir
from uad.training.cache import Cache
from uad.training.suspects.features import describe
from uad.training.suspects.scoring import Maps, image_scores, patch_maps

STRICTNESS = 2.5
"""See `suspect_limit`."""
METHOD = 2
"""Part of the cached results' names; increase it when the scores change."""


@dataclass(frozen=True)
class Suspicion:
    """One image that is said to be good."""

    sample: Sample
    score: float
    """Higher = more unlike the others."""
    unlikeness: NDArray[np.float32]
    """(h, w) where: one value for each 16 x 16 pixels of the input."""


@dataclass(frozen=True)
class Ranking:
    """The good images, the most unlike first."""

    images: tuple[Suspicion, ...]
    limit: float
    """Above it an image is suspect."""

    @property
    def suspects(self) -> tuple[Suspicion, ...]:
        """Those above the limit."""
        return tuple(image for image in self.images if image.score > self.limit)


def find_suspects(
    dataset: Dataset, teacher: Teacher, spec: InputSpec, *, progress: bool = False
) -> Ranking:
    """Rank the dataset's normal images; the result is kept, so that the next call is quick.

    Raises:
        DataError: all normal images are of one capture group.
    """
    if dataset.ignore:
        spec = spec.model_copy(update={"ignore": dataset.ignore})
    samples = dataset.normals
    groups = _groups(samples, dataset.group_pattern)
    if len(set(groups)) < 2:
        raise DataError(f"{dataset.name} has normal images of one capture only: nothing to compare")
    maps = _maps(samples, groups, teacher, spec, progress)
    scores = image_scores(maps)
    order = np.argsort(-scores, kind="stable")
    images = tuple(Suspicion(samples[i], float(scores[i]), maps[i]) for i in order)
    return Ranking(images, suspect_limit(scores))


def leave_out_suspects(
    data: str, config: TrainingConfig, teacher: Teacher, *, progress: bool = False
) -> TrainingConfig:
    """The settings with the suspects among the images of `data` named in `data.exclude`.

    Settings that do not ask for it (`data.without_suspects`) are returned as they are.
    """
    if not config.data.without_suspects:
        return config
    dataset = load_dataset(data, config.data, progress=progress)
    spec = fitted_input(config.input, dataset.normals).spec()
    found = find_suspects(dataset, teacher, spec, progress=progress)
    names = {suspicion.sample.name for suspicion in found.suspects}
    exclude = tuple(sorted({*config.data.exclude, *names}))
    settled = {"exclude": exclude, "without_suspects": False}
    return config.model_copy(update={"data": config.data.model_copy(update=settled)})


def suspect_limit(scores: Sequence[float] | NDArray[np.float64]) -> float:
    """STRICTNESS robust standard deviations above the median, both of the scores' logarithms.

    The deviation is 1.4826 times the median absolute one, which a few defects do not widen.
    """
    logs = np.log(np.maximum(scores, 1e-12))
    median = np.median(logs)
    return float(np.exp(median + STRICTNESS * 1.4826 * np.median(np.abs(logs - median))))


def _groups(samples: Sequence[Sample], pattern: str | None) -> list[str]:
    """Each sample's capture; one that matches no pattern is its own."""
    compiled = None if pattern is None else compile_pattern(pattern)
    return [capture(sample, compiled) for sample in samples]


def _maps(
    samples: Sequence[Sample],
    groups: Sequence[str],
    teacher: Teacher,
    spec: InputSpec,
    progress: bool,
) -> Maps:
    file = _cached(samples, groups, teacher, spec)
    try:
        return np.asarray(np.load(file), np.float32)
    except (OSError, ValueError):
        pass
    cache = Cache(cache_dir(), TrainingConfig().training.cache_bytes)
    try:
        features = describe(samples, teacher, spec, cache, progress=progress)
        maps = patch_maps(features, groups, progress=progress)
    finally:
        cache.close()
    with replacing(file) as new:
        np.save(new, maps)
    return maps


def _cached(
    samples: Sequence[Sample], groups: Sequence[str], teacher: Teacher, spec: InputSpec
) -> Path:
    facts = [METHOD, teacher.sha256, spec.model_dump(mode="json"), groups]
    content = json.dumps([*facts, [sample.sha256 for sample in samples]])
    name = hashlib.sha256(content.encode()).hexdigest()[:16]
    return cache_dir() / f"suspects-{name}.npy"
