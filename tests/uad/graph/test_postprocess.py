"""The score in the graph is the score in Python."""

import numpy as np
import onnxruntime
import pytest

from tests.bundles import definition, fitted
from uad.config import InputSpec, ScoreDefinition
from uad.config.score import PARTS, PartName
from uad.errors import EngineError
from uad.graph import build, with_scoring
from uad.models.parts import Parts
from uad.models.resnet import random_weights
from uad.scoring.maps import Statistics, anomaly_map, image_score
from uad.scoring.parts import Scoring

SPEC = InputSpec(height=64, width=96)
PAIR = (random_weights(8, 1), random_weights(8, 2))


def statistics(kind: str) -> Statistics:
    rng = np.random.default_rng(0)
    shapes = {"none": [], "level": [()] * 3, "location": [(16, 24), (8, 12), (4, 6)]}[kind]
    return {
        f"mean{level}": np.asarray(rng.uniform(0.1, 0.5, shape), np.float32)
        for level, shape in enumerate(shapes, start=1)
    }


@pytest.mark.parametrize("size", [(64, 96), (150, 333), (40, 31)])
@pytest.mark.parametrize(
    "score",
    [
        ScoreDefinition(),
        ScoreDefinition(combine="product", weights=(0.5, 1.0, 2.0), smooth_sigma=1.0),
        ScoreDefinition(combine="sum", weights=(0.5, 1.0, 2.0), normalise="level"),
        ScoreDefinition(combine="sum", normalise="location", smooth_sigma=0.7),
    ],
)
def test_map_and_score_equal_pythons(score: ScoreDefinition, size: tuple[int, int]) -> None:
    means = statistics(score.normalise)
    network = build(Parts(*PAIR), SPEC)
    image = np.random.default_rng(1).integers(0, 256, (1, 64, 96, 3), dtype=np.uint8)
    levels = onnxruntime.InferenceSession(network.SerializeToString()).run(None, {"image": image})
    expected = anomaly_map([level[0] for level in levels], score, means, size)
    whole = onnxruntime.InferenceSession(
        with_scoring(network, score, means, SPEC).SerializeToString()
    )
    found, maximum = whole.run(["map", "score"], {"image": image, "size": np.array(size, np.int64)})
    assert found.shape == size
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6 * expected.max())
    assert maximum == pytest.approx(image_score(expected), rel=1e-4)


@pytest.mark.parametrize("names", [PARTS, ("memory", "whole_image"), ("student", "whole_image")])
def test_several_parts_are_put_together_as_python_does(names: tuple[PartName, ...]) -> None:
    images = np.random.default_rng(1).integers(0, 256, (12, 64, 96, 3), dtype=np.uint8)
    memory, whole_image = fitted(PAIR[0], SPEC, list(images))
    parts = Parts(
        PAIR[0],
        PAIR[1] if "student" in names else None,
        memory=memory if "memory" in names else None,
        whole_image=whole_image,
    )
    score, detector = ScoreDefinition(combine="sum", smooth_sigma=0.5), definition(names)
    network, size = build(parts, SPEC), (150, 333)
    session = onnxruntime.InferenceSession(network.SerializeToString())
    outputs = [value.name for value in session.get_outputs()]
    found = dict(zip(outputs, session.run(None, {"image": images[:1]}), strict=True))
    expected = Scoring(score, detector, {}).one(found, 0, size)
    whole = with_scoring(network, score, {}, SPEC, detector).SerializeToString()
    inputs = {"image": images[:1], "size": np.array(size, np.int64)}
    names_out = ["map", "score", "shares"]
    full, total, shares = onnxruntime.InferenceSession(whole).run(names_out, inputs)
    np.testing.assert_allclose(full, expected.anomaly_map, rtol=1e-3)
    assert total == pytest.approx(expected.score, rel=1e-4)
    assert shares.tolist() == pytest.approx(list(expected.shares.values()), rel=1e-3, abs=1e-4)


def test_smoothing_beyond_the_map_is_refused() -> None:
    with pytest.raises(EngineError, match="larger input or less smoothing"):
        with_scoring(build(Parts(*PAIR), SPEC), ScoreDefinition(smooth_sigma=9.0), {}, SPEC)
