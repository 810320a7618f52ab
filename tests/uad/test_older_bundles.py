"""Bundles that earlier versions made keep working."""

import json
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from tests.images import defective, part
from uad.inference.detector import load_detector

SAMPLES = Path(__file__).parents[1] / "samples"


def test_a_bundle_of_the_student_alone_scores_as_when_it_was_made() -> None:
    expected = json.loads((SAMPLES / "bundle_v1_expected.json").read_text())
    images = [part(5), defective(2003)[0], part(7, size=(60, 90))]
    with closing(load_detector(SAMPLES / "bundle_v1")) as detector:
        found = detector.detect(images)
    for one, known in zip(found, expected, strict=True):
        assert one.score == pytest.approx(known["score"], rel=1e-5)
        assert one.threshold == one.map_threshold == known["threshold"]
        assert one.p_value == known["p_value"]
        assert one.is_anomalous == known["is_anomalous"]
        assert one.raised_by == ("student" if known["is_anomalous"] else None)
        assert np.count_nonzero(one.label_map) == pytest.approx(known["marked"], abs=2)
        assert one.anomaly_map.sum(dtype=float) == pytest.approx(known["map_sum"], rel=1e-5)
