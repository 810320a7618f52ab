import numpy as np
import pytest

from uad.config.training import Zone
from uad.errors import CalibrationError
from uad.scoring.conformal import conformal_threshold
from uad.scoring.zone_alpha import (
    ZoneVerdict,
    alpha_outside,
    check_zones,
    combined_p_value,
    on_image_scale,
    rescaled,
)

LEFT = ((((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0)),),)
LOGO, RIM = Zone(name="logo", areas=LEFT, alpha=0.04), Zone(name="rim", areas=LEFT, alpha=0.02)


def test_the_zones_and_the_rest_share_the_images_alpha() -> None:
    assert alpha_outside(0.1, (LOGO, RIM)) == pytest.approx(0.04)
    check_zones((LOGO, RIM), 0.1, 49)
    check_zones((), 0.0001, 1)


@pytest.mark.parametrize(
    ("alpha", "images", "words"),
    [
        (0.05, 1000, "add up to 6 %, and the image's alpha is 5 %"),
        (0.06, 1000, "add up to 6 %"),
        (0.1, 48, "The zone rim has a false alarm rate of 2 %, which needs 49"),
        (0.065, 100, "Outside of the zones 0.5 % of alpha is left"),
    ],
)
def test_what_the_calibration_images_cannot_promise_is_refused(
    alpha: float, images: int, words: str
) -> None:
    with pytest.raises(CalibrationError) as raised:
        check_zones((LOGO, RIM), alpha, images)
    assert words in str(raised.value)


def test_each_zone_and_the_image_keep_their_promise_on_fresh_scores() -> None:
    rng = np.random.default_rng(0)
    alphas, fresh = (0.04, 0.02, 0.04), 200
    alarms = np.zeros((400, fresh, 3), bool)
    for trial in range(400):
        common = rng.gamma(3, 1, (49 + fresh, 1))  # the zones of one image are alike
        scores = common + rng.gamma(2, 1, (49 + fresh, 3))
        for part, alpha in enumerate(alphas):
            threshold, _ = conformal_threshold(scores[:49, part].tolist(), alpha)
            alarms[trial, :, part] = scores[49:, part] > threshold
    rates = alarms.mean(axis=1)
    error = 3 * rates.std(axis=0) / 20
    assert (rates.mean(axis=0) <= np.asarray(alphas) + error).all()
    assert (rates.mean(axis=0) >= np.asarray(alphas) - error - 0.02).all()
    image = alarms.any(axis=2).mean(axis=1)
    assert image.mean() <= 0.1 + 3 * image.std() / 20


def test_an_image_at_a_threshold_raises_no_alarm_and_one_above_it_does() -> None:
    threshold = 1.1
    at = ZoneVerdict("logo", 0.3, 0.3, 0.04)
    above = ZoneVerdict("logo", float(np.nextafter(0.3, 1)), 0.3, 0.04)
    assert not at.is_anomalous
    assert threshold * at.ratio == threshold
    assert above.is_anomalous
    assert on_image_scale([1.0, 1.0], threshold, [([0.3, 0.6], 0.3)]) == [1.1, 2.2]


def test_the_p_value_is_at_most_alpha_exactly_where_there_is_an_alarm() -> None:
    rng = np.random.default_rng(1)
    known = [np.sort(rng.random(99)).tolist() for _ in range(2)]
    alphas = (0.06, 0.04)
    thresholds = [conformal_threshold(s, a)[0] for s, a in zip(known, alphas, strict=True)]
    for scores in rng.random((300, 2)) ** 0.2:
        parts = [(float(s), k, a) for s, k, a in zip(scores, known, alphas, strict=True)]
        alarm = bool((scores > thresholds).any())
        assert (combined_p_value(parts, 0.1) <= 0.1 + 1e-9) is alarm


def test_one_threshold_marks_in_the_whole_map() -> None:
    values = np.asarray([[1.0, 2.0, 3.0, 4.0]], np.float32)
    numbers = np.asarray([[0, 0, 1, 1]], np.uint16)
    scaled = rescaled(values, numbers, [ZoneVerdict("logo", 4.0, 3.0, 0.04)], 1.5)
    assert (scaled > 1.5).tolist() == [[False, True, False, True]]
