"""False alarms that were applied leave the promise as it was: measured on fresh normal images."""

import hashlib
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.images import part
from tests.uad.monitoring.judged import keep, word
from uad.config import TrainingConfig
from uad.data import ingest, load_dataset
from uad.inference.detector import Detector, load_detector
from uad.models.teacher import load_teacher
from uad.monitoring.feedback import apply_feedback
from uad.monitoring.judged_images import JudgedImages, Pictures
from uad.scoring.conformal import beta_binomial_range
from uad.training import train

FRESH = 300
LINE = range(50_000, 50_200)
"""Seeds of the good parts that the first version judges on the line."""


def scores(detector: Detector, seeds: range) -> np.ndarray:
    return np.array([detector.detect([part(seed)])[0].score for seed in seeds])


@pytest.mark.slow
def test_training_on_the_false_alarms_keeps_the_promised_rate_on_fresh_parts(
    trained_bundle: Path, parts: Path, tiny_config: TrainingConfig, tmp_path: Path
) -> None:
    ingest(parts, "parts", progress=False)
    first = load_detector(trained_bundle, engine="onnxruntime")
    worst = np.argsort(-scores(first, LINE))[:10]
    store = JudgedImages()
    for index in worst:
        file = cv2.imencode(".png", part(LINE[index]))[1].tobytes()
        judged = keep(store, f"i{index}", alarm=True, product="parts")
        judged = replace(judged, sha256=hashlib.sha256(file).hexdigest())
        store.keep(judged, Pictures(file, b"", b""), limit_bytes=10**9)
        store.say(judged, word("good"))
    assert apply_feedback(store, "parts").false_alarms == len(worst)

    dataset = load_dataset("parts", tiny_config.data)
    teacher = load_teacher("random", width=8)
    bundle = train(dataset, tiny_config, teacher, tmp_path / "second")
    second = load_detector(bundle.path, engine="onnxruntime")
    assert len(second.calibration.scores) == len(first.calibration.scores)
    alarms = scores(second, range(90_000, 90_000 + FRESH)) > second.threshold
    _, most = beta_binomial_range(len(second.calibration.scores), FRESH, second.alpha, 0.999)
    assert alarms.mean() <= most
