"""Prepare a bundle for one engine: an 8-bit model if needed, and a threshold."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from uad.bundle import INT8_MODEL, Bundle, DatasetRef
from uad.config import SplitConfig, TrainingConfig
from uad.config.training import Zones
from uad.data import Dataset, Sample, unseen
from uad.data.versions import differ_in_zones_only
from uad.errors import CalibrationError
from uad.inference.calibrate import calibrate
from uad.inference.quantization.quantize import allow_engine, quantise

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Shares:
    """The images by use."""

    train: Sequence[Sample]
    selection: Sequence[Sample]
    calibration: Sequence[Sample]


def split_of(bundle: Bundle) -> SplitConfig:
    """The split of the bundle's training. The same split keeps the shares separate."""
    return TrainingConfig.model_validate(bundle.manifest.config).data


def prepare(
    bundle: Bundle,
    dataset: Dataset,
    *,
    engine: str,
    precision: str,
    device: str = "cpu",
    alpha: float | None = None,
    min_area: int | None = None,
    zones: Zones | None = None,
    threads: int | None = None,
    requantise: bool = False,
    progress: bool = False,
) -> Bundle:
    """Calibrate the bundle for an engine and a precision, quantising it first where needed.

    Args:
        bundle: changed on disk.
        dataset: the version it was trained on, split by `split_of(bundle)`; or normal images under
            another name, of which those that it learned from are left out.
        engine: `onnxruntime`, `openvino`, `paddle` or `tensorrt`.
        precision: `fp32`, `bf16`, `fp16` or `int8`.
        device: where it will run.
        alpha: target false alarm rate; None for the one the bundle was trained for.
        min_area: smallest defect that counts, in pixels of the image; None for the training's.
        zones: parts of the image with an alpha of their own; None for the dataset's, or, of images
            under another name, the bundle's.
        threads: of one inference.
        requantise: make the 8-bit model again, even if there is one.
        progress: show bars on standard error.

    Raises:
        CalibrationError: another version of the bundle's own dataset, whose images may have
            trained it; too few images, or none that it did not learn from.
        EngineError: the engine cannot be had here, or the 8-bit model scores too differently.
    """
    shares = _shares(bundle, dataset)
    if precision == "int8":
        if requantise or INT8_MODEL not in bundle.manifest.files:
            bundle = quantise(
                bundle, shares.train, shares.selection, engines=[engine], progress=progress
            )
        elif engine not in (bundle.manifest.int8 or {}):
            bundle = allow_engine(bundle, shares.selection, engine)
    return calibrate(
        bundle,
        shares.calibration,
        alpha=alpha if alpha is not None else split_of(bundle).alpha,
        min_area=min_area if min_area is not None else split_of(bundle).min_area,
        zones=_zones(bundle, dataset) if zones is None else zones,
        group_pattern=dataset.group_pattern,
        engine=engine,
        precision=precision,
        device=device,
        threads=threads,
        progress=progress,
    )


def _zones(bundle: Bundle, dataset: Dataset) -> Zones:
    known = bundle.manifest.dataset
    if known is not None and dataset.name == known.name:
        return dataset.zones
    for entry in bundle.manifest.calibration.values():
        return tuple(each.zone for each in entry.zones)
    return dataset.zones


def _shares(bundle: Bundle, dataset: Dataset) -> _Shares:
    known = bundle.manifest.dataset
    if known is None or dataset.version == known.version:
        return _Shares(dataset.train, dataset.selection, dataset.calibration)
    if dataset.name == known.name:
        if differ_in_zones_only(known.name, known.version, dataset.version):
            return _Shares(dataset.train, dataset.selection, dataset.calibration)
        if dataset.ignore != bundle.manifest.input.ignore:
            raise CalibrationError(
                f"{bundle.path} was trained with other regions to ignore than {dataset.name}@"
                f"{dataset.version} has. These need a new training: uad retrain --data "
                f"{dataset.name} --name {dataset.name}. Zones with an alpha of their own do not."
            )
        raise CalibrationError(
            f"{bundle.path} was trained on {known.address}, and this is version "
            f"{dataset.version}. Some of its images may have been used for training. Use --data "
            f"{known.address}, or new images under another name."
        )
    return _Shares(dataset.train, dataset.selection, _new_images(dataset, known))


def _new_images(dataset: Dataset, known: DatasetRef) -> Sequence[Sample]:
    """The good images that the detector did not learn from.

    Raises:
        CalibrationError: there are none.
    """
    new = unseen(dataset.normals, [known.address])
    learned = len(dataset.normals) - len(new)
    if not new:
        raise CalibrationError(
            f"The model learned from all {learned} good images of {dataset.name}, so they cannot "
            f"set its threshold. Use --data {known.address}, or good images that are new to it."
        )
    if learned:
        log.warning(
            "The model learned from %d of the %d good images of %s. They are left out; the other "
            "%d set the threshold.",
            *(learned, len(dataset.normals), dataset.name, len(new)),
        )
    return new
