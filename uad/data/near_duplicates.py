"""Find images that are nearly another one: re-encoded, resized, or in other light.

A test image that is nearly a training image flatters the figures. Good images that are copies of
one another are worse: where one trains and the other sets the threshold, that threshold is too low.

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
COPY_LEVELS = 0.65
"""Copies of one picture, JPEG at half size too, differ by less: root mean square of the thumbnails'
grey levels, of which rounding alone makes 0.4. Two parts in one fixture differ by more."""
COPIES_SHARE = 0.05
"""Fewer copies among the good images hardly move the threshold."""
_SAMPLE = 500
"""Number of training images from which the median is computed."""
_ROWS = 1000
_FEWER_ROWS = 200
"""Where several tables of that many rows are made at once."""
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


def copies_among_good(entries: Sequence[Checked]) -> list[Problem]:
    """One problem that counts the good images that are copies of an earlier one, if many are."""
    good = [e for e in entries if e.item.split == TRAIN and not e.label and not _is_flat(e)]
    if len(good) < 3:
        return []
    vectors, contrast = _vectors(good), _contrasts(good)
    limit = min(FARTHEST, SHARE * _typical_distance(vectors))
    found: list[tuple[Checked, Checked]] = []
    for start in range(0, len(good), _FEWER_ROWS):
        rows = slice(start, start + _FEWER_ROWS)
        distances = _distances(vectors[rows], vectors)
        levels = distances * np.minimum(contrast[rows, None], contrast)
        near = np.tril((distances < limit) & (levels < COPY_LEVELS), start - 1)
        found += [
            (good[start + row], good[int(near[row].argmax())])
            for row in np.flatnonzero(near.any(axis=1))
        ]
    enough = max(2.0, COPIES_SHARE * len(good))
    return [_told_copies(found)] if len(found) >= enough else []


def _told_copies(found: Sequence[tuple[Checked, Checked]]) -> Problem:
    copy, first = found[0]
    message = (
        f"{len(found)} good images are copies of another one, for example {copy.item.name} of "
        f"{first.item.name}; kept. Where one trains and its copy sets the threshold, good parts "
        "raise more false alarms than asked for. Take the copies out. Shots of one part may stay "
        "if data.group_pattern keeps them together"
    )
    return Problem(copy.item.path, "copy", message, other=first.item.path)


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


def _contrasts(entries: Sequence[Checked]) -> _Vectors:
    """(N,) float32: the standard deviation of each thumbnail's grey levels."""
    grey = np.stack([np.frombuffer(entry.facts.thumbnail, np.uint8) for entry in entries])
    return np.asarray(grey.std(axis=1), np.float32)


def _distances(one: _Vectors, other: _Vectors) -> _Vectors:
    return np.sqrt(np.maximum(2.0 - 2.0 * one @ other.T, 0.0))


def _typical_distance(vectors: _Vectors) -> float:
    some = vectors[np.random.default_rng(0).permutation(len(vectors))[:_SAMPLE]]
    return float(np.median(_distances(some, some)[np.triu_indices(len(some), 1)]))
