"""The whole image's statistics tell unusual combinations, however many images there are."""

import numpy as np
import pytest

from uad.models.statistics import fit_whole_image


def correlated(count: int, seed: int) -> np.ndarray:
    """Two figures that go together and 18 that do not vary much."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(count, 1))
    pair = np.hstack([common, common]) + rng.normal(0, 0.05, (count, 2))
    return np.hstack([pair, rng.normal(0, 0.3, (count, 18))]).astype(np.float32)


@pytest.mark.parametrize("count", [60, 600])
def test_an_unusual_combination_of_usual_figures_is_far(count: int) -> None:
    whole = fit_whole_image(correlated(count, 0))
    usual = whole.distances(correlated(200, 1))
    odd = np.zeros((1, 20), np.float32)
    odd[0, :2] = 1.0, -1.0
    together = np.zeros((1, 20), np.float32)
    together[0, :2] = 1.0, 1.0
    assert whole.distances(odd)[0] > usual.max()
    assert whole.distances(together)[0] < np.median(usual)


def test_fewer_images_than_figures_are_enough_for_a_finite_distance() -> None:
    whole = fit_whole_image(correlated(5, 0))
    assert np.isfinite(whole.distances(correlated(50, 1))).all()


def test_one_image_is_enough_for_a_finite_distance() -> None:
    whole = fit_whole_image(correlated(1, 0))
    assert np.isfinite(whole.distances(correlated(50, 1))).all()


def test_figures_that_never_change_do_no_harm() -> None:
    constant = np.ones((8, 4), np.float32)
    whole = fit_whole_image(constant)
    assert whole.distances(constant).max() == 0
    assert np.isfinite(whole.whitening).all()
