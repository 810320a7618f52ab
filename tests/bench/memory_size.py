"""How many features the memory should hold: on planted defects, and on the labelled test images.

Run by hand on a folder in the MVTec layout:

    python tests/bench/memory_size.py FOLDER TEACHER [--set SETTING]

The greedy choice of a large memory begins with that of a smaller one, so one choice gives every
size. The planted defects say which size a choice on normal images alone would take; the test images
say whether that would be right.
"""

import argparse
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from uad.config import DetectorConfig, TrainingConfig, load_settings
from uad.data import load_dataset
from uad.inference.features import (
    BATCH,
    FeatureExtractor,
    decoded_batches,
    feature_extractor,
)
from uad.metrics import image_auroc
from uad.models.memory import Memory, smoothed, squared_distances
from uad.models.teacher import load_teacher
from uad.scoring.parts import highest
from uad.scoring.selection import looked_at, plant_in
from uad.training.parts import fit_parts
from uad.training.train import settled

SIZES = (0, 250, 500, 1000, 2000, 4000, 8000)
Maps = dict[int, NDArray[np.float32]]


def maps_by_size(
    extractor: FeatureExtractor, memory: Memory, batches: Iterable[NDArray[np.uint8]]
) -> Maps:
    """By the memory's size: (N, h, w) maps of all images."""
    made = defaultdict(list)
    for batch in batches:
        patches = extractor.of(batch).patches
        flat = patches.reshape(-1, patches.shape[-1])
        queries = np.asarray((flat - memory.mean) @ memory.projection, np.float32)
        nearest = np.full(len(queries), np.inf, np.float32)
        for before, size in pairwise(SIZES):
            if before < len(memory.features):
                new = squared_distances(queries, memory.features[before:size]).min(axis=1)
                nearest = np.minimum(nearest, new)
                made[size].append(np.sqrt(smoothed(nearest.reshape(patches.shape[:-1]))))
    return {size: np.concatenate(maps) for size, maps in made.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("teacher")
    parser.add_argument("--set", action="append", default=[])
    options = parser.parse_args()
    config = load_settings(TrainingConfig, None, options.set)
    dataset = load_dataset(options.folder, config.data)
    spec, seed = settled(config, dataset).input.spec(), config.training.seed
    teacher = load_teacher(options.teacher)
    largest = DetectorConfig(memory_features=max(SIZES), whole_image=False)
    memory, _ = fit_parts(teacher, dataset.train, spec, largest, seed=seed)
    assert memory is not None

    with feature_extractor(teacher.weights, spec) as extractor:
        normals = np.concatenate(list(decoded_batches(looked_at(dataset.selection), spec)))
        planted = plant_in(normals, seed=seed, ignore=spec.ignore)
        clean = maps_by_size(extractor, memory, _batches(normals))
        defective = maps_by_size(extractor, memory, _batches(planted.images))
        test = maps_by_size(extractor, memory, decoded_batches(dataset.test, spec))

    labels = [sample.label for sample in dataset.test]
    print("features  planted image AUROC  planted pixel AUROC  test image AUROC")
    for size in clean:
        masks = np.stack(planted.masks_at(defective[size].shape[1:]))
        pixels = _auroc(clean[size].ravel(), defective[size].ravel(), masks.ravel())
        images = _auroc(_scores(clean[size]), _scores(defective[size]))
        found = image_auroc(labels, _scores(test[size]))
        print(f"{size:8}  {images:19.4f}  {pixels:19.4f}  {found:16.4f}", flush=True)


def _batches(images: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    for start in range(0, len(images), BATCH):
        yield images[start : start + BATCH]


def _scores(maps: NDArray[np.float32]) -> list[float]:
    return [highest(one) for one in maps]


def _auroc(
    clean: "list[float] | NDArray[np.float32]",
    defective: "list[float] | NDArray[np.float32]",
    labels: "NDArray[np.bool_] | None" = None,
) -> float:
    """Of all values together; without labels, all that are defective count as such."""
    positive = np.ones(len(defective), int) if labels is None else labels.astype(int)
    found = image_auroc(
        [*[0] * len(clean), *positive.tolist()], [*np.ravel(clean), *np.ravel(defective)]
    )
    assert found is not None
    return found


if __name__ == "__main__":
    main()
