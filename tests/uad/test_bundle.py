import json
from collections.abc import Callable
from pathlib import Path

import pytest

from uad.bundle import read_bundle, write_bundle
from uad.errors import BundleError, CalibrationError
from uad.inference.detector import load_detector


def edit(bundle: Path, change: Callable[[dict], None]) -> None:  # type: ignore[type-arg]
    values = json.loads((bundle / "bundle.json").read_text())
    change(values)
    (bundle / "bundle.json").write_text(json.dumps(values))


def test_a_whole_bundle_opens_and_reproduces_its_golden_scores(tiny_bundle: Path) -> None:
    assert read_bundle(tiny_bundle).manifest.format_version == 2
    load_detector(tiny_bundle).close()


@pytest.mark.parametrize("name", ["model.onnx", "weights.safetensors", "golden/0.png"])
def test_an_altered_file_is_refused_by_name(tiny_bundle: Path, name: str) -> None:
    file = tiny_bundle / name
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(BundleError, match=rf"{name} was altered"):
        read_bundle(tiny_bundle)


@pytest.mark.parametrize("name", ["model.onnx", "weights.safetensors", "golden/1.png"])
def test_a_truncated_or_missing_file_is_refused_by_name(tiny_bundle: Path, name: str) -> None:
    file = tiny_bundle / name
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(BundleError, match=f"{name} was altered or is incomplete"):
        read_bundle(tiny_bundle)
    file.unlink()
    with pytest.raises(BundleError, match=f"{name} is missing"):
        read_bundle(tiny_bundle)


def test_a_folder_without_a_manifest_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="is not a bundle"):
        read_bundle(tmp_path)


def test_a_manifest_that_is_no_json_or_misses_a_part_is_refused(tiny_bundle: Path) -> None:
    edit(tiny_bundle, lambda values: values.pop("input"))
    with pytest.raises(BundleError, match="damaged at 'input'"):
        read_bundle(tiny_bundle)
    (tiny_bundle / "bundle.json").write_text("{")
    with pytest.raises(BundleError, match="cannot be read as JSON"):
        read_bundle(tiny_bundle)


def test_a_bundle_of_another_format_says_what_this_version_reads(tiny_bundle: Path) -> None:
    edit(tiny_bundle, lambda values: values.update(format_version=3))
    with pytest.raises(BundleError, match="format version 3, this uad reads up to 2"):
        read_bundle(tiny_bundle)


@pytest.mark.parametrize("key", ["threshold", "tolerance", "alpha"])
@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_a_calibration_that_is_not_finite_is_refused_when_read(
    tiny_bundle: Path, key: str, value: float
) -> None:
    edit(
        tiny_bundle,
        lambda values: values["calibration"]["onnxruntime/fp32"].update({key: value}),
    )
    with pytest.raises(BundleError, match=rf"{key}.*finite"):
        read_bundle(tiny_bundle)


def test_a_manifest_cannot_name_files_outside_the_bundle(tiny_bundle: Path) -> None:
    edit(tiny_bundle, lambda values: values["files"].update({"../secret": "0" * 64}))
    with pytest.raises(BundleError, match="outside the bundle"):
        read_bundle(tiny_bundle)


def test_an_engine_that_computes_something_else_is_refused(tiny_bundle: Path) -> None:
    def shift(values: dict) -> None:  # type: ignore[type-arg]
        entry = values["calibration"]["onnxruntime/fp32"]
        entry["golden_scores"] = [1.05 * score for score in entry["golden_scores"]]

    edit(tiny_bundle, shift)
    with pytest.raises(BundleError, match="golden input 0"):
        load_detector(tiny_bundle)


def test_an_engine_without_calibration_refuses_and_names_the_command(tiny_bundle: Path) -> None:
    edit(tiny_bundle, lambda values: values["calibration"].clear())
    with pytest.raises(CalibrationError, match="run `uad calibrate"):
        load_detector(tiny_bundle)


def test_a_folder_that_holds_something_else_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(BundleError, match=r"is not a bundle\. Choose another"):
        write_bundle(tmp_path, None)  # type: ignore[arg-type]
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_a_bundle_has_the_rights_that_the_umask_asks_for(
    random_bundle: Callable[[int], Path], tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    bundle = random_bundle(1)
    for path in (bundle, *bundle.rglob("*")):
        like = tmp_path / ("folder" if path.is_dir() else "file")
        assert path.stat().st_mode == like.stat().st_mode, path
