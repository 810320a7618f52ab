"""Parts are put together so that each can raise the alarm, and the answer says which did."""

import math

import numpy as np
import pytest

from uad.config import DetectorDefinition, PartDefinition, ScoreDefinition
from uad.scoring.composition import Composition, compose, compositions
from uad.scoring.maps import Outputs
from uad.scoring.parts import PartScores, Scoring, described_parts, exponents

DEFINITION = DetectorDefinition(
    student=PartDefinition(weight=0.5, typical=0.5, spread=0.1, map_weight=1, map_mean=0.25),
    memory=PartDefinition(weight=1, typical=2, spread=0.1, map_weight=4, map_mean=1),
    whole_image=PartDefinition(weight=0.5, typical=30, spread=0.2),
)
SCORING = Scoring(ScoreDefinition(combine="sum"), DEFINITION, {})


def outputs(student: float = 0.5, memory: float = 2.0, whole_image: float = 30.0) -> Outputs:
    """One image whose parts' scores are these; by default those of a usual image."""
    levels = {
        f"map{level}": np.full((1, 16 >> level, 16 >> level), student / 3, np.float32)
        for level in (1, 2, 3)
    }
    near = np.full((1, 2, 2), 1, np.float32)
    near[0, 1, 0] = memory
    return {**levels, "memory": near, "whole_image": np.full(1, whole_image, np.float32)}


def test_a_usual_image_scores_one() -> None:
    scored = SCORING.one(outputs(), 0, (40, 60))
    assert scored.score == pytest.approx(1)
    assert scored.anomaly_map.shape == (40, 60)


@pytest.mark.parametrize(
    ("loud", "name"),
    [
        ({"memory": 4.0}, "memory"),
        ({"whole_image": 60.0}, "whole image"),
        ({"student": 1.0}, "student"),
    ],
)
def test_the_part_that_is_unusual_raises_the_score_and_is_named(
    loud: dict[str, float], name: str
) -> None:
    scored = SCORING.one(outputs(**loud), 0, (32, 32))
    assert scored.score > 1
    assert scored.leading_part == name


def test_the_score_is_the_weighted_sum_of_standardised_logarithms_up_to_a_factor() -> None:
    def standardised(student: float, memory: float, whole_image: float) -> float:
        z = (math.log(student / 0.5) / 0.1, math.log(memory / 2) / 0.1)
        return 0.5 * z[0] + z[1] + 0.5 * math.log(whole_image / 30) / 0.2

    found = [
        math.log(SCORING.one(outputs(*one), 0, (32, 32)).score) / standardised(*one)
        for one in ((0.6, 2.2, 33.0), (0.4, 3.0, 28.0), (0.9, 1.9, 31.0))
    ]
    assert found == pytest.approx([found[0]] * 3, rel=1e-5)


def test_a_relative_error_of_all_parts_is_as_large_an_error_of_the_score() -> None:
    usual, more = (SCORING.one(outputs(0.5 * f, 2 * f, 30 * f), 0, (9, 9)) for f in (1, 1.01))
    assert more.score / usual.score == pytest.approx(1.01, rel=1e-4)
    assert sum(exponents(DEFINITION).values()) == pytest.approx(1)


def test_a_part_at_distance_zero_gives_a_finite_score() -> None:
    found = outputs()
    found = {**found, "memory": np.zeros_like(found["memory"])}
    assert 0 < SCORING.one(found, 0, (8, 8)).score < 1


def test_the_whole_image_alone_leaves_the_map_as_it_is() -> None:
    usual, missing = (SCORING.one(outputs(whole_image=w), 0, (32, 32)) for w in (30.0, 300.0))
    assert np.array_equal(usual.anomaly_map, missing.anomaly_map)


def test_the_parts_are_told_with_their_weights() -> None:
    assert described_parts(DEFINITION) == "0.5 student, memory, 0.5 whole image"
    assert described_parts(None) == "student"


def normals(count: int) -> list[PartScores]:
    rng = np.random.default_rng(0)
    return [
        PartScores(
            {"memory": float(np.exp(rng.normal(1, 0.3))), "whole_image": 20.0},
            {"memory": np.full((8, 8), 0.5, np.float32)},
        )
        for _ in range(count)
    ]


def test_of_few_images_the_usual_spread_counts_and_of_many_their_own() -> None:
    (usual, *_) = compositions(["memory", "whole_image"])
    few, many = (compose(usual, normals(count)) for count in (1, 4000))
    assert few.memory is not None and many.memory is not None
    assert few.memory.spread < 0.1
    assert many.memory.spread == pytest.approx(0.3, rel=0.1)
    assert many.memory.typical == pytest.approx(np.e, rel=0.05)
    assert many.memory.map_mean == 0.5


def test_beside_a_memory_the_student_sharpens_the_map_alone_by_default() -> None:
    usual, with_student, *_ = compositions(["student", "memory", "whole_image"])
    assert usual.image == {"student": 0.0, "memory": 1.0, "whole_image": 0.5}
    assert usual.map == {"student": 1.0, "memory": 4.0}
    assert with_student.image["student"] > 0
    (alone, *_) = compositions(["student", "whole_image"])
    assert alone.image["student"] == 1.0


def test_without_a_student_no_composition_speaks_of_one() -> None:
    known = list(compositions(["memory", "whole_image"]))
    assert known[0] == Composition({"memory": 1.0, "whole_image": 0.5}, {"memory": 4.0})
    assert all("student" not in {*one.image, *one.map} for one in known)
