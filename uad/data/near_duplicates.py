"""Find test images that are nearly a training image: re-encoded, resized, or in other light.

Two images are compared by their thumbnails' grey levels, brightness and contrast taken out: the
distance is sqrt(2 - 2 r) for the correlation r. Pictures of a production line all look alike, so
the limit is relative to how far training images are from one another.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from uad.data.listing import TEST, TRAIN
from uad.data.reading import Checked
from uad.data.samples import Problem

FARTHEST = 0.1
"""Two images are never near-duplicates above this distance."""
SHARE = 0.15
"""Of the median distance of two training images."""
_SAMPLE = 500
"""Number of training images from which the median is computed."""
_ROWS = 1000
_Vectors = NDArray[np.float32]


def similar_across_splits(entries: Sequence[Checked]) -> list[Problem]:
    """One problem per test image whose nearest training image is nearly the same picture."""
    train = [entry for entry in entries if entry.item.split == TRAIN and not _is_flat(entry)]
    test = [entry for entry in entries if entry.item.split == TEST and not _is_flat(entry)]
    if len(train) < 2 or not test:
        return []
    known = _vectors(train)
    limit = min(FARTHEST, SHARE * _typical_distance(known))
    problems = []
    for start in range(0, len(test), _ROWS):
        part = test[start : start + _ROWS]
        distances = _distances(_vectors(part), known)
        for entry, nearest, row in zip(part, distances.argmin(axis=1), distances, strict=True):
            twin = train[int(nearest)]
            if row[nearest] < limit and twin.facts.sha256 != entry.facts.sha256:
                problems.append(_problem(entry, twin))
    return problems


def _problem(entry: Checked, twin: Checked) -> Problem:
    message = (
        f"{entry.item.name} is nearly the same picture as {twin.item.name}: training and test may "
        "show the same part, so the measured figures may look better than they are; both kept"
    )
    return Problem(entry.item.path, "similar", message, other=twin.item.path)


def _is_flat(entry: Checked) -> bool:
    """Without structure there is nothing to compare; such an image is reported as blank."""
    return len(set(entry.facts.thumbnail)) < 2


def _vectors(entries: Sequence[Checked]) -> _Vectors:
    """(N, pixels) float32, each of mean 0 and length 1."""
    grey = np.stack([np.frombuffer(entry.facts.thumbnail, np.uint8) for entry in entries])
    centred = grey - grey.mean(axis=1, keepdims=True)
    return np.asarray(centred / np.linalg.norm(centred, axis=1, keepdims=True), np.float32)


def _distances(one: _Vectors, other: _Vectors) -> _Vectors:
    return np.sqrt(np.maximum(2.0 - 2.0 * one @ other.T, 0.0))


def _typical_distance(vectors: _Vectors) -> float:
    some = vectors[np.random.default_rng(0).permutation(len(vectors))[:_SAMPLE]]
    return float(np.median(_distances(some, some)[np.triu_indices(len(some), 1)]))
