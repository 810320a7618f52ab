"""The folder for devices, and its program against Python."""

import json
import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pytest

from uad.bundle import Bundle
from uad.errors import CalibrationError
from uad.images import Image, read, resize
from uad.inference.detector import load_detector
from uad.inference.export import export_edge


def test_the_exported_model_scores_as_the_engine_does(
    int8_bundle: Bundle, parts: Path, tmp_path: Path
) -> None:
    files = export_edge(int8_bundle, tmp_path / "device")
    assert {"model.onnx", "settings.txt", "uad_edge.cpp", "CMakeLists.txt", "README.md"} == {
        file.name for file in files
    }
    session = onnxruntime.InferenceSession(str(tmp_path / "device" / "model.onnx"))
    detector = load_detector(int8_bundle.path, engine="onnxruntime", precision="int8")
    image = read(next(parts.rglob("test/good/*.png")))
    spec = int8_bundle.manifest.input
    batch = resize(image, (spec.height, spec.width), spec.interpolation)[None]
    found, score = session.run(
        ["map", "score"], {"image": batch, "size": np.array(image.shape[:2], np.int64)}
    )
    (detection,) = detector.detect([image])
    assert score == pytest.approx(detection.score, rel=1e-3)
    np.testing.assert_allclose(found, detection.anomaly_map, rtol=1e-3, atol=1e-3)


def test_a_bundle_without_an_int8_model_names_the_command_that_makes_one(
    bundle: Bundle, tmp_path: Path
) -> None:
    with pytest.raises(CalibrationError, match=r"uad calibrate .* --precision int8"):
        export_edge(bundle, tmp_path / "device")


@pytest.fixture
def program(int8_bundle: Bundle, tmp_path: Path) -> Path:
    """The built program beside its model, linked to the ONNX Runtime that Python uses."""
    if shutil.which("cmake") is None:
        pytest.skip("cmake is not installed")
    device = tmp_path / "device"
    export_edge(int8_bundle, device)
    libraries = tmp_path / "lib"
    libraries.mkdir()
    capi = Path(onnxruntime.__file__).parent / "capi"
    library = next(capi.glob("libonnxruntime.so.*"))
    for name in ("libonnxruntime.so", "libonnxruntime.so.1"):
        (libraries / name).symlink_to(library)
    configure = ["cmake", "-B", "build", f"-DONNXRUNTIME_LIBRARY={libraries}/libonnxruntime.so"]
    for command in (configure, ["cmake", "--build", "build"]):
        subprocess.run(command, cwd=device, check=True, capture_output=True)
    return device / "build" / "uad_edge"


def judged(program: Path, image: Path, *more: str) -> dict[str, object]:
    device = program.parents[1]
    done = subprocess.run(
        [program, device, image, *more], check=True, capture_output=True, text=True
    )
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


def pictures(parts: Path) -> list[Image]:
    """As they are, shrunk, enlarged, and stretched along one side."""
    images = [read(path) for path in sorted(parts.rglob("test/*/*.png"))[::4]]
    sizes = [(96, 128), (31, 40), (200, 64), (48, 64), (101, 67)]
    return images + [cv2.resize(images[0], size[::-1]) for size in sizes]


@pytest.mark.interop
def test_the_program_gives_pythons_scores_verdicts_and_label_maps(
    program: Path, int8_bundle: Bundle, parts: Path, tmp_path: Path
) -> None:
    detector = load_detector(int8_bundle.path, engine="onnxruntime", precision="int8")
    for index, image in enumerate(pictures(parts)):
        file, label_map = tmp_path / f"{index}.ppm", tmp_path / f"{index}.pgm"
        cv2.imwrite(str(file), image)
        answer = judged(program, file, str(label_map))
        (detection,) = detector.detect([image])
        # Resizing rounds a pixel now and then to the neighbouring value.
        assert answer["score"] == pytest.approx(detection.score, rel=5e-2)
        assert answer["threshold"] == pytest.approx(detection.threshold)
        assert answer["mapThreshold"] == pytest.approx(detection.map_threshold)
        if answer["isAnomalous"] and detection.is_anomalous:
            assert answer["raisedBy"] == detection.raised_by
        if abs(detection.score / detection.threshold - 1) > 0.05:
            assert answer["isAnomalous"] == detection.is_anomalous
        labels = cv2.imread(str(label_map), cv2.IMREAD_GRAYSCALE)
        assert np.mean(labels != detection.label_map) < 0.02


@pytest.mark.interop
def test_the_program_names_what_is_wrong_with_a_file(program: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.ppm"
    broken.write_bytes(b"P6\n64 48\n255\nshort")
    done = subprocess.run(
        [program, program.parents[1], broken], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "broken.ppm" in done.stderr
