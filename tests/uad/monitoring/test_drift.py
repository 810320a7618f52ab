import numpy as np
import pytest
from numpy.typing import NDArray

from uad.errors import CalibrationError
from uad.monitoring.drift import LEVEL, Drift, detect_drift

N = 60


def scores(count: int, seed: int) -> NDArray[np.float64]:
    """Of good images; skewed, as real ones are."""
    return np.random.default_rng(seed).lognormal(0.0, 0.3, count)


def watched(recent: NDArray[np.float64]) -> Drift:
    calibration = scores(N, 0)
    return detect_drift(
        list(calibration), list(recent), threshold=float(calibration.max()), alpha=1 / N
    )


def test_months_of_quiet_days_report_no_more_often_than_promised() -> None:
    days, months = 30, 6
    reports = 0
    for month in range(months):
        calibration = list(scores(N, 1000 + month))  # one set for all days of a month
        for day in range(days):
            recent = list(scores(80, 10_000 + 100 * month + day))
            reports += detect_drift(calibration, recent, threshold=9.0, alpha=0.05).detected
    assert reports <= 1  # expected: at most months * days * LEVEL, here 0.18
    assert months * days * LEVEL < 0.2


@pytest.mark.parametrize(("change", "direction"), [(0.4, "higher"), (-0.4, "lower")])
def test_a_line_that_changes_is_reported_within_the_next_hundred_images(
    change: float, direction: str
) -> None:
    found = watched(np.concatenate([scores(50, 1), scores(150, 2) + change]))
    assert found.detected_at is not None
    assert 50 < found.detected_at <= 150
    assert found.direction == direction
    assert found.evidence >= 1 / LEVEL


def shots(captures: int, seed: int) -> NDArray[np.float64]:
    """Six shots of each part, one after another, and alike."""
    parts, each = np.random.default_rng(seed).normal(size=(2, captures, 6))
    return np.exp(0.3 * (0.9 * parts[:, :1] + 0.43 * each)).ravel()


def watched_shots(recent: NDArray[np.float64], seed: int = 0) -> Drift:
    order = np.argsort(scores := shots(60, seed))
    return detect_drift(
        list(scores[order]),
        list(recent),
        threshold=float(np.quantile(scores, 0.95)),
        alpha=0.05,
        captures=[int(number) for number in order // 6],
    )


def test_several_shots_of_each_part_are_no_drift() -> None:
    for day in range(20):
        found = watched_shots(shots(80, 100 + day), seed=200 + day)
        assert not found.detected
        assert not found.too_many_alarms


def test_a_changed_line_with_several_shots_of_each_part_is_reported() -> None:
    found = watched_shots(np.concatenate([shots(20, 1), 1.8 * shots(60, 2)]))
    assert found.detected_at is not None
    assert 120 < found.detected_at <= 480
    assert found.direction == "higher"


def test_a_single_defect_proves_nothing_but_is_counted() -> None:
    recent = scores(100, 3)
    recent[40] = 50.0
    found = watched(recent)
    assert not found.detected
    assert found.alarms >= 1


def test_a_batch_of_bad_parts_is_reported_too() -> None:
    recent = scores(100, 4)
    recent[20:80] += 5.0
    found = watched(recent)
    assert found.detected
    assert found.expected_alarms is not None
    assert found.alarms > found.expected_alarms[1]


def test_equal_scores_are_no_evidence() -> None:
    same = detect_drift([1.0] * 50, [1.0] * 200, threshold=2.0, alpha=0.05)
    assert not same.detected


def test_a_watch_over_nothing_says_nothing() -> None:
    found = watched(np.array([]))
    assert (found.images, found.detected, found.evidence) == (0, False, 1.0)


def test_a_long_shift_does_not_leave_the_range_of_numbers() -> None:
    assert np.isfinite(watched(scores(5000, 5) + 5.0).evidence)


def test_without_calibration_there_is_nothing_to_compare_with() -> None:
    with pytest.raises(CalibrationError):
        detect_drift([], [1.0], threshold=1.0, alpha=0.05)


def test_a_few_images_that_are_almost_all_alarms_are_never_quiet() -> None:
    calibration = list(scores(N, 0))
    limit = max(calibration)
    recent = [limit + 1.0] * 19 + [min(calibration)] * 4
    found = detect_drift(calibration, recent, threshold=limit, alpha=0.05)
    assert found.alarms == 19
    assert found.too_many_alarms
    assert found.above_range


def test_many_days_of_good_images_have_too_many_alarms_no_more_often_than_the_level() -> None:
    reports = 0
    for day in range(400):
        calibration = sorted(scores(N, 50_000 + day))
        threshold = float(calibration[56])  # the 57th of 60: alpha 4/61
        recent = list(scores(23, 90_000 + day))
        found = detect_drift(calibration, recent, threshold=threshold, alpha=4 / 61, level=0.05)
        reports += found.too_many_alarms
    assert reports <= 32  # at most 20 are expected; 32 is three standard deviations above
