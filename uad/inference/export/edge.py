"""A folder for devices without Python: the 8-bit model with its score, and a small C++ program."""

import shutil
from importlib.resources import as_file, files
from pathlib import Path

from uad.bundle import INT8_MODEL, Bundle, CalibrationEntry
from uad.errors import BundleError, CalibrationError, EngineError
from uad.graph import with_scoring
from uad.scoring.parts import exponents

KEY = "onnxruntime/int8"
INTERPOLATIONS = ("area", "linear")
"""What the program can resize with."""


def export_edge(bundle: Bundle, output: Path) -> list[Path]:
    """Write what a device needs to `output`, a folder, and return the files.

    Raises:
        CalibrationError: the bundle is not calibrated for 8 bits on ONNX Runtime.
        EngineError: the bundle resizes in a way that the program cannot.
        BundleError: the folder cannot be written.
    """
    import onnx

    spec = bundle.manifest.input
    if spec.ignore:
        raise BundleError(
            f"the device program cannot ignore regions, and {bundle.path} was trained with zones. "
            "Train a version without them (`uad zones PRODUCT --clear`) for the device."
        )
    if any(entry.zones for entry in bundle.manifest.calibration.values()):
        raise BundleError(
            f"the device program has one threshold, and {bundle.path} has zones with their own "
            "alpha. Calibrate it without them (`uad zones PRODUCT --clear`, then `uad "
            "calibrate`) for the device."
        )
    entry = _entry(bundle)
    if spec.interpolation not in INTERPOLATIONS:
        raise EngineError(
            f"the device program resizes by {' or '.join(INTERPOLATIONS)}, not by "
            f"{spec.interpolation}: train with input.interpolation=area"
        )
    if entry.min_area > 1:
        raise CalibrationError(
            f"the device program has no smallest defect, but {bundle.path} is calibrated for "
            f"{entry.min_area} pixels. Run `uad calibrate {bundle.path} --data DATA --engine "
            "onnxruntime --precision int8 --min-area 0` first."
        )
    model = with_scoring(
        onnx.load(bundle.path / INT8_MODEL),
        bundle.manifest.score,
        bundle.arrays("statistics"),
        spec,
        bundle.manifest.detector,
    )
    settings = (
        f"height {spec.height}\nwidth {spec.width}\ninterpolation {spec.interpolation}\n"
        f"threshold {entry.threshold!r}\n"
    )
    if detector := bundle.manifest.detector:
        settings += f"map_threshold {entry.map_threshold!r}\n"
        settings += "".join(f"part {name}\n" for name in exponents(detector))
    try:
        output.mkdir(parents=True, exist_ok=True)
        (output / "model.onnx").write_bytes(model.SerializeToString())
        (output / "settings.txt").write_text(settings)
        with as_file(files("uad.inference.export").joinpath("edge_files")) as folder:
            shutil.copytree(folder, output, dirs_exist_ok=True)
    except OSError as exc:
        raise BundleError(
            f"{output} could not be written: {exc.strerror}. Choose another folder."
        ) from exc
    return sorted(file for file in output.iterdir() if file.is_file())


def _entry(bundle: Bundle) -> CalibrationEntry:
    entry = bundle.manifest.calibration.get(KEY)
    if entry is None or INT8_MODEL not in bundle.manifest.files:
        raise CalibrationError(
            f"{bundle.path} has no 8-bit model to export. Run `uad calibrate {bundle.path} --data "
            "DATA --engine onnxruntime --precision int8` first."
        )
    return entry
