"""Which engine is chosen, and what is refused with which cure."""

import logging
from pathlib import Path
from shutil import copytree

import pytest

from uad.bundle import Bundle, add_calibration, read_bundle
from uad.errors import EngineError
from uad.inference.detector import load_detector
from uad.inference.engines import load_engine
from uad.inference.engines.loading import bf16_pays, by_speed


def test_auto_takes_onnxruntime_on_a_cpu_and_says_so(
    bundle: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="uad.inference.engines"):
        assert load_engine(bundle).key == "onnxruntime/fp32"
    assert "onnxruntime/fp32 on cpu" in caplog.text


def test_auto_takes_what_the_bundle_is_calibrated_for(bundle: Bundle, tmp_path: Path) -> None:
    other = read_bundle(Path(copytree(bundle.path, tmp_path / "other")))
    entry = other.manifest.calibration["onnxruntime/fp32"]
    only = add_calibration(other, "openvino/fp32", entry)
    only.manifest.calibration.pop("onnxruntime/fp32")
    assert load_engine(only).key == "openvino/fp32"


def test_auto_takes_an_engine_that_has_the_precision(bundle: Bundle) -> None:
    assert load_engine(bundle, precision="fp32").name == "onnxruntime"


def test_the_fastest_are_those_that_are_calibrated_by_speed(bundle: Bundle, tmp_path: Path) -> None:
    other = read_bundle(Path(copytree(bundle.path, tmp_path / "other")))
    entry = other.manifest.calibration["onnxruntime/fp32"]
    for key in ("openvino/fp32", "openvino/int8", "paddle/fp32"):
        other = add_calibration(other, key, entry)
    fast = [("openvino", "int8"), ("openvino", "fp32"), ("onnxruntime", "fp32")]
    assert by_speed(other, "cpu", None) == fast
    assert by_speed(other, "cpu", "fp32") == fast[1:]
    assert by_speed(bundle, "cpu", "int8") == []
    assert by_speed(other, "npu:0", None) == []


def test_the_fastest_that_reproduces_its_golden_scores_is_taken(
    bundle: Bundle, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = read_bundle(Path(copytree(bundle.path, tmp_path / "other")))
    entry = other.manifest.calibration["onnxruntime/fp32"]
    add_calibration(other, "openvino/fp32", entry)
    assert load_detector(other.path, engine="fastest").engine.key == "openvino/fp32"
    elsewhere = entry.model_copy(update={"golden_scores": (1e3,) * len(entry.golden_scores)})
    strange = add_calibration(other, "openvino/fp32", elsewhere)
    add_calibration(strange, "openvino/int8", entry)  # whose model is not there
    assert load_detector(other.path, engine="fastest").engine.key == "onnxruntime/fp32"
    assert "openvino/int8 cannot run" in caplog.text
    assert "openvino/fp32 cannot run" in caplog.text


@pytest.mark.parametrize(
    ("words", "pays"),
    [
        ("vendor_id : GenuineIntel\nflags : avx512f avx512_bf16", False),
        ("vendor_id : GenuineIntel\nflags : avx512_bf16 amx_bf16 amx_tile", True),
        ("vendor_id : AuthenticAMD\nflags : avx512f avx512_bf16", True),
        ("vendor_id : AuthenticAMD\nflags : avx2", False),
    ],
)
def test_bf16_is_taken_where_it_is_faster(words: str, pays: bool, tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text(words)
    assert bf16_pays(tmp_path / "cpuinfo") == pays
    assert not bf16_pays(tmp_path / "none")


@pytest.mark.parametrize(
    ("engine", "device", "precision", "words"),
    [
        (
            "tensorflow",
            "cpu",
            None,
            "There is no engine 'tensorflow'. Use auto, fastest, onnxruntime",
        ),
        ("openvino", "gpu:0", None, "openvino does not run on gpu:0: use --device cpu"),
        ("onnxruntime", "npu:0", None, "or --engine paddle"),
        ("onnxruntime", "cpu", "bf16", "onnxruntime has no precision 'bf16': use fp32 or int8"),
        ("paddle", "cpu", "int8", "paddle has no precision 'int8': use fp32"),
        ("onnxruntime", "cpu", "int8", "--engine onnxruntime --precision int8"),
        ("openvino", "cpu", "int8", "has no int8 model"),
        ("auto", "cpu", "fp64", "No installed engine runs on cpu at fp64"),
        ("auto", "gpu", "int8", "onnxruntime-gpu"),
        ("auto", "tpu:0", None, "device 'tpu:0' is not understood"),
        ("auto", "gpu:0,1", None, "names 2 devices"),
    ],
)
def test_what_cannot_be_had_is_refused_with_a_cure(
    bundle: Bundle, engine: str, device: str, precision: str | None, words: str
) -> None:
    with pytest.raises(EngineError) as caught:
        load_engine(bundle, engine, device=device, precision=precision)
    assert words in str(caught.value)


@pytest.mark.parametrize("device", ["npu:0", "xpu:0", "mlu:0"])
@pytest.mark.parametrize("engine", ["auto", "paddle"])
def test_an_accelerator_that_paddle_was_not_built_for_is_named(
    bundle: Bundle, engine: str, device: str
) -> None:
    kind = device[:3]
    with pytest.raises(EngineError, match=f"does not support {kind}.*--device cpu"):
        load_engine(bundle, engine, device=device)


def test_cuda_is_refused_where_there_is_none(bundle: Bundle) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("there is a CUDA build here")
    with pytest.raises(EngineError, match="onnxruntime-gpu"):
        load_engine(bundle, "onnxruntime", device="gpu:0")
    with pytest.raises(EngineError, match="tensorrt"):
        load_engine(bundle, "tensorrt", device="gpu:0")
