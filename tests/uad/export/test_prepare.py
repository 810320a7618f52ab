"""A bundle made ready for other engines and precisions."""

from pathlib import Path

import numpy as np
import pytest

from uad.bundle import INT8_MODEL, Bundle, read_bundle
from uad.data import Dataset, load_dataset
from uad.detector import load_detector
from uad.errors import BundleError, CalibrationError, EngineError
from uad.export import prepare
from uad.export.prepare import split_of
from uad.images import read
from uad.quantise import quantise


@pytest.fixture
def bundle(tiny_bundle: Path) -> Bundle:
    return read_bundle(tiny_bundle)


@pytest.fixture
def dataset(bundle: Bundle, parts: Path) -> Dataset:
    return load_dataset(parts, split_of(bundle))


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_an_int8_model_is_made_calibrated_and_finds_what_float32_finds(
    engine: str, bundle: Bundle, dataset: Dataset
) -> None:
    ready = prepare(bundle, dataset, engine=engine, precision="int8")
    detector = load_detector(ready.path, engine=engine, precision="int8")
    exact = load_detector(ready.path, engine="onnxruntime", precision="fp32")
    images = [read(sample.path) for sample in dataset.test]
    ours, theirs = detector.detect(images), exact.detect(images)
    scores = np.array([[a.score, b.score] for a, b in zip(ours, theirs, strict=True)])
    assert np.corrcoef(np.log(scores.T))[0, 1] > 0.9
    assert not np.array_equal(scores[:, 0], scores[:, 1])
    same = [a.is_anomalous == b.is_anomalous for a, b in zip(ours, theirs, strict=True)]
    assert np.mean(same) > 0.9


def test_the_int8_file_is_verified_like_every_other(bundle: Bundle, dataset: Dataset) -> None:
    prepare(bundle, dataset, engine="onnxruntime", precision="int8")
    file = bundle.path / INT8_MODEL
    assert file.stat().st_size < (bundle.path / "model.onnx").stat().st_size
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(BundleError, match=INT8_MODEL):
        read_bundle(bundle.path)


def test_quantising_anew_drops_the_old_models_calibrations(
    bundle: Bundle, dataset: Dataset
) -> None:
    for engine in ("onnxruntime", "openvino"):
        bundle = prepare(bundle, dataset, engine=engine, precision="int8")
    assert {"onnxruntime/int8", "openvino/int8"} <= set(bundle.manifest.calibration)
    bundle = prepare(bundle, dataset, engine="openvino", precision="int8", requantise=True)
    assert set(bundle.manifest.calibration) == {"onnxruntime/fp32", "openvino/int8"}


def test_an_engine_without_an_entry_names_the_command_that_makes_one(bundle: Bundle) -> None:
    with pytest.raises(CalibrationError, match=r"uad calibrate .* --engine openvino"):
        load_detector(bundle.path, engine="openvino")


def test_another_version_of_the_datasets_own_name_is_refused(
    bundle: Bundle, dataset: Dataset
) -> None:
    from dataclasses import replace

    changed = replace(dataset, version="0" * 12)
    with pytest.raises(CalibrationError, match="may have trained it"):
        prepare(bundle, changed, engine="onnxruntime", precision="fp32")
    fresh = replace(changed, name="fresh")
    ready = prepare(bundle, fresh, engine="onnxruntime", precision="fp32")
    assert len(ready.manifest.calibration["onnxruntime/fp32"].scores) == len(dataset.normals)


def test_an_int8_model_that_scores_otherwise_is_refused_and_leaves_the_bundle_as_it_was(
    bundle: Bundle, dataset: Dataset
) -> None:
    before = (bundle.path / "bundle.json").read_bytes()
    with pytest.raises(EngineError, match=r"keeps its float32 model: .* use --precision fp32"):
        quantise(bundle, dataset.train, dataset.selection, largest_noise=0.0)
    assert (bundle.path / "bundle.json").read_bytes() == before
    assert not (bundle.path / INT8_MODEL).exists()


def test_alpha_can_be_another_than_at_training(bundle: Bundle, dataset: Dataset) -> None:
    ready = prepare(bundle, dataset, engine="openvino", precision="fp32", alpha=0.4)
    entries = ready.manifest.calibration
    assert entries["openvino/fp32"].requested_alpha == 0.4
    assert entries["openvino/fp32"].threshold < entries["onnxruntime/fp32"].threshold
