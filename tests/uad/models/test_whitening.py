import numpy as np
import pytest

from uad.models.whitening import SecondMoments, whitening


def differences(channels: int, locations: int, seed: int) -> np.ndarray:
    """Along the first channel ten times as large as along the others."""
    values = np.random.default_rng(seed).normal(size=(channels, locations)).astype(np.float32)
    values[0] *= 10
    return values


def test_the_distance_is_the_inverse_of_the_shrunk_second_moments_as_a_quadratic_form() -> None:
    second = np.cov(differences(6, 200, 0))
    matrix = whitening(second)
    shrunk = second / (np.trace(second) / 6) + np.eye(6)
    for r in np.random.default_rng(1).normal(size=(5, 6)):
        distance = float(np.square(matrix @ r).sum())
        assert distance == pytest.approx(r @ np.linalg.inv(shrunk) @ r, rel=1e-4)
        assert 0 < distance <= r @ r


def test_where_normal_images_differ_counts_less() -> None:
    matrix = whitening(np.cov(differences(6, 200, 0)))
    along, across = (np.linalg.norm(matrix @ axis) for axis in np.eye(6)[:2])
    assert along < 0.5 * across


def test_a_student_without_any_difference_leaves_the_cosine_distance() -> None:
    np.testing.assert_array_equal(whitening(np.zeros((4, 4))), np.eye(4, dtype=np.float32))


def test_batches_of_images_add_up() -> None:
    first, second = differences(4, 30, 0), differences(4, 50, 1)
    moments, whole = SecondMoments(levels=1), SecondMoments(levels=1)
    moments.add([first])
    moments.add([second])
    whole.add([np.concatenate([first, second], axis=1)])
    apart, together = moments.whitening()["whitening1"], whole.whitening()["whitening1"]
    np.testing.assert_allclose(apart, together, atol=1e-5)
