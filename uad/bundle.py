"""The deployable artifact: a directory that passes from training to registry to serving.

    bundle.json          the manifest: everything but arrays, and the sha256 of every other file
    model.onnx           uint8 image in, the parts' distances out
    model.int8.onnx      the same in 8-bit integers, where `uad calibrate` made it
    weights.safetensors  `teacher.*`, `statistics.*` and the parts: `student.*`, `memory.*`,
                         `whole_image.*`
    golden/*.png         small inputs whose scores every engine must reproduce

No pickle anywhere; it serves without Paddle installed.
"""

import hashlib
import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors.numpy import load_file, save_file

from uad import __version__
from uad.config import DetectorDefinition, InputSpec, ScoreDefinition
from uad.config.training import Zone
from uad.errors import BundleError
from uad.graph import build
from uad.models.memory import Memory
from uad.models.parts import Parts, TrainedModel
from uad.models.resnet import Weights
from uad.models.statistics import WholeImage
from uad.scoring.conformal import guaranteed_rate
from uad.scoring.looks import Looks
from uad.scoring.maps import whitenings
from uad.scoring.zone_alpha import alpha_outside
from uad.storage.atomic_writes import assembling, write_file
from uad.storage.names import DatasetAddress, dataset_address

MANIFEST = "bundle.json"
REFERENCE = "onnxruntime/fp32"
"""The engine and precision whose figures stand for a bundle."""
MODEL = "model.onnx"
INT8_MODEL = "model.int8.onnx"
WEIGHTS = "weights.safetensors"
FORMAT_VERSION: Literal[2] = 2
"""Version 1 has only the student; its bundles are read and score as before."""
READ_VERSIONS = (1, FORMAT_VERSION)

Prefix = Literal["student", "teacher", "statistics", "memory", "whole_image"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TeacherRef(_Part):
    """Which teacher the student learned from."""

    id: str
    sha256: str


class DatasetRef(_Part):
    """Which images it was trained, selected and calibrated on."""

    name: str
    version: str
    train: int
    selection: int
    calibration: int

    @property
    def address(self) -> DatasetAddress:
        """`name@version`."""
        return dataset_address(self.name, self.version)


class ZoneCalibration(_Part):
    """What the calibration images scored in one zone."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    zone: Zone
    threshold: float
    scores: tuple[float, ...]
    """Sorted; the map's maximum in the zone."""


class CalibrationEntry(_Part):
    """What one engine at one precision scored on the calibration images; finite numbers only.

    With a threshold that is not finite every answer would be an error, or "normal".
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    alpha: float
    """The false alarm rate that `threshold` guarantees; at least the one asked for."""
    requested_alpha: float
    threshold: float
    scores: tuple[float, ...]
    """Sorted image scores of the calibration images."""
    golden_scores: tuple[float, ...]
    min_area: int = 0
    """The smallest defect that the scores count, in pixels of the image; 0: any."""
    tolerance: float
    """Largest relative difference at which a golden score counts as reproduced."""
    map_threshold: float | None = None
    """Above it the label map marks; None if the score is the map's maximum: `threshold`."""
    images: tuple[str, ...] = ()
    """Names of the calibration images, in the order of `scores`; older bundles have none."""
    captures: tuple[int, ...] = ()
    """The number of the capture that each of them shows; none: each is its own, as in older
    bundles."""
    map_maxima: tuple[float, ...] = ()
    """Sorted maxima of the calibration images' maps; none where they are the scores."""
    zones: tuple[ZoneCalibration, ...] = ()
    """Zones with an alpha of their own, which is taken out of `alpha`. Then `scores` counts them on
    the image's scale; `threshold`, `map_threshold` and `map_maxima` are of what lies outside."""
    looks: Looks | None = None
    """What the calibration images have in common; older bundles do not say."""
    outside_scores: tuple[float, ...] = ()
    """Sorted scores of what lies outside of the zones; empty without zones: `scores`."""

    @property
    def n_captures(self) -> int | None:
        """How many captures the calibration images show; None: each is its own."""
        return len(set(self.captures)) or None

    @property
    def guaranteed_rate(self) -> float:
        """The largest mean false alarm rate; above `alpha` where too few captures set it."""
        return guaranteed_rate(self.alpha, self.n_captures)

    @property
    def outside_alpha(self) -> float:
        """What the zones leave of `alpha`."""
        return alpha_outside(self.alpha, tuple(each.zone for each in self.zones))


class MetricLoss(_Part):
    """A metric in both precisions: normal images against copies with planted defects."""

    fp32: float
    int8: float
    least_loss: float
    """Lower end of the difference's 95 % interval, by a paired bootstrap over the images."""


class Agreement(_Part):
    """How close the quantised model is to float32 on an engine, on images not used for training."""

    images: int
    """Normal images of which the activations' ranges were taken."""
    noise: float
    """Standard deviation of the scores' log ratio, over that of normal images' log scores."""
    image_auroc: MetricLoss
    pixel_auroc: MetricLoss
    maps: float | None = None
    """Standard deviation of the anomaly maps' difference on normal images, over that of float32's
    maps; None in bundles older than this figure."""


class Manifest(_Part):
    """`bundle.json`."""

    format_version: Literal[1, 2] = FORMAT_VERSION
    uad_version: str
    model: str = "STFPM-resnet18"
    width: int
    input: InputSpec
    score: ScoreDefinition
    detector: DetectorDefinition | None = None
    """How the parts are combined; None: the student alone, as in older bundles."""
    teacher: TeacherRef
    dataset: DatasetRef | None
    config: dict[str, Any]
    metrics: dict[str, float]
    """Of the chosen epoch, on normal images only."""
    chosen_epoch: int | None = None
    history: tuple[dict[str, float], ...] = ()
    """Metrics of every epoch, in order."""
    git_revision: str | None = None
    files: dict[str, str]
    """sha256 of every other file by its path in the bundle."""
    calibration: dict[str, CalibrationEntry] = {}
    """By `engine/precision`."""
    int8: dict[str, Agreement] | None = None
    """Of the quantised model, if there is one, by the engine that may run it."""

    @property
    def reference_calibration(self) -> CalibrationEntry | None:
        """The entry whose figures stand for the bundle: ONNX Runtime's in float32, else any."""
        return self.calibration.get(REFERENCE) or next(iter(self.calibration.values()), None)


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk whose files were verified."""

    path: Path
    manifest: Manifest

    @property
    def id(self) -> str:
        """Short content hash: the same files give the same id."""
        listing = json.dumps(self.manifest.files, sort_keys=True).encode()
        return hashlib.sha256(listing).hexdigest()[:12]

    @property
    def model_path(self) -> Path:
        """The ONNX graph."""
        return self.path / MODEL

    def arrays(self, prefix: Prefix) -> Weights:
        """The float32 arrays stored under `prefix`, without it in their names."""
        start = f"{prefix}."
        stored = load_file(self.path / WEIGHTS)
        return {key[len(start) :]: value for key, value in stored.items() if key.startswith(start)}

    def parts(self) -> Parts:
        """What its graph was built from."""
        student, memory, whole_image = (
            self.arrays(part) for part in ("student", "memory", "whole_image")
        )
        return Parts(
            teacher=self.arrays("teacher"),
            student=student or None,
            whitenings=whitenings(self.manifest.score, self.arrays("statistics"))
            if student
            else None,
            memory=Memory(**memory) if memory else None,
            whole_image=WholeImage(**whole_image) if whole_image else None,
        )

    def golden(self) -> list[NDArray[np.uint8]]:
        """The golden inputs, (height, width, 3) uint8 BGR, in order of their names."""
        from uad.images import read

        return [read(file) for file in sorted((self.path / "golden").glob("*.png"))]


def write_bundle(
    directory: Path, model: TrainedModel, *, dataset: DatasetRef | None = None
) -> Bundle:
    """Write an uncalibrated bundle to `directory`, which must not exist or be a bundle's.

    Everything is written to a new folder beside it, which then takes its place.
    """
    directory = Path(directory)
    refuse_foreign(directory)
    with assembling(directory) as staging:
        graph = build(model.parts(), model.input)
        (staging / MODEL).write_bytes(graph.SerializeToString())
        save_file(_prefixed(model), staging / WEIGHTS)
        _write_golden(staging / "golden", model.golden)
        _write_manifest(staging, _manifest(staging, model, dataset))
    return read_bundle(directory)


def refuse_foreign(directory: Path) -> None:
    """Raise BundleError if `directory` holds something other than a bundle."""
    if not directory.exists():
        return
    if directory.is_dir() and (not any(directory.iterdir()) or (directory / MANIFEST).is_file()):
        return
    raise BundleError(f"{directory} exists and is not a bundle. Choose another output folder.")


def read_bundle(path: Path) -> Bundle:
    """Open the bundle at `path`, verifying the sha256 of every file.

    Raises:
        BundleError: naming the file that is missing, altered or cannot be understood.
    """
    path = Path(path)
    manifest = _read_manifest(path)
    for name, expected in manifest.files.items():
        file = path / name
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise BundleError(f"{path / MANIFEST} names a file outside the bundle: {name}")
        if not file.is_file():
            raise BundleError(f"{file} is missing: copy the whole bundle again or retrain")
        if sha256(file) != expected:
            raise BundleError(
                f"{file} was altered or is incomplete (its sha256 is not the one in {MANIFEST}): "
                "copy the whole bundle again or retrain"
            )
    return Bundle(path, manifest)


def add_calibration(bundle: Bundle, key: str, entry: CalibrationEntry) -> Bundle:
    """Write `entry` under `key` (`engine/precision`), replacing bundle.json atomically."""
    calibration = {**bundle.manifest.calibration, key: entry}
    manifest = bundle.manifest.model_copy(update={"calibration": calibration})
    _write_manifest(bundle.path, manifest)
    return replace(bundle, manifest=manifest)


def add_int8(bundle: Bundle, model: bytes, agreements: Mapping[str, Agreement]) -> Bundle:
    """Add the quantised graph, dropping the calibrations that stood for an earlier one."""
    write_file(bundle.path / INT8_MODEL, model, durable=True)
    files = {**bundle.manifest.files, INT8_MODEL: sha256(bundle.path / INT8_MODEL)}
    kept = {k: v for k, v in bundle.manifest.calibration.items() if not k.endswith("/int8")}
    changes = {"files": dict(sorted(files.items())), "calibration": kept, "int8": dict(agreements)}
    manifest = bundle.manifest.model_copy(update=changes)
    _write_manifest(bundle.path, manifest)
    return replace(bundle, manifest=manifest)


def add_agreement(bundle: Bundle, engine: str, agreement: Agreement) -> Bundle:
    """Say that another engine may run the quantised graph."""
    agreements = {**(bundle.manifest.int8 or {}), engine: agreement}
    manifest = bundle.manifest.model_copy(update={"int8": agreements})
    _write_manifest(bundle.path, manifest)
    return replace(bundle, manifest=manifest)


def sha256(file: Path) -> str:
    """Hex digest of a file's content."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _prefixed(model: TrainedModel) -> dict[str, NDArray[np.float32]]:
    parts: dict[Prefix, Mapping[str, NDArray[np.float32]]] = {
        "student": model.student or {},
        "teacher": model.teacher.weights,
        "statistics": model.statistics,
        "memory": model.memory.arrays() if model.memory else {},
        "whole_image": model.whole_image.arrays() if model.whole_image else {},
    }
    return {
        f"{part}.{name}": np.ascontiguousarray(array, np.float32)
        for part, arrays in parts.items()
        for name, array in arrays.items()
    }


def _write_golden(folder: Path, images: tuple[NDArray[np.uint8], ...]) -> None:
    folder.mkdir()
    for index, image in enumerate(images):
        cv2.imwrite(str(folder / f"{index}.png"), image)


def _manifest(staging: Path, model: TrainedModel, dataset: DatasetRef | None) -> Manifest:
    files = sorted(file for file in staging.rglob("*") if file.is_file())
    chosen = next((m for m in model.history if m.epoch == model.chosen_epoch), None)
    return Manifest(
        uad_version=__version__,
        width=model.config.model.width,
        input=model.input,
        score=model.score,
        detector=model.detector,
        teacher=TeacherRef(id=model.teacher.id, sha256=model.teacher.sha256),
        dataset=dataset,
        config=model.config.model_dump(mode="json"),
        metrics=dict(chosen.values) if chosen else {},
        chosen_epoch=model.chosen_epoch,
        history=tuple({"epoch": m.epoch, **m.values} for m in model.history),
        git_revision=git_revision(),
        files={file.relative_to(staging).as_posix(): sha256(file) for file in files},
    )


def git_revision() -> str | None:
    """Of the working directory, where the training configuration is usually kept."""
    try:
        asked = subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return asked.stdout.strip()


def _read_manifest(path: Path) -> Manifest:
    file = path / MANIFEST
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as exc:
        raise BundleError(
            f"{path} is not a bundle: it has no {MANIFEST}. `uad train` writes bundles; `uad "
            "import` makes one from other weights."
        ) from exc
    except (OSError, ValueError) as exc:
        raise BundleError(f"{file} cannot be read as JSON: copy the bundle again") from exc
    version = values.get("format_version") if isinstance(values, dict) else None
    if version not in READ_VERSIONS:
        raise BundleError(
            f"{file} has format version {version!r}, this uad reads up to {FORMAT_VERSION}: "
            "upgrade uad or retrain"
        )
    try:
        return Manifest.model_validate(values)
    except ValidationError as exc:
        wrong = exc.errors()[0]
        where = ".".join(str(part) for part in wrong["loc"])
        reason = wrong["msg"].lower()
        raise BundleError(f"{file} is damaged at '{where}' ({reason}): copy it again") from exc


def _write_manifest(folder: Path, manifest: Manifest) -> None:
    text = json.dumps(manifest.model_dump(mode="json"), indent=2, allow_nan=False)
    write_file(folder / MANIFEST, f"{text}\n", durable=True)


__all__ = [
    "Agreement",
    "Bundle",
    "CalibrationEntry",
    "DatasetRef",
    "Manifest",
    "MetricLoss",
    "TeacherRef",
    "ZoneCalibration",
    "add_agreement",
    "add_calibration",
    "add_int8",
    "git_revision",
    "read_bundle",
    "sha256",
    "write_bundle",
]
