"""A bundle made ready for other engines and precisions."""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from uad.bundle import INT8_MODEL, Bundle, DatasetRef, add_int8, read_bundle
from uad.data import Dataset, load_dataset
from uad.errors import BundleError, CalibrationError, EngineError
from uad.images import read
from uad.inference.detector import load_detector
from uad.inference.export import prepare
from uad.inference.prepare import split_of
from uad.inference.quantization.automatic import add_int8_where_accepted
from uad.inference.quantization.check import Bounds
from uad.inference.quantization.quantize import allow_engine, quantise


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_an_int8_model_scores_nearly_as_float32_does(
    engine: str, int8_bundle: Bundle, dataset: Dataset
) -> None:
    ready = prepare(int8_bundle, dataset, engine=engine, precision="int8")
    rounded = load_detector(ready.path, engine=engine, precision="int8")
    exact = load_detector(ready.path, engine="onnxruntime", precision="fp32")
    images = [read(sample.path) for sample in dataset.test]
    pairs = zip(rounded.detect(images), exact.detect(images), strict=True)
    ratios = np.array([ours.score / theirs.score for ours, theirs in pairs])
    assert 0 < np.abs(np.log(ratios)).mean() < 0.1


def test_the_int8_file_is_verified_like_every_other(int8_bundle: Bundle) -> None:
    bundle = int8_bundle
    file = bundle.path / INT8_MODEL
    assert file.stat().st_size < (bundle.path / "model.onnx").stat().st_size
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(BundleError, match=INT8_MODEL):
        read_bundle(bundle.path)


def test_quantising_anew_drops_the_old_models_calibrations(
    int8_bundle: Bundle, dataset: Dataset
) -> None:
    both = prepare(int8_bundle, dataset, engine="openvino", precision="int8")
    assert {"onnxruntime/int8", "openvino/int8"} <= set(both.manifest.calibration)
    anew = quantise(both, dataset.train, dataset.selection, bounds=Bounds(99.0, 1.0, 99.0))
    assert set(anew.manifest.calibration) == {"onnxruntime/fp32"}


def test_prepare_quantises_where_there_is_no_int8_model(bundle: Bundle, dataset: Dataset) -> None:
    try:
        ready = prepare(bundle, dataset, engine="onnxruntime", precision="int8")
    except EngineError as exc:  # random weights may round badly: then it must say so
        assert "is not accurate enough" in str(exc)
    else:
        assert ready.manifest.int8 is not None


def test_an_engine_without_an_entry_names_the_command_that_makes_one(bundle: Bundle) -> None:
    with pytest.raises(CalibrationError, match=r"uad calibrate .* --engine openvino"):
        load_detector(bundle.path, engine="openvino")


def test_another_version_of_the_datasets_own_name_is_refused(
    bundle: Bundle, dataset: Dataset
) -> None:
    known = DatasetRef(name="parts", version="0" * 12, train=1, selection=1, calibration=1)
    own = replace(bundle, manifest=bundle.manifest.model_copy(update={"dataset": known}))
    with pytest.raises(CalibrationError, match="may have been used for training"):
        prepare(own, dataset, engine="onnxruntime", precision="fp32")
    fresh = replace(dataset, name="fresh")
    ready = prepare(own, fresh, engine="onnxruntime", precision="fp32")
    assert len(ready.manifest.calibration["onnxruntime/fp32"].scores) == len(dataset.normals)


def test_an_int8_model_that_scores_otherwise_is_refused_and_leaves_the_bundle_as_it_was(
    bundle: Bundle, dataset: Dataset
) -> None:
    before = (bundle.path / "bundle.json").read_bytes()
    with pytest.raises(EngineError, match=r"is not accurate enough .* Use --precision fp32"):
        quantise(bundle, dataset.train, dataset.selection, bounds=Bounds(noise=0.0))
    assert (bundle.path / "bundle.json").read_bytes() == before
    assert not (bundle.path / INT8_MODEL).exists()


def test_alpha_can_be_another_than_at_training(bundle: Bundle, dataset: Dataset) -> None:
    often = prepare(bundle, dataset, engine="openvino", precision="fp32", alpha=0.4)
    seldom = prepare(bundle, dataset, engine="openvino", precision="fp32", alpha=0.2)
    loose, strict = (b.manifest.calibration["openvino/fp32"] for b in (often, seldom))
    assert loose.requested_alpha == 0.4
    assert loose.threshold < strict.threshold


def test_a_fresh_bundle_gets_8_bits_on_every_engine_that_keeps_to_float32(
    tiny_bundle: Path, parts: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fresh = read_bundle(tiny_bundle)
    dataset = load_dataset(parts, split_of(fresh))
    with caplog.at_level(logging.DEBUG, logger="uad.inference.quantization"):
        ready = add_int8_where_accepted(fresh, dataset, alpha=0.05)
    assert set(ready.manifest.calibration) == {"onnxruntime/fp32"} | {
        f"{engine}/int8" for engine in ready.manifest.int8 or ()
    }
    refused = {"onnxruntime", "openvino"} - set(ready.manifest.int8 or ())
    assert all(f"{engine}: 8-bit rounding" in caplog.text for engine in refused)
    told = [record for record in caplog.records if record.levelno >= logging.INFO]
    assert all("Nothing to do" in record.getMessage() for record in told)
    fastest = load_detector(ready.path, engine="fastest").engine.key
    assert fastest == ("openvino/int8" if "openvino" not in refused else "onnxruntime/fp32")


def test_an_engine_that_is_not_admitted_is_examined_before_it_is_calibrated(
    int8_bundle: Bundle, dataset: Dataset
) -> None:
    only = add_int8(
        int8_bundle,
        (int8_bundle.path / INT8_MODEL).read_bytes(),
        {"onnxruntime": (int8_bundle.manifest.int8 or {})["onnxruntime"]},
    )
    with pytest.raises(EngineError, match=r"openvino: 8-bit rounding"):
        allow_engine(only, dataset.selection, "openvino", bounds=Bounds(noise=0.0))
    admitted = allow_engine(only, dataset.selection, "openvino", bounds=Bounds(99.0, 1.0, 99.0))
    assert set(admitted.manifest.int8 or {}) == {"onnxruntime", "openvino"}
