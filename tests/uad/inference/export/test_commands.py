"""`uad calibrate` and `uad export`, as typed."""

from pathlib import Path

import pytest

from uad.bundle import Bundle, read_bundle
from uad.cli import main


def typed(*arguments: object) -> int:
    """The exit status of `uad ARGUMENTS`."""
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as exc:
        return int(exc.code or 0)
    return 0


def test_calibrate_adds_an_engine(bundle: Bundle, parts: Path) -> None:
    assert typed("calibrate", bundle.path, "--data", parts, "--engine", "openvino") == 0
    assert set(read_bundle(bundle.path).manifest.calibration) == {
        "onnxruntime/fp32",
        "openvino/fp32",
    }


def test_a_rate_that_few_images_cannot_promise_is_a_warning_in_plain_text(
    bundle: Bundle, parts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert typed("calibrate", bundle.path, "--data", parts, "--alpha", "0.01") == 0
    shown = capsys.readouterr().err
    assert "warning: A false alarm rate of 1 % was asked for." in shown
    assert "[/]" not in shown


def test_export_writes_the_devices_folder(int8_bundle: Bundle, tmp_path: Path) -> None:
    assert typed("export", int8_bundle.path, "--target", "edge", "--output", tmp_path / "d") == 0
    assert (tmp_path / "d" / "model.onnx").stat().st_size > 0


def test_what_cannot_be_is_one_line_and_a_status(
    bundle: Bundle, parts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert typed("export", bundle.path, "--target", "toaster", "--output", tmp_path / "d") == 1
    assert "'toaster' is not a target" in capsys.readouterr().err
    assert (
        typed(
            "calibrate", bundle.path, "--data", parts, "--engine", "openvino", "--precision", "fp64"
        )
        == 1
    )
    message = capsys.readouterr().err
    assert "openvino has no precision 'fp64'" in message
    assert "Traceback" not in message
