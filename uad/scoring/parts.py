"""From a model's outputs for one image to its anomaly map and score. Higher = more anomalous.

Each part gives the image a score: the student the maximum of its map, the memory the mean of its
highest locations, the whole image its distance. Each score is divided by that of a usual image, s_p
/ typical_p. The image score is their weighted geometric mean,

    log score = sum_p e_p log(s_p / typical_p),   e_p = (w_p / spread_p) / sum_q (w_q / spread_q)

that is, up to a constant factor, the weighted sum of the standardised logarithms. A usual image has
the score 1. A relative error of the parts is an equally large relative error of the score. The map
is the weighted mean of the parts' maps, each divided by its mean on normal images.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from uad.config import DetectorDefinition, ScoreDefinition
from uad.config.score import PartName
from uad.config.training import Areas, Zones
from uad.scoring.looks import Look
from uad.scoring.maps import (
    LEVELS,
    MEMORY,
    WHOLE_IMAGE,
    Map,
    Outputs,
    Statistics,
    combined,
    describe,
    image_score,
    resize_map,
)
from uad.scoring.regions import opened_maximum
from uad.scoring.zones import ignored, zone_numbers

LEAST = 1e-12
"""Smaller scores of a part count as this. An image that is in the memory has distance 0."""
OPENED_PX = 256
"""Areas are measured on a map with at most this many pixels on its longer side."""
HIGHEST = 0.02
"""Share of the memory's locations that make its image score; a single one is often chance."""
FINER = 4
"""Side of the anomaly map while it is combined, as a multiple of the memory's side."""
WORDS: Mapping[PartName, str] = {
    "student": "student",
    "memory": "memory",
    "whole_image": "whole image",
}
"""How people read a part's name, in every answer."""


@dataclass(frozen=True)
class Scored:
    """The model's result for one image, before any decision."""

    anomaly_map: Map
    """(H, W) float32 at the image's own size; higher = more anomalous."""
    score: float
    """Positive; 1 is a usual image where there are several parts."""
    shares: Mapping[PartName, float] = field(default_factory=dict)
    """What each part adds to the score's logarithm; empty for a student alone."""
    min_area: int = 0
    """The smallest defect that the score counts, in pixels of the image; 0: any."""
    parts: "PartScores | None" = field(default=None, repr=False, compare=False)
    """The parts' results, to compute the score again for another smallest defect."""
    ignore: Areas = ()
    """Ignored regions of the image."""
    zones: Zones = ()
    """Parts of the image that have a score of their own (`zone_peaks`) and count in no other."""
    look: Look | None = None
    """Of the image; None if only the model's outputs are known."""

    @property
    def map_peak(self) -> float:
        """The map's maximum outside of the zones; with `min_area`, of its opening."""
        return self._peak(0)

    @property
    def zone_peaks(self) -> tuple[float, ...]:
        """The same of each zone."""
        return tuple(self._peak(number) for number in range(1, len(self.zones) + 1))

    def _peak(self, number: int) -> float:
        values = self.anomaly_map
        if self.zones:
            size = (values.shape[0], values.shape[1])
            inside = zone_numbers(self.zones, self.ignore, size) == number
            values = np.where(inside, values, np.float32(0))
        if self.min_area <= 1:
            return float(values.max())
        return _opened(values, values.shape, self.min_area)

    @property
    def leading_part(self) -> str:
        """Which part raises the score most: `student`, `memory` or `whole image`."""
        name: PartName = max(self.shares, key=self.shares.__getitem__, default="student")
        return WORDS[name]


@dataclass(frozen=True)
class PartScores:
    """The results of the existing parts for one image, before they are combined."""

    scores: Mapping[PartName, float]
    maps: Mapping[PartName, Map]
    """The parts' maps at a quarter of the input; the whole image has none."""


class Scoring:
    """Puts a bundle's outputs together."""

    def __init__(
        self,
        score: ScoreDefinition,
        detector: DetectorDefinition | None,
        statistics: Statistics,
        ignore: Areas = (),
        zones: Zones = (),
    ) -> None:
        """Take a bundle's definitions.

        Args:
            score: of the student's map.
            detector: None: the student alone, its map's maximum the score.
            statistics: of the selection images.
            ignore: regions in which every map is 0.
            zones: do not count in the image score.
        """
        self._ignore = ignore
        self._zones = zones
        self._score = score
        self._statistics = statistics
        self._parts = detector.parts() if detector else {}
        self._exponents = exponents(detector) if detector else {}
        self._factors = map_factors(detector) if detector else {}

    def one(self, outputs: Outputs, index: int, size: tuple[int, int], min_area: int = 0) -> Scored:
        """The image number `index` of a batch, which was (H, W) before it was resized.

        Args:
            outputs: of the model.
            index: which image.
            size: (H, W) before it was resized.
            min_area: smaller places of the maps do not count; in pixels of the image.
        """
        return self.together(self.part_scores(outputs, index), size, min_area)

    def together(self, found: "PartScores", size: tuple[int, int], min_area: int = 0) -> Scored:
        """An image with the parts' results `found`; other arguments as for `one`."""
        if self._parts:
            full, score = self._kept(resize_map(self._map(found.maps), size)), 0.0
        else:
            full = self._kept(resize_map(found.maps["student"], size))
            score = image_score(full)
        fresh = Scored(full, score, parts=found, ignore=self._ignore, zones=self._zones)
        return self._scored(fresh, min_area)

    def reopened(self, scored: Scored, min_area: int) -> Scored:
        """An image that was scored here, scored for another smallest defect."""
        return scored if scored.min_area == min_area else self._scored(scored, min_area)

    def _scored(self, scored: Scored, min_area: int) -> Scored:
        if scored.parts is None:
            raise ValueError("only an image that was scored here can be scored again")
        if not self._parts:
            opened = replace(scored, min_area=min_area)
            return replace(opened, score=opened.map_peak)
        scores = self._part_scores_opened(scored.parts, scored.anomaly_map.shape, min_area)
        shares = {
            name: exponent * math.log(max(scores[name], LEAST) / self._parts[name].typical)
            for name, exponent in self._exponents.items()
        }
        score = math.exp(sum(shares.values()))
        return replace(scored, score=score, shares=shares, min_area=min_area)

    def _part_scores_opened(
        self, parts: "PartScores", size: tuple[int, ...], min_area: int
    ) -> Mapping[PartName, float]:
        """Each part's score without locations smaller than `min_area`."""
        if min_area <= 1:
            return parts.scores
        opened = {
            name: _opened(self._outside(one), size, min_area) for name, one in parts.maps.items()
        }
        # Never above the score of the whole map, so alpha's guarantee holds.
        return {name: min(score, opened.get(name, score)) for name, score in parts.scores.items()}

    def part_scores(self, outputs: Outputs, index: int) -> PartScores:
        """The parts of the image number `index` of a batch, each for itself."""
        scores: dict[PartName, float] = {}
        maps: dict[PartName, Map] = {}
        if LEVELS[0] in outputs:
            levels = [outputs[name][index] for name in LEVELS]
            maps["student"] = self._kept(combined(levels, self._score, self._statistics))
            scores["student"] = float(self._outside(maps["student"]).max())
        if MEMORY in outputs:
            height, width = outputs[MEMORY].shape[1:]
            finer = resize_map(outputs[MEMORY][index], (FINER * height, FINER * width))
            maps["memory"] = self._kept(finer)
            scores["memory"] = highest(self._outside(self._kept(outputs[MEMORY][index])))
        if WHOLE_IMAGE in outputs:
            scores["whole_image"] = float(outputs[WHOLE_IMAGE][index])
        return PartScores(scores, maps)

    def _kept(self, values: Map) -> Map:
        """The map with 0 in the ignored regions."""
        if not self._ignore:
            return values
        where = ignored(self._ignore, (values.shape[0], values.shape[1]))
        return np.where(where > 0, np.float32(0), values)

    def _outside(self, values: Map) -> Map:
        """The map with 0 in the zones."""
        if not self._zones:
            return values
        numbers = zone_numbers(self._zones, self._ignore, (values.shape[0], values.shape[1]))
        return np.where(numbers > 0, np.float32(0), values)

    def _map(self, maps: Mapping[PartName, Map]) -> Map:
        parts = [np.float32(factor) * maps[name] for name, factor in self._factors.items()]
        return np.asarray(np.sum(parts, axis=0), np.float32)


def _opened(values: Map, size: tuple[int, ...], min_area: int) -> float:
    """The opened maximum of a map of an image of (H, W), by its pixels or by `OPENED_PX` a side."""
    height, width = size[:2]
    scale = min(1.0, OPENED_PX / max(height, width))
    grid = (max(1, round(height * scale)), max(1, round(width * scale)))
    area = min_area * grid[0] * grid[1] / (height * width)
    return opened_maximum(resize_map(values, grid), area)


def described(score: ScoreDefinition, detector: DetectorDefinition | None) -> str:
    """How the score is composed, and why, for a report."""
    student = f"{describe(score)} ({score.reason})"
    if detector is None:
        return student
    if detector.student is None:
        return f"{described_parts(detector)} ({detector.reason})"
    return f"{described_parts(detector)} ({detector.reason}); the student's map: {student}"


def described_parts(detector: DetectorDefinition | None) -> str:
    """`student (map alone), memory, 0.5 whole image`, as they weigh in the image score."""
    if detector is None:
        return WORDS["student"]
    return ", ".join(
        f"{WORDS[name]} (map alone)"
        if part.weight == 0
        else WORDS[name]
        if part.weight == 1
        else f"{part.weight:g} {WORDS[name]}"
        for name, part in detector.parts().items()
    )


def highest(distances: Map) -> float:
    """The mean of the memory's `HIGHEST` share of locations, at least one: (h, w)."""
    flat = distances.ravel()
    count = highest_count(flat.size)
    return float(np.partition(flat, -count)[-count:].mean())


def highest_count(locations: int) -> int:
    """How many locations make the memory's image score."""
    return max(1, round(HIGHEST * locations))


def map_factors(detector: DetectorDefinition) -> dict[PartName, float]:
    """What each part's map is multiplied by before they are added."""
    known = {name: part for name, part in detector.parts().items() if part.map_weight}
    total = sum(part.map_weight for part in known.values())
    return {name: part.map_weight / total / part.map_mean for name, part in known.items()}


def exponents(detector: DetectorDefinition) -> dict[PartName, float]:
    """e_p of every part with a weight in the image score; their sum is 1."""
    weights = {name: part.weight / part.spread for name, part in detector.parts().items()}
    total = sum(weights.values())
    return {name: weight / total for name, weight in weights.items() if weight > 0}
