from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from uad.errors import CalibrationError
from uad.inference.detector import load_detector
from uad.pipeline.multi_device import MultiDeviceDetector


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 7])
def test_a_team_judges_what_one_judges_in_the_same_order(
    random_bundle: Callable[[int], Path], count: int
) -> None:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (30 + i, 40, 3), np.uint8) for i in range(count)]
    detector = MultiDeviceDetector([load_detector(random_bundle(1)) for _ in range(3)])
    alone = load_detector(random_bundle(1)).detect(images, alpha=0.3)
    together = detector.detect(images, alpha=0.3)
    detector.close()
    assert [found.anomaly_map.shape for found in together] == [i.shape[:2] for i in images]
    np.testing.assert_allclose([f.score for f in together], [f.score for f in alone], rtol=1e-5)
    assert [found.threshold for found in together] == [found.threshold for found in alone]


def test_a_members_error_reaches_the_caller(random_bundle: Callable[[int], Path]) -> None:
    detector = MultiDeviceDetector([load_detector(random_bundle(1)) for _ in range(2)])
    with pytest.raises(CalibrationError):
        detector.detect([np.zeros((8, 8, 3), np.uint8)] * 2, alpha=2.0)
    detector.close()
