"""Give a bundle what one engine needs: an 8-bit model if it is to run one, and a threshold."""

from collections.abc import Sequence
from dataclasses import dataclass

from uad.bundle import INT8_MODEL, Bundle
from uad.config import SplitConfig, TrainingConfig
from uad.data import Dataset, Sample
from uad.errors import CalibrationError
from uad.inference.calibrate import calibrate
from uad.inference.quantization.quantize import admit, quantise


@dataclass(frozen=True)
class _Shares:
    """Which images do what."""

    train: Sequence[Sample]
    selection: Sequence[Sample]
    calibration: Sequence[Sample]


def split_of(bundle: Bundle) -> SplitConfig:
    """How the bundle's training shared out the normals: the same again keeps them apart."""
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
    threads: int | None = None,
    requantise: bool = False,
    progress: bool = False,
) -> Bundle:
    """Calibrate the bundle for an engine and a precision, quantising it first where needed.

    Args:
        bundle: changed on disk.
        dataset: the version it was trained on, split by `split_of(bundle)`; or normal images it
            has never seen, under another name.
        engine: `onnxruntime`, `openvino`, `paddle` or `tensorrt`.
        precision: `fp32`, `bf16`, `fp16` or `int8`.
        device: where it will run.
        alpha: target false alarm rate; None for the one the bundle was trained for.
        min_area: smallest defect that counts, in pixels of the image; None for the training's.
        threads: of one inference.
        requantise: make the 8-bit model anew though there is one.
        progress: show bars on standard error.

    Raises:
        CalibrationError: another version of the bundle's own dataset, whose images may have
            trained it; or too few images.
        EngineError: the engine cannot be had here, or the 8-bit model scores too differently.
    """
    shares = _shares(bundle, dataset)
    if precision == "int8":
        if requantise or INT8_MODEL not in bundle.manifest.files:
            bundle = quantise(
                bundle, shares.train, shares.selection, engines=[engine], progress=progress
            )
        elif engine not in (bundle.manifest.int8 or {}):
            bundle = admit(bundle, shares.selection, engine)
    return calibrate(
        bundle,
        shares.calibration,
        alpha=alpha if alpha is not None else split_of(bundle).alpha,
        min_area=min_area if min_area is not None else split_of(bundle).min_area,
        engine=engine,
        precision=precision,
        device=device,
        threads=threads,
        progress=progress,
    )


def _shares(bundle: Bundle, dataset: Dataset) -> _Shares:
    known = bundle.manifest.dataset
    if known is None or dataset.version == known.version:
        return _Shares(dataset.train, dataset.selection, dataset.calibration)
    if dataset.name == known.name:
        raise CalibrationError(
            f"{bundle.path} was trained on {known.name}@{known.version}, and this is version "
            f"{dataset.version}. Some of its images may have been used for training. Use --data "
            f"{known.name}@{known.version}, or new images under another name."
        )
    return _Shares(dataset.train, dataset.selection, dataset.normals)
