"""Make a bundle's 8-bit model from training images; it is kept only if accurate enough.

Post-training quantisation: the range of every activation is what it takes on normal training
images, with or without the extremes of a tenth of them; weights are rounded channel by channel
(Jacob et al., CVPR 2018; see `uad.graph.int8`).
Calibration images are not used, so the threshold's guarantee holds for the 8-bit model too. Engines
round in different places, so each is tested.
"""

import logging
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from uad.bundle import INT8_MODEL, Agreement, Bundle, add_agreement, add_int8
from uad.config import InputSpec
from uad.console import progress_bar
from uad.data import Sample
from uad.errors import CalibrationError, EngineError
from uad.graph import Range, Ranges, build_int8, build_observed
from uad.images import Image, read
from uad.inference.engines import load_engine, open_model
from uad.inference.quantization.check import Bounds, QuantizationCheck, objection
from uad.models.parts import Parts
from uad.scoring.zones import prepared

log = logging.getLogger(__name__)
NOT_ACCURATE = (
    "The 8-bit model was not accurate enough, so the float32 model is used. Nothing to do."
)

RANGE_IMAGES = 64
"""Number of training images for the ranges, spread evenly; more have no measurable effect."""
OUTLIERS = (0.0, 0.1)
"""Shares of those images whose extremes are left out; the share that changes the maps less is used.
One unusual image can raise a student's activations to a hundred times their value on all others.
Without a student all images count."""
JUDGING_IMAGES = 32
ENGINES = ("onnxruntime", "openvino")
"""Those that run 8 bits."""


def quantise(
    bundle: Bundle,
    train: Sequence[Sample],
    selection: Sequence[Sample],
    *,
    engines: Sequence[str] = ENGINES[:1],
    bounds: Bounds = Bounds(),  # noqa: B008 - frozen
    progress: bool = False,
) -> Bundle:
    """Add `model.int8.onnx` to the bundle if it is as accurate as the float32 model.

    Args:
        bundle: changed on disk; an earlier 8-bit model and its calibrations are replaced.
        train: normal training images, for the activations' ranges.
        selection: normal images that were not used for training, for the comparison with float32.
        engines: whose 8-bit arithmetic is compared with it.
        bounds: how much it may differ.
        progress: show a bar on standard error.

    Raises:
        CalibrationError: no images.
        EngineError: it differs more on each of the engines; the bundle is not changed.
    """
    if not train or not selection:
        raise CalibrationError("quantisation needs normal training and selection images: none here")
    used = _spread(train, RANGE_IMAGES)
    parts, spec = bundle.parts(), bundle.manifest.input
    extremes = measure_extremes(parts, spec, _shown(used, progress))
    examination = _examination(bundle, selection)
    with tempfile.TemporaryDirectory() as folder:
        found = []
        for outliers in OUTLIERS if parts.student else OUTLIERS[:1]:
            file = Path(folder) / f"{outliers}.onnx"
            ranges = extremes.ranges(outliers)
            model = build_int8(parts, spec, ranges)
            file.write_bytes(model.SerializeToString())
            found.append((_agreements(file, spec, examination, engines, len(used)), file))
        agreements, file = min(found, key=lambda one: _moved(one[0]))
        accepted = _accepted(bundle, agreements, bounds)
        return add_int8(bundle, file.read_bytes(), accepted)


def allow_engine(
    bundle: Bundle,
    selection: Sequence[Sample],
    engine: str,
    *,
    bounds: Bounds = Bounds(),  # noqa: B008
) -> Bundle:
    """Let another engine run the bundle's 8-bit model, if it is as accurate as float32 there too.

    Raises:
        EngineError: it differs too much.
    """
    known = next(iter((bundle.manifest.int8 or {}).values()), None)
    images = known.images if known else 0
    file, spec = bundle.path / INT8_MODEL, bundle.manifest.input
    found = _agreements(file, spec, _examination(bundle, selection), [engine], images)
    return add_agreement(bundle, engine, _accepted(bundle, found, bounds)[engine])


def _examination(bundle: Bundle, selection: Sequence[Sample]) -> QuantizationCheck:
    spec = bundle.manifest.input
    chosen = _spread(selection, JUDGING_IMAGES)
    normals = [prepared(read(sample.path), spec) for sample in chosen]
    with closing(load_engine(bundle, "onnxruntime", precision="fp32")) as exact:
        return QuantizationCheck(bundle, exact, normals)


def _agreements(
    file: Path, spec: InputSpec, examination: QuantizationCheck, engines: Sequence[str], images: int
) -> dict[str, Agreement]:
    """By engine how the 8-bit model in `file` agrees with float32."""
    found = {}
    for name in engines:
        with closing(open_model(file, name, "int8", spec)) as rounded:
            found[name] = examination.of(rounded, images=images)
    return found


def _moved(found: Mapping[str, Agreement]) -> float:
    return max(agreement.maps or 0.0 for agreement in found.values())


def _accepted(
    bundle: Bundle, found: Mapping[str, Agreement], bounds: Bounds
) -> dict[str, Agreement]:
    """Those of the engines that may run the 8-bit model."""
    accepted, objections = {}, []
    for name, agreement in found.items():
        if reason := objection(agreement, bounds):
            objections.append(f"{name}: {reason}")
        else:
            accepted[name] = agreement
            log.debug("int8 model of %s accepted for %s: %s", bundle.path, name, agreement)
    if not accepted:
        raise EngineError(
            f"The 8-bit model of {bundle.path} is not accurate enough ({'; '.join(objections)}). "
            "Use --precision fp32, or train on more images."
        )
    for reason in objections:
        log.info("%s: %s", reason.partition(":")[0], NOT_ACCURATE)
        log.debug("%s", reason)
    return accepted


@dataclass(frozen=True)
class Extremes:
    """The smallest and largest value of each activation on each of some images."""

    names: Sequence[str]
    lows: NDArray[np.float64]
    """(images, activations)"""
    highs: NDArray[np.float64]

    def ranges(self, outliers: float = 0.0) -> Ranges:
        """A range that holds the values of all images except the share `outliers` at each end."""
        lows = np.quantile(self.lows, outliers, axis=0)
        highs = np.quantile(self.highs, 1.0 - outliers, axis=0)
        found = zip(self.names, lows, highs, strict=True)
        return {name: Range(float(low), float(high)) for name, low, high in found}


def measure_extremes(parts: Parts, spec: InputSpec, images: Iterable[Image]) -> Extremes:
    """The values of each activation on `images`, which are resized."""
    import onnxruntime as ort

    model, observed = build_observed(parts, spec)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    lows, highs = [], []
    for image in images:
        fitting = prepared(image, spec)
        values = session.run(list(observed.values()), {"image": fitting[None]})
        lows.append([value.min() for value in values])
        highs.append([value.max() for value in values])
    return Extremes(list(observed), np.asarray(lows, float), np.asarray(highs, float))


def _shown(samples: Sequence[Sample], visible: bool) -> Iterator[Image]:
    """The samples' images, read as they are asked for, with a progress bar."""
    with progress_bar("images", visible=visible) as bar:
        task = bar.add_task("measure ranges", total=len(samples), note="")
        for sample in samples:
            yield read(sample.path)
            bar.advance(task)


def _spread(samples: Sequence[Sample], count: int) -> list[Sample]:
    """At most `count` of `samples`, evenly spread."""
    chosen = np.linspace(0, len(samples) - 1, min(count, len(samples))).round().astype(int)
    return [samples[index] for index in chosen]
