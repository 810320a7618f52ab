import numpy as np
import pytest
from numpy.typing import NDArray

from uad.errors import CalibrationError
from uad.scoring.conformal import (
    beta_binomial_range,
    conformal_threshold,
    dependence,
    few_captures_sentence,
    guaranteed_rate,
    images_needed,
    p_value,
    unmet_alpha,
    unmet_alpha_sentence,
)


def test_the_threshold_is_the_order_statistic_that_alpha_asks_for() -> None:
    scores = list(range(1, 20))
    assert conformal_threshold(scores, 0.05) == (19, 0.05)
    assert conformal_threshold(scores[::-1], 0.1) == (18, 0.1)


def test_with_too_few_images_the_smallest_rate_they_allow_is_promised() -> None:
    assert conformal_threshold([1.0, 2.0, 3.0], 0.05) == (3.0, 0.25)


@pytest.mark.parametrize(
    ("alpha", "needed"),
    [(0.05, 19), (0.1, 9), (0.01, 99), (0.3, 3), (0.5, 1), (0.03, 33), (1 / 3, 2)],
)
def test_images_needed_are_just_enough(alpha: float, needed: int) -> None:
    assert images_needed(alpha) == needed
    assert 1 / (needed + 1) <= alpha + 1e-12
    assert 1 / needed > alpha


@pytest.mark.parametrize("alpha", [0.05, 0.1, 0.01, 0.3, 0.03, 1 / 3])
def test_the_threshold_promises_alpha_from_just_as_many_images(alpha: float) -> None:
    needed = images_needed(alpha)
    assert conformal_threshold(range(needed), alpha)[1] == alpha
    assert conformal_threshold(range(needed - 1), alpha)[1] > alpha


def test_alarm_and_p_value_agree() -> None:
    scores = list(np.random.default_rng(0).normal(size=57))
    threshold, alpha = conformal_threshold(scores, 0.08)
    for score in [*scores, threshold + 1e-9, 5.0, -5.0]:
        assert (score > threshold) == (p_value(score, scores) <= alpha)


def test_fresh_normals_raise_false_alarms_at_most_at_the_rate_promised() -> None:
    rng = np.random.default_rng(1)
    alarms = [
        rng.exponential() > conformal_threshold(rng.exponential(size=39), 0.05)[0]
        for _ in range(4000)
    ]
    assert 0.035 < np.mean(alarms) < 0.062


def test_the_observed_rate_falls_into_the_beta_binomial_range_as_often_as_stated() -> None:
    rng = np.random.default_rng(2)
    low, high = beta_binomial_range(39, 80, 0.05)
    inside = 0
    for _ in range(2000):
        threshold, _ = conformal_threshold(rng.normal(size=39), 0.05)
        inside += low <= float(np.mean(rng.normal(size=80) > threshold)) <= high
    assert inside / 2000 >= 0.94


def test_the_range_of_known_cases() -> None:
    assert beta_binomial_range(142, 242, 0.05) == pytest.approx((3 / 242, 24 / 242))
    assert beta_binomial_range(19, 14, 0.05) == pytest.approx((0.0, 3 / 14))


def shots(rng: np.random.Generator, captures: int, each: int = 6) -> NDArray[np.float64]:
    """Scores of several shots of each part: nine tenths of their variance is the part's."""
    parts = rng.normal(size=(captures, 1)) * np.sqrt(0.9)
    return (parts + rng.normal(size=(captures, each)) * np.sqrt(0.1)).ravel()


def test_shots_of_the_same_parts_keep_the_rate_on_average_and_the_range_of_so_many_captures() -> (
    None
):
    rng = np.random.default_rng(3)
    rates = [
        float(np.mean(shots(rng, 40) > conformal_threshold(shots(rng, 25), 0.05)[0]))
        for _ in range(1000)
    ]
    assert 0.04 < np.mean(rates) < 0.065

    def inside(low: float, high: float) -> float:
        return float(np.mean([low <= rate <= high for rate in rates]))

    assert inside(*beta_binomial_range(150, 240, 0.05, captures=25)) >= 0.93
    assert inside(*beta_binomial_range(150, 240, 0.05)) < 0.8


@pytest.mark.parametrize("captures", [2, 4, 10])
def test_too_few_captures_keep_the_larger_rate_that_is_said(captures: int) -> None:
    rng = np.random.default_rng(captures)
    rates = [
        np.mean(shots(rng, 1, 30) > conformal_threshold(shots(rng, captures, 30), 0.05)[0])
        for _ in range(1000)
    ]
    assert 0.05 < np.mean(rates) < guaranteed_rate(0.05, captures)
    said = few_captures_sentence(0.05, 0.05, 30 * captures, captures)
    assert f"The {30 * captures} calibration images show {captures} captures" in said
    assert "5 % needs 19 captures" in said
    assert f"up to {100 * guaranteed_rate(0.05, captures):.3g} % on average" in said


def test_from_as_many_captures_on_as_alpha_needs_images_alpha_is_what_is_said() -> None:
    assert guaranteed_rate(0.05, None) == guaranteed_rate(0.05, 19) == 0.05
    assert guaranteed_rate(0.05, 4) == pytest.approx(0.24)


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.1, 2.0])
def test_an_impossible_rate_is_refused(alpha: float) -> None:
    with pytest.raises(CalibrationError, match="between 0 and 1"):
        conformal_threshold([1.0], alpha)


@pytest.mark.parametrize("scores", [[], [1.0, float("nan")], [float("inf")]])
def test_scores_that_cannot_set_a_threshold_are_refused(scores: list[float]) -> None:
    with pytest.raises(CalibrationError):
        conformal_threshold(scores, 0.1)


def test_a_rate_that_cannot_be_promised_is_said_with_the_images_it_takes() -> None:
    _, achieved = conformal_threshold(range(1, 29), 0.01)
    assert unmet_alpha(0.01, achieved) == 0.01
    assert unmet_alpha(0.05, 0.05) is None
    said = unmet_alpha_sentence(0.01, achieved)
    assert "With 28 calibration images the lowest rate that can be guaranteed is" in said
    assert "3.4 %" in said
    assert said.endswith("For 1 % you need 99.")


def test_a_threshold_that_depends_on_one_image_far_from_the_rest_is_found() -> None:
    usual = sorted(np.exp(np.random.default_rng(0).normal(1.5, 0.2, 18)))
    scores = [*usual, 8.72]
    found = dependence(scores, [f"{number}.png" for number in range(19)], 8.72)
    assert found is not None
    assert (found.image, found.threshold, found.without) == ("18.png", 8.72, usual[-1])
    assert "18.png" in found.sentence()
    assert "If it shows a good part, leave it in" in found.sentence()
    assert dependence(scores, (), 8.72).image is None  # type: ignore[union-attr]
    assert dependence(scores, (), usual[-1]) is None


def test_an_ordinary_highest_score_is_not_called_far_from_the_rest() -> None:
    rng = np.random.default_rng(1)
    samples = [sorted(np.exp(rng.normal(1.5, 0.2, 19))) for _ in range(200)]
    assert sum(dependence(scores, (), scores[-1]) is not None for scores in samples) < 0.2 * 200
    assert dependence([1.0, 2.0, 30.0], (), 30.0) is None
