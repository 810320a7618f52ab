"""A detector with two zones that have a false alarm rate of their own."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.images import Array, part
from uad.bundle import read_bundle
from uad.config import TrainingConfig
from uad.config.training import Zone, Zones
from uad.data import ingest, load_dataset
from uad.data.versions import read_version, with_zones
from uad.errors import BundleError, CalibrationError
from uad.evaluation import evaluate
from uad.evaluation.explanations import sentences
from uad.inference.detector import Detector, load_detector
from uad.inference.export.edge import export_edge
from uad.inference.prepare import prepare
from uad.models.teacher import load_teacher
from uad.pipeline import create_pipeline
from uad.scoring.conformal import beta_binomial_range
from uad.training import train


def box(left: float, top: float, right: float, bottom: float) -> tuple[tuple[float, float], ...]:
    return ((left, top), (right, top), (right, bottom), (left, bottom))


LOGO = Zone(name="logo", areas=((box(0, 0, 0.35, 0.45),),), alpha=0.1)
RIM = Zone(name="rim", areas=((box(0.7, 0, 1, 1),),), alpha=0.05)
ZONES: Zones = (LOGO, RIM)
FRESH = 80


def parts_with_rough_rim(seed: int) -> Array:
    image = part(seed)
    rng = np.random.default_rng([seed, 9])
    x, y = int(rng.integers(50, 58)), int(rng.integers(6, 40))
    cv2.circle(image, (x, y), 4, (255, 255, 255), -1)
    return image


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("zone-alpha")
    good = root / "rims" / "train" / "good"
    good.mkdir(parents=True)
    for seed in range(100):
        cv2.imwrite(str(good / f"{seed:03}.png"), parts_with_rough_rim(seed))
    return root


def config_of(tiny_config: TrainingConfig) -> TrainingConfig:
    split = tiny_config.data.model_copy(update={"alpha": 0.25, "calibration_share": 0.4})
    return tiny_config.model_copy(update={"data": split})


@pytest.fixture(scope="module")
def detector(home: Path, tiny_config: TrainingConfig) -> Detector:
    config = config_of(tiny_config)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UAD_HOME", str(home / "home"))
        version = with_zones(ingest(home / "rims", "rims", progress=False), (), ZONES)
        dataset = load_dataset(version.address, config.data)
        bundle = train(dataset, config, load_teacher("random", width=8), home / "bundle")
    return load_detector(bundle.path)


def test_the_promise_holds_for_each_zone_and_for_the_image_on_fresh_normals(
    detector: Detector,
) -> None:
    found = detector.detect([parts_with_rough_rim(seed) for seed in range(5000, 5000 + FRESH)])
    entry = detector.calibration
    n = len(entry.scores)
    for index, zone in enumerate(ZONES):
        rate = float(np.mean([one.zone_verdicts[index].is_anomalous for one in found]))
        low, high = beta_binomial_range(n, FRESH, zone.alpha, confidence=0.999)
        assert low <= rate <= high
    rate = float(np.mean([one.is_anomalous for one in found]))
    assert rate <= beta_binomial_range(n, FRESH, entry.alpha, confidence=0.999)[1]
    assert entry.outside_alpha == pytest.approx(0.1)


def test_score_map_and_verdict_agree_on_one_threshold(detector: Detector) -> None:
    pictures = [parts_with_rough_rim(seed) for seed in range(7000, 7060)]
    for alpha in (None, 0.5):
        for one in detector.detect(pictures, alpha=alpha):
            assert one.is_anomalous is (one.score > one.threshold)
            assert (one.p_value <= one.alpha + 1e-9) is one.is_anomalous
            zoned = any(zone.is_anomalous for zone in one.zone_verdicts)
            assert bool(one.label_map[:20, :21].any() or one.label_map[:, 46:].any()) >= zoned
            if zoned and one.raised_by and one.raised_by.startswith("zone"):
                assert one.raised_by in ("zone logo", "zone rim")


def test_a_defect_in_a_zone_is_the_zones(detector: Detector) -> None:
    image = part(9000)
    cv2.rectangle(image, (4, 4), (14, 14), (255, 255, 255), -1)
    (found,) = detector.detect([image])
    assert found.raised_by == "zone logo"
    assert found.label_map[4:14, 4:14].any()


def test_a_threshold_of_ones_own_raises_those_of_the_zones_alike(detector: Detector) -> None:
    images = [parts_with_rough_rim(8000)]
    (usual,) = detector.detect(images)
    (other,) = detector.detect(images, threshold=2 * usual.threshold)
    assert [zone.threshold for zone in other.zone_verdicts] == [
        2 * zone.threshold for zone in usual.zone_verdicts
    ]
    assert other.alpha < usual.alpha


def test_an_alpha_that_cannot_be_promised_with_zones_says_so(detector: Detector) -> None:
    (found,) = detector.detect([part(8001)], alpha=0.01)
    assert found.requested_alpha == 0.01
    assert found.alpha == pytest.approx(3 / (len(detector.calibration.scores) + 1))


def test_the_pipelines_result_and_picture_name_the_zones(detector: Detector) -> None:
    pipeline = create_pipeline(str(detector.bundle.path))
    (result,) = pipeline.predict(part(8002))
    assert [zone["name"] for zone in result["zones"]] == ["logo", "rim"]
    assert [zone.name for zone in result.verdict.zones] == ["logo", "rim"]
    assert result.json["zones"][0]["alpha"] == 0.1


def test_an_evaluation_counts_each_zones_alarms(detector: Detector, home: Path) -> None:
    good, bad = home / "fresh" / "test" / "good", home / "fresh" / "test" / "logo"
    for folder in (good, bad, home / "fresh" / "train" / "good"):
        folder.mkdir(parents=True)
    for seed in range(8):
        cv2.imwrite(str(good / f"{seed}.png"), part(9100 + seed))
        cv2.imwrite(str(home / "fresh" / "train" / "good" / f"{seed}.png"), part(9300 + seed))
        image = part(9200 + seed)
        cv2.rectangle(image, (4, 4), (14, 14), (255, 255, 255), -1)
        cv2.imwrite(str(bad / f"{seed}.png"), image)
    report = evaluate(detector, load_dataset(home / "fresh", progress=False).test)
    logo, _ = report.zones
    assert (logo.name, logo.alpha, logo.found) == ("logo", 0.1, 8)
    assert logo.false_alarms == sum("logo" in one.zones for one in report.images if not one.label)
    assert any("Zone logo: " in sentence for sentence in sentences(report))
    assert report.from_json(report.to_json()).zones == report.zones


def test_zones_alone_are_changed_by_a_new_calibration_and_other_changes_need_a_training(
    detector: Detector, home: Path, tiny_config: TrainingConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UAD_HOME", str(home / "home"))
    config = config_of(tiny_config)

    def prepared(zones: Zones, ignore: tuple[Zone, ...] = ()) -> list[str]:
        areas = tuple(area for zone in ignore for area in zone.areas)
        version = with_zones(read_version("rims"), areas, zones)
        dataset = load_dataset(version.address, config.data)
        bundle = read_bundle(detector.bundle.path)
        ready = prepare(bundle, dataset, engine="onnxruntime", precision="fp32")
        return [each.zone.name for each in ready.manifest.calibration["onnxruntime/fp32"].zones]

    assert prepared((RIM,)) == ["rim"]
    assert prepared(()) == []
    with pytest.raises(CalibrationError, match="need a new training"):
        prepared((RIM,), (LOGO,))
    with pytest.raises(CalibrationError, match="zones' alphas add up"):
        prepared((LOGO, RIM.model_copy(update={"alpha": 0.2})))
    assert prepared(ZONES) == ["logo", "rim"]


def test_zones_that_cannot_be_promised_are_refused_before_the_training(
    home: Path, tiny_config: TrainingConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UAD_HOME", str(home / "home"))
    version = ingest(home / "rims", "strict", progress=False)
    dataset = load_dataset(
        with_zones(version, (), (RIM.model_copy(update={"alpha": 0.001}),)).address,
        config_of(tiny_config).data,
    )
    with pytest.raises(CalibrationError, match="needs 999 calibration images"):
        train(dataset, config_of(tiny_config), load_teacher("random", width=8), home / "never")
    assert not (home / "never").exists()


def test_a_device_program_is_not_made_of_it(detector: Detector, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="zones with their own alpha"):
        export_edge(detector.bundle, tmp_path / "device")
