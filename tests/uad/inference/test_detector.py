import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.images import defective, part
from uad.bundle import add_calibration, read_bundle
from uad.errors import BundleError, CalibrationError
from uad.inference.detector import Detector, Scorer, load_detector


@pytest.fixture(scope="module")
def detector(trained_bundle: Path) -> Detector:
    return load_detector(trained_bundle)


def test_a_batch_gives_what_single_images_give(detector: Detector) -> None:
    images = [part(seed, size=size) for seed, size in enumerate([(48, 64), (90, 31), (200, 320)])]
    together = detector.detect(images)
    for image, detection in zip(images, together, strict=True):
        alone = detector.detect([image])[0]
        np.testing.assert_allclose(detection.anomaly_map, alone.anomaly_map, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [(48, 64), (33, 517), (700, 40), (256, 256)])
def test_maps_and_labels_have_the_images_own_size(
    detector: Detector, size: tuple[int, int]
) -> None:
    detection = detector.detect([part(0, size=size)])[0]
    assert detection.anomaly_map.shape == detection.label_map.shape == size


def test_the_verdict_the_label_map_and_the_p_value_agree(detector: Detector) -> None:
    images = [part(3000), *(defective(seed)[0] for seed in range(4000, 4008))]
    for detection in detector.detect(images):
        above = detection.anomaly_map > detection.map_threshold
        assert ((detection.label_map == 255) == above).all()
        assert detection.is_anomalous == (detection.p_value <= detection.alpha)


def test_a_larger_alpha_lowers_the_threshold_for_this_call_only(detector: Detector) -> None:
    usual = detector.threshold
    relaxed = detector.detect([part(1)], alpha=0.5)[0]
    assert relaxed.threshold < usual
    assert detector.detect([part(1)])[0].threshold == usual


def test_alpha_and_threshold_together_are_refused(detector: Detector) -> None:
    with pytest.raises(CalibrationError, match="not both"):
        detector.detect([part(1)], alpha=0.1, threshold=3.0)


def test_an_alpha_that_cannot_be_promised_is_answered_with_the_one_used(detector: Detector) -> None:
    found = detector.detect([part(1)], alpha=0.001)[0]
    assert (found.requested_alpha, found.alpha) == (
        0.001,
        1 / (len(detector.calibration.scores) + 1),
    )
    assert detector.detect([part(1)], alpha=0.5)[0].requested_alpha is None


def test_an_image_of_another_kind_than_those_of_calibration_gets_a_warning(
    detector: Detector,
) -> None:
    grey, colour = part(1), part(1)
    colour[..., 0] = 0
    usual, odd = detector.detect([grey, colour])
    assert usual.warnings == ()
    [sentence] = odd.warnings
    assert "all images that set the threshold are grey" in sentence


def test_a_bundle_that_does_not_know_its_images_gives_no_warning(tiny_bundle: Path) -> None:
    bundle = read_bundle(tiny_bundle)
    for key, entry in bundle.manifest.calibration.items():
        bundle = add_calibration(bundle, key, entry.model_copy(update={"looks": None}))
    colour = part(1)
    colour[..., 0] = 0
    assert load_detector(tiny_bundle).detect([colour])[0].warnings == ()


def test_the_calibration_images_are_named_in_the_order_of_their_scores(detector: Detector) -> None:
    entry = detector.calibration
    assert len(set(entry.images)) == len(entry.scores)


def test_a_threshold_of_ones_own_is_answered_with_the_rate_it_stands_for(
    detector: Detector,
) -> None:
    middle = float(np.median(detector.calibration.scores))
    detection = detector.detect([part(1)], threshold=middle)[0]
    assert detection.threshold == middle
    assert detection.alpha == pytest.approx(0.5, abs=0.1)


def test_false_alarms_on_fresh_normals_lie_in_the_range_that_the_promise_allows(
    detector: Detector,
) -> None:
    from uad.scoring.conformal import beta_binomial_range

    fresh = [part(seed) for seed in range(5000, 5060)]
    rate = float(np.mean([detection.is_anomalous for detection in detector.detect(fresh)]))
    calibration = detector.calibration
    low, high = beta_binomial_range(
        len(calibration.scores), len(fresh), calibration.alpha, confidence=0.999
    )
    assert low <= rate <= high


def test_a_smaller_region_than_the_smallest_defect_neither_raises_the_alarm_nor_is_marked(
    detector: Detector,
) -> None:
    image = defective(4000)[0]
    (usual,) = detector.detect([image])
    assert usual.is_anomalous
    largest = max(region.area for region in usual.regions.listed)
    (same,) = detector.detect([image], min_area=1)
    (none,) = detector.detect([image], min_area=largest + 1)
    assert (same.score, same.regions) == (usual.score, usual.regions)
    assert none.score < usual.score
    assert not none.label_map.any()
    assert none.min_area == largest + 1
    assert none.raised_by in (None, "whole image")
    assert detector.detect([image])[0].score == usual.score


def test_a_calibration_for_a_smallest_defect_keeps_the_promise_on_fresh_normals(
    trained_bundle: Path, tmp_path: Path
) -> None:
    from uad.scoring.conformal import beta_binomial_range, conformal_threshold

    usual = load_detector(trained_bundle)
    scorer = Scorer(usual.bundle, usual.engine, min_area=60)
    scores = [found.score for found in scorer.score([part(seed) for seed in range(6000, 6039)])]
    threshold, alpha = conformal_threshold(scores, 0.1)
    assert (
        threshold
        < conformal_threshold(
            [
                found.score
                for found in usual.scorer.score([part(seed) for seed in range(6000, 6039)])
            ],
            0.1,
        )[0]
    )
    fresh = scorer.score([part(seed) for seed in range(7000, 7060)])
    rate = float(np.mean([found.score > threshold for found in fresh]))
    low, high = beta_binomial_range(39, 60, alpha, confidence=0.999)
    assert low <= rate <= high


def test_a_smallest_defect_below_the_calibrated_one_is_refused(
    random_bundle: Callable[[int], Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(random_bundle(1), tmp_path / "bundle")
    bundle = read_bundle(folder)
    entry = bundle.manifest.calibration["onnxruntime/fp32"]
    add_calibration(bundle, "onnxruntime/fp32", entry.model_copy(update={"min_area": 40}))
    with pytest.raises((CalibrationError, BundleError)):
        load_detector(folder, min_area=39)
