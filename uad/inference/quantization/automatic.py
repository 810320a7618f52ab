"""Give a new bundle its 8-bit model, so it is served fast without any setting."""

import logging

from uad.bundle import Bundle
from uad.data import Dataset
from uad.errors import EngineError
from uad.inference.calibrate import calibrate
from uad.inference.engines.loading import installed
from uad.inference.quantization.quantize import ENGINES, NOT_ACCURATE, quantise

log = logging.getLogger(__name__)


def add_int8_where_accepted(
    bundle: Bundle, dataset: Dataset, *, alpha: float, min_area: int = 0, progress: bool = False
) -> Bundle:
    """Quantise the bundle and calibrate it for each engine here that stays accurate in 8 bits.

    If there is no such engine, the bundle is not changed and the log says why.

    Args:
        bundle: changed on disk.
        dataset: what it was trained on, shared out as it was for training.
        alpha: target false alarm rate.
        min_area: smallest defect that counts, in pixels of the image.
        progress: show bars on standard error.
    """
    engines = [name for name in ENGINES if installed(name)]
    try:
        bundle = quantise(
            bundle, dataset.train, dataset.selection, engines=engines, progress=progress
        )
    except EngineError as exc:
        log.info("%s", NOT_ACCURATE)
        log.debug("%s", exc)
    for name in bundle.manifest.int8 or {}:
        bundle = calibrate(
            bundle,
            dataset.calibration,
            alpha=alpha,
            min_area=min_area,
            zones=dataset.zones,
            group_pattern=dataset.group_pattern,
            engine=name,
            precision="int8",
            progress=progress,
            quiet=True,  # float32's calibration on the same images says it
        )
    return bundle
