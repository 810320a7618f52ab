import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

import uad
from tests.bundles import calibrate
from uad.bundle import read_bundle
from uad.errors import (
    BundleError,
    CalibrationError,
    ConfigError,
    EngineError,
    RegistryError,
    ServingError,
)
from uad.pipeline import create_pipeline
from uad.registry import ModelRegistry

Bundles = Callable[[int], Path]
Picture = NDArray[np.uint8]


@pytest.fixture
def served(cookie: ModelRegistry) -> ModelRegistry:
    """Cookie's version 1 is champion."""
    cookie.promote("cookie", "1")
    return cookie


def test_it_is_reachable_from_the_package(random_bundle: Bundles) -> None:
    with uad.create_pipeline(str(random_bundle(1))) as pipeline:
        assert pipeline.model_version == read_bundle(random_bundle(1)).id


@pytest.mark.parametrize(
    ("pipeline", "version"),
    [
        ("anomaly_detection", "1"),
        ("cookie", "1"),
        ("models:/cookie@champion", "1"),
        ("models:/cookie/2", "2"),
    ],
)
def test_a_name_or_address_loads_from_the_registry(
    served: ModelRegistry, pipeline: str, version: str
) -> None:
    with create_pipeline(pipeline) as made:
        assert made.model_version == version


def test_a_yaml_file_loads_what_it_names_and_the_caller_goes_before_it(
    random_bundle: Bundles, tmp_path: Path
) -> None:
    file = tmp_path / "my pipeline.yaml"
    section = {"model": str(random_bundle(2)), "batch_size": 3, "device": "cpu", "alpha": 0.2}
    file.write_text(yaml.safe_dump({"Pipeline": section}))
    image = np.zeros((32, 32, 3), np.uint8)
    with create_pipeline(file) as pipeline:
        (usual,) = pipeline.predict(image)
    with create_pipeline(str(file), threshold=7.0) as pipeline:
        (mine,) = pipeline.predict(image)
    assert usual["model_version"] == read_bundle(random_bundle(2)).id
    assert usual["alpha"] <= 0.2
    assert mine["threshold"] == 7.0


def test_a_path_in_a_yaml_file_may_start_from_the_files_folder(
    random_bundle: Bundles, tmp_path: Path
) -> None:
    (tmp_path / "model").symlink_to(random_bundle(1))
    (tmp_path / "p.yaml").write_text("Pipeline: {model: model}")
    with create_pipeline(tmp_path / "p.yaml") as pipeline:
        assert pipeline.model_version == read_bundle(random_bundle(1)).id


def test_a_config_goes_before_a_name(random_bundle: Bundles) -> None:
    config = {"SubModules": {"AnomalyDetection": {"model_dir": str(random_bundle(1))}}}
    with create_pipeline("anomaly_detection", config=config) as pipeline:
        assert pipeline.model_version == read_bundle(random_bundle(1)).id


def test_without_a_product_it_says_how_to_get_one(registry: ModelRegistry) -> None:
    with pytest.raises(RegistryError, match="uad retrain"):
        create_pipeline("anomaly_detection")


def test_stfpm_must_not_be_ambiguous(served: ModelRegistry, random_bundle: Bundles) -> None:
    served.register(random_bundle(1), "biscuit")
    with pytest.raises(RegistryError, match=r"biscuit, cookie"):
        create_pipeline("anomaly_detection")


def test_a_product_without_a_champion_says_how_to_promote(
    registry: ModelRegistry, random_bundle: Bundles
) -> None:
    registry.register(random_bundle(1), "cookie")
    with pytest.raises(RegistryError, match="uad promote cookie"):
        create_pipeline("cookie")


def test_an_unknown_name_is_answered_with_what_there_is(served: ModelRegistry) -> None:
    with pytest.raises(ConfigError, match=r"'OCR' is neither a product.*Products: cookie"):
        create_pipeline("OCR")
    with pytest.raises(ConfigError, match=r"missing\.yaml"):
        create_pipeline("missing.yaml")
    with pytest.raises(ConfigError, match="No pipeline was given"):
        create_pipeline()


def test_a_folder_that_is_no_bundle_is_refused(tmp_path: Path, registry: ModelRegistry) -> None:
    with pytest.raises(BundleError, match=r"bundle\.json"):
        create_pipeline(tmp_path)


def test_a_folder_of_photos_does_not_hide_the_product_of_its_name(
    served: ModelRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cookie").mkdir()
    with create_pipeline("cookie") as pipeline:
        assert pipeline.model_version


def test_devices_engines_and_thresholds_are_checked(random_bundle: Bundles) -> None:
    for device in ("cuda", "gpu:x", "CPU:", "tpu:0"):
        with pytest.raises(EngineError, match="device"):
            create_pipeline(random_bundle(1), device=device)
    with pytest.raises(ConfigError, match="alpha"):
        create_pipeline(random_bundle(1), alpha=1.5)
    with pytest.raises(CalibrationError, match="not both"):
        create_pipeline(random_bundle(1), alpha=0.1, threshold=1.0)
    with pytest.raises(ConfigError, match="hpi_config"):
        create_pipeline(random_bundle(1), hpi_config={"backend": "tensorrt"})


def test_high_performance_falls_back_to_what_the_model_is_calibrated_for(
    random_bundle: Bundles,
) -> None:
    with create_pipeline(random_bundle(1), use_hpip=True) as pipeline:
        assert len(list(pipeline.predict(np.zeros((32, 32, 3), np.uint8)))) == 1


def test_high_performance_takes_the_fastest_engine_that_the_model_is_calibrated_for(
    random_bundle: Bundles, tmp_path: Path
) -> None:
    bundle = read_bundle(Path(shutil.copytree(random_bundle(1), tmp_path / "both")))
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (32, 32, 3), np.uint8) for _ in range(40)]
    calibrate(bundle, "openvino", images)
    own = read_bundle(bundle.path).manifest.calibration["openvino/fp32"].threshold
    with create_pipeline(bundle.path, use_hpip=True) as pipeline:
        (result,) = pipeline.predict(images[0])
    assert result["threshold"] == own
    assert result["threshold"] != bundle.manifest.calibration["onnxruntime/fp32"].threshold


def test_a_following_pipeline_changes_version_between_two_pictures(served: ModelRegistry) -> None:
    pictures = [np.full((32, 32, 3), value, np.uint8) for value in range(200)] * 50
    with create_pipeline("cookie", follow=True, interval_seconds=0.05) as pipeline:
        results = pipeline.predict(pictures)
        assert next(results)["model_version"] == "1"
        served.promote("cookie", "2")
        deadline = time.monotonic() + 60
        seen = next(result for result in results if result["model_version"] == "2")
        assert time.monotonic() < deadline
        assert seen["score"] >= 0
        status = pipeline.status()
        assert status is not None
        assert status.serving == "2"


def test_a_promotion_reaches_only_pipelines_that_follow(served: ModelRegistry) -> None:
    with create_pipeline("cookie") as pipeline:
        served.promote("cookie", "2")
        (result,) = pipeline.predict(np.zeros((32, 32, 3), np.uint8))
        assert result["model_version"] == "1"
        assert pipeline.status() is None


def test_only_an_address_can_be_followed(registry: ModelRegistry, random_bundle: Bundles) -> None:
    with pytest.raises(ConfigError, match="follow"):
        create_pipeline(random_bundle(1), follow=True)
    registry.register(random_bundle(1), "cookie")
    with pytest.raises(ServingError, match="uad promote cookie"):
        create_pipeline("cookie", follow=True)
