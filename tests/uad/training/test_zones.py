"""A detector trained with a region to ignore, on parts with glare there."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.images import Array, part
from uad.config import TrainingConfig
from uad.config.training import Areas
from uad.data import ingest, load_dataset
from uad.data.versions import with_zones
from uad.errors import BundleError
from uad.inference.detector import Detector, load_detector
from uad.inference.export.edge import export_edge
from uad.models.teacher import load_teacher
from uad.scoring.conformal import beta_binomial_range
from uad.training import train

GLARE: Areas = ((((0.0, 0.0), (0.4, 0.0), (0.4, 0.45), (0.0, 0.45)),),)


def glaring(seed: int) -> Array:
    """A good part with anything at all in its top left corner."""
    image = part(seed)
    image[:21, :25] = np.random.default_rng([seed, 7]).choice([0, 255], size=(21, 25, 1))
    return image


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory, tiny_config: TrainingConfig) -> Detector:
    root = tmp_path_factory.mktemp("zones")
    good = root / "glaring" / "train" / "good"
    good.mkdir(parents=True)
    for seed in range(40):
        cv2.imwrite(str(good / f"{seed:03}.png"), glaring(seed))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UAD_HOME", str(root / "home"))
        version = with_zones(ingest(root / "glaring", "glaring", progress=False), GLARE)
        dataset = load_dataset(version.address, tiny_config.data)
        teacher = load_teacher("random", width=8)
        bundle = train(dataset, tiny_config, teacher, root / "bundle")
    assert bundle.manifest.input.ignore == GLARE
    return load_detector(bundle.path)


def test_what_lies_in_a_zone_changes_nothing(detector: Detector) -> None:
    other = part(3000)
    other[:21, :25] = 255
    one, two = detector.detect([part(3000), other])
    assert one.score == two.score
    assert (one.anomaly_map == two.anomaly_map).all()
    assert not two.anomaly_map[:20, :24].any()


def test_a_defect_beside_the_zone_is_found_and_marked_there_alone(detector: Detector) -> None:
    image = glaring(3000)
    cv2.circle(image, (48, 34), 9, (255, 255, 255), -1)
    (found,) = detector.detect([image])
    assert found.is_anomalous
    assert not found.label_map[:20, :24].any()
    assert found.label_map[28:40, 42:54].any()


def test_the_promise_holds_on_fresh_normals_with_glare(detector: Detector) -> None:
    found = detector.detect([glaring(seed) for seed in range(5000, 5060)])
    rate = float(np.mean([each.is_anomalous for each in found]))
    entry = detector.calibration
    low, high = beta_binomial_range(len(entry.scores), 60, entry.alpha, confidence=0.999)
    assert low <= rate <= high


def test_the_picture_shows_the_zone_hatched(detector: Detector) -> None:
    from uad.visualization import picture

    image = glaring(3000)
    (found,) = detector.detect([image])
    facts = (image, found.anomaly_map, found.score, found.threshold, found.is_anomalous)
    hatched, plain = (picture(*facts, ignore=ignore) for ignore in (found.ignore, ()))
    changed = (hatched != plain).any(axis=2)
    height, width = changed.shape
    assert changed[: height // 4, : width // 4].any()
    assert not changed[:, width // 2 :].any()


def test_a_device_program_is_not_made_of_it(detector: Detector, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="ignore regions"):
        export_edge(detector.bundle, tmp_path / "device")
