"""The memory stands for normal features, and finds what is far from all of them."""

import numpy as np
import pytest
from numpy.typing import NDArray

from uad.models.memory import (
    FeatureSample,
    fit_memory,
    greedy_coreset,
    nearest_distances,
    smoothed,
    squared_distances,
)

RNG = np.random.default_rng(0)


def points(count: int, dimensions: int = 12) -> NDArray[np.float32]:
    return np.random.default_rng([count, dimensions]).normal(size=(count, dimensions)).astype("f4")


def one_by_one(values: NDArray[np.float32], size: int) -> list[int]:
    """The greedy choice as it is defined: the farthest point from all chosen before."""
    chosen, distances = [0], np.full(len(values), np.inf)
    while len(chosen) < size:
        distances = np.minimum(distances, ((values - values[chosen[-1]]) ** 2).sum(axis=1))
        chosen.append(int(distances.argmax()))
    return chosen


def test_several_choices_a_pass_are_those_of_one_a_pass() -> None:
    values = points(2500)
    assert greedy_coreset(values, 300).tolist() == one_by_one(values, 300)


def test_points_that_repeat_are_chosen_once() -> None:
    values = np.repeat(points(7), 40, axis=0)
    chosen = greedy_coreset(values, 100)
    assert len(np.unique(values[chosen], axis=0)) == len(chosen) == 7


def test_the_nearest_distance_is_that_to_the_nearest() -> None:
    queries, references = points(1500), points(90)
    expected = [min(np.linalg.norm(query - references, axis=1)) for query in queries]
    np.testing.assert_allclose(nearest_distances(queries, references), expected, rtol=1e-4)
    assert squared_distances(queries[:3], references).shape == (3, 90)


def test_a_memory_knows_what_it_was_fitted_to_and_not_what_is_elsewhere() -> None:
    sample = points(400, 200)
    memory = fit_memory(sample, 400)
    strange = sample[:6] + 30 * np.eye(200, dtype=np.float32)[:6]
    known, other = (values.reshape(1, -1, 2, 200) for values in (sample, strange))
    assert memory.distances(known).max() < 0.5 * memory.distances(other).min()
    assert memory.features.shape == (400, 128)


def test_few_features_make_a_small_memory() -> None:
    memory = fit_memory(points(6, 200), 4000)
    assert len(memory.features) == 6


def test_a_strange_location_shows_on_its_neighbours_too_and_most_on_itself() -> None:
    sample = points(50)
    image = sample[:20].reshape(1, 4, 5, 12).copy()
    image[0, 0, 2] += 40
    found = fit_memory(sample, 50).distances(image)
    assert found.shape == (1, 4, 5)
    assert np.unravel_index(found[0].argmax(), (4, 5)) == (0, 2)
    assert (found[0] > 1).sum() == 6  # it lies at the border


def test_smoothing_changes_no_map_that_is_the_same_everywhere() -> None:
    even = np.full((2, 3, 4), 7, np.float32)
    np.testing.assert_allclose(smoothed(even), even, rtol=1e-6)


@pytest.mark.parametrize(("images", "kept"), [(3, 30), (40, 80), (500, 500)])
def test_a_sample_has_the_same_number_of_each_image_and_about_the_limit(
    images: int, kept: int
) -> None:
    sample = FeatureSample(images, limit=80)
    for index in range(images):
        sample.add(np.full((1, 10, 2), index, np.float32))
    found = sample.features()
    assert len(found) == kept
    assert len(np.unique(found)) == images


def test_the_same_seed_gives_the_same_memory() -> None:
    assert np.array_equal(fit_memory(points(300), 50, seed=3).features,
                          fit_memory(points(300), 50, seed=3).features)  # fmt: skip
