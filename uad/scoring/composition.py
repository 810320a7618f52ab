"""Choose how the detector's parts are combined, using normal images only.

Like the student's map (`uad.scoring.selection`), they are compared on planted defects. The first
composition of the list is used unless another is better by a margin.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from uad.config import DetectorDefinition, PartDefinition, ScoreDefinition
from uad.config.score import PartName
from uad.metrics import PixelStream, image_auroc
from uad.scoring.maps import Statistics
from uad.scoring.parts import LEAST, WORDS, PartScores, Scoring
from uad.scoring.selection import MARGIN

IMAGE_WEIGHTS: Mapping[PartName, float] = {"student": 0.0, "memory": 1.0, "whole_image": 0.5}
"""Weights in the image score by default. Beside a memory the student adds nothing to the score, but
it sharpens the map."""
STUDENT_WEIGHT = 0.5
"""The student's weight in the image score, if it detects planted defects clearly better."""
MAP_WEIGHTS: Mapping[PartName, float] = {"student": 1.0, "memory": 4.0}
"""In the map."""
USUAL_SPREAD: Mapping[PartName, float] = {"student": 0.15, "memory": 0.07, "whole_image": 0.15}
"""Standard deviation of the logarithm of a part's scores on normal images of most products."""
PRIOR_IMAGES = 8
"""The usual spread counts like this many additional images, because few images say little."""


@dataclass(frozen=True)
class Composition:
    """How much each part weighs."""

    image: Mapping[PartName, float]
    map: Mapping[PartName, float]

    def describe(self) -> str:
        """`image: memory + 0.5 whole image; map: student + 4 memory`."""
        return f"image: {_sum(self.image)}; map: {_sum(self.map)}"


def compositions(parts: Sequence[PartName]) -> Iterator[Composition]:
    """The candidates for the existing parts, the most expected one first."""
    maps = {name: MAP_WEIGHTS[name] for name in parts if name in MAP_WEIGHTS}
    usual = {name: IMAGE_WEIGHTS[name] for name in parts}
    if "memory" not in parts:
        usual["student"] = 1.0
    yield Composition(usual, maps)
    if usual.get("student") == 0:
        yield Composition({**usual, "student": STUDENT_WEIGHT}, maps)
    if "whole_image" in parts:
        yield Composition({**usual, "whole_image": 0.0}, maps)
    if len(maps) > 1:
        for name in maps:
            yield Composition(usual, {name: 1.0})


def choose_composition(
    score: ScoreDefinition,
    statistics: Statistics,
    clean: Sequence[PartScores],
    defective: Sequence[PartScores],
    masks: Sequence[NDArray[np.bool_]],
) -> DetectorDefinition:
    """Compare the compositions on normal images without and with planted defects.

    Args:
        score: the student's map.
        statistics: see `Scoring`.
        clean: the parts' results for each selection image.
        defective: their results for images with a planted defect each.
        masks: of those, at the maps' size.
    """
    known = [compose(one, clean) for one in compositions(list(clean[0].scores))]
    table = [_quality(Scoring(score, one, statistics), clean, defective, masks) for one in known]
    best = int(np.argmax(table))
    taken = best if table[best] > table[0] + MARGIN else 0
    names = [one.describe() for one in compositions(list(clean[0].scores))]
    reason = (
        f"{names[taken]}; {table[taken]:.4f} on planted defects (mean of image AUROC, pixel AUROC "
        f"and AUPRO); the first of {len(table)} compositions reached {table[0]:.4f}, the best "
        f"({names[best]}) {table[best]:.4f}; another than the first is taken when better by "
        f"{MARGIN}"
    )
    return known[taken].model_copy(update={"reason": reason})


def compose(composition: Composition, clean: Sequence[PartScores]) -> DetectorDefinition:
    """The composition with the parts' figures on normal images."""
    return DetectorDefinition.model_validate(
        {
            name: _part(name, composition, clean)
            for name in clean[0].scores
            if composition.image.get(name) or composition.map.get(name)  # else of no use
        }
    )


def _part(name: PartName, composition: Composition, clean: Sequence[PartScores]) -> PartDefinition:
    logs = np.log([max(one.scores[name], LEAST) for one in clean])
    spread = USUAL_SPREAD[name]
    squares = ((logs - logs.mean()) ** 2).sum()
    variance = (squares + PRIOR_IMAGES * spread**2) / (len(logs) - 1 + PRIOR_IMAGES)
    mean = np.mean([one.maps[name].mean() for one in clean]) if name in clean[0].maps else 1.0
    return PartDefinition(
        weight=composition.image.get(name, 0.0),
        typical=float(np.exp(logs.mean())),
        spread=float(np.sqrt(variance)),
        map_weight=composition.map.get(name, 0.0),
        map_mean=max(float(mean), LEAST),
    )


def _quality(
    scoring: Scoring,
    clean: Sequence[PartScores],
    defective: Sequence[PartScores],
    masks: Sequence[NDArray[np.bool_]],
) -> float:
    size = masks[0].shape
    nothing = np.zeros(size, bool)
    stream, labels, scores = PixelStream(), [], []
    for images, marked in ((clean, [nothing] * len(clean)), (defective, masks)):
        for found, mask in zip(images, marked, strict=True):
            scored = scoring.together(found, (size[0], size[1]))
            stream.add(scored.anomaly_map, mask)
            labels.append(int(mask.any()))
            scores.append(scored.score)
    pixels = stream.overall()
    figures = (image_auroc(labels, scores), pixels.auroc, pixels.aupro)
    return float(np.mean([figure or 0.0 for figure in figures]))


def _sum(weights: Mapping[PartName, float]) -> str:
    return " + ".join(
        WORDS[name] if weight == 1 else f"{weight:g} {WORDS[name]}"
        for name, weight in weights.items()
        if weight
    )
