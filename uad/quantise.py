"""Make a bundle's 8-bit model from training images, and keep it only if it scores like float32.

Post-training quantisation: the range of every activation is what it takes on normal training
images; weights are rounded channel by channel (Jacob et al., CVPR 2018; see `uad.graph.int8`).
Calibration images take no part, so the threshold's promise holds for the 8-bit model too.
"""

import logging
import math
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from uad.bundle import Agreement, Bundle, add_int8
from uad.config import InputSpec
from uad.console import progress_bar
from uad.data import Sample
from uad.data.synthetic import plant
from uad.detector import Scorer
from uad.engines import load_engine, open_model
from uad.errors import CalibrationError, EngineError
from uad.graph import Range, Ranges, build_int8, build_observed
from uad.images import Image, read, resize
from uad.types import Weights

log = logging.getLogger(__name__)

LogScores = NDArray[np.float64]
Scores = tuple[LogScores, LogScores]
"""Of the normal images, and of the copies with planted defects."""

RANGE_IMAGES = 64
"""Training images of which the ranges are taken, spread evenly; more change nothing measurable."""
JUDGING_IMAGES = 32
PLANTED = 64
"""Copies with planted defects at least, shared out among the judging images."""
RESAMPLES = 500
LARGEST_NOISE = 1.0
LARGEST_LOSS = 0.01


def quantise(
    bundle: Bundle,
    train: Sequence[Sample],
    selection: Sequence[Sample],
    *,
    engine: str = "onnxruntime",
    largest_noise: float = LARGEST_NOISE,
    largest_loss: float = LARGEST_LOSS,
    progress: bool = False,
) -> Bundle:
    """Add `model.int8.onnx` to the bundle if it scores as the float32 model does.

    Args:
        bundle: changed on disk; an earlier 8-bit model and its calibrations are replaced.
        train: normal training images, for the activations' ranges.
        selection: normal images that trained nothing, for the comparison with float32.
        engine: which engine's 8-bit arithmetic is compared with it.
        largest_noise: how far rounding may move an image's log score, as a share of the standard
            deviation among normal images.
        largest_loss: what it may take from the AUROC of planted defects against normal images,
            beyond the doubt that few images leave.
        progress: show a bar on standard error.

    Raises:
        CalibrationError: no images.
        EngineError: the scores differ by more than that; the bundle keeps its float32 model alone.
    """
    if not train or not selection:
        raise CalibrationError("quantisation needs normal training and selection images: none here")
    student, teacher = bundle.arrays("student"), bundle.arrays("teacher")
    spec = bundle.manifest.input
    used = _spread(train, RANGE_IMAGES)
    ranges = measure_ranges(student, teacher, spec, _shown(used, progress))
    model = build_int8(student, teacher, spec, ranges).SerializeToString()
    normals = [read(sample.path) for sample in _spread(selection, JUDGING_IMAGES)]
    agreement = _agreement(bundle, model, normals, engine, len(used))
    _refuse_if_far(bundle, agreement, largest_noise, largest_loss)
    log.info("int8 model of %s accepted: %s", bundle.path, agreement)
    return add_int8(bundle, model, agreement)


def measure_ranges(
    student: Weights, teacher: Weights, spec: InputSpec, images: Iterable[Image]
) -> Ranges:
    """The smallest and largest value of each activation on `images`, which are resized."""
    import onnxruntime as ort

    model, observed = build_observed(student, teacher, spec)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    lows = np.full(len(observed), np.inf)
    highs = np.full(len(observed), -np.inf)
    for image in images:
        fitting = resize(image, (spec.height, spec.width), spec.interpolation)
        values = session.run(list(observed.values()), {"image": fitting[None]})
        lows = np.minimum(lows, [value.min() for value in values])
        highs = np.maximum(highs, [value.max() for value in values])
    found = zip(observed, lows, highs, strict=True)
    return {name: Range(float(low), float(high)) for name, low, high in found}


def _shown(samples: Sequence[Sample], visible: bool) -> Iterator[Image]:
    """The samples' images, read as they are asked for, with a progress bar."""
    with progress_bar(visible=visible) as bar:
        task = bar.add_task("measure ranges", total=len(samples), note="")
        for sample in samples:
            yield read(sample.path)
            bar.advance(task)


def _agreement(
    bundle: Bundle, model: bytes, normals: Sequence[Image], engine: str, used: int
) -> Agreement:
    rng = np.random.default_rng(0)
    copies = max(1, math.ceil(PLANTED / len(normals)))
    planted = [plant(image, rng)[0] for image in normals for _ in range(copies)]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        file.write_bytes(model)
        rounded = Scorer(bundle, open_model(file, engine, "int8", bundle.manifest.input))
        exact = Scorer(bundle, load_engine(bundle, engine, precision="fp32"))
        before = (_log_scores(exact, normals), _log_scores(exact, planted))
        after = (_log_scores(rounded, normals), _log_scores(rounded, planted))
    return Agreement(
        images=used,
        noise=_noise(before, after),
        auroc_fp32=_auroc(*before),
        auroc_int8=_auroc(*after),
        least_loss=_least_loss(before, after, rng),
    )


def _noise(before: Scores, after: Scores) -> float:
    moved = np.concatenate(after) - np.concatenate(before)
    spread = float(before[0].std())
    return float(moved.std()) / spread if spread > 0 else 0.0


def _auroc(normal: LogScores, defective: LogScores) -> float:
    above = defective[:, None] - normal[None, :]
    return float(np.mean((above > 0) + 0.5 * (above == 0)))


def _least_loss(before: Scores, after: Scores, rng: np.random.Generator) -> float:
    """The lower 5 % point of the AUROC lost, by a paired bootstrap over the images."""
    losses = []
    for _ in range(RESAMPLES):
        drawn = [rng.integers(len(scores), size=len(scores)) for scores in before]
        old, new = (
            _auroc(*(scores[index] for scores, index in zip(both, drawn, strict=True)))
            for both in (before, after)
        )
        losses.append(old - new)
    return float(np.quantile(losses, 0.05))


def _log_scores(scorer: Scorer, images: Iterable[Image]) -> LogScores:
    scores = [scorer.score([image])[0].score for image in images]
    return np.log(np.maximum(np.asarray(scores, np.float64), 1e-30))


def _refuse_if_far(bundle: Bundle, found: Agreement, noise: float, loss: float) -> None:
    if found.noise <= noise and found.least_loss <= loss:
        return
    reason = (
        f"8-bit rounding moves scores by {found.noise:.2f} of normal images' spread (allowed "
        f"{noise:g}) and costs at least {found.least_loss:.3f} AUROC on planted defects (allowed "
        f"{loss:g})"
    )
    log.warning("int8 model of %s refused: %s", bundle.path, reason)
    raise EngineError(
        f"{bundle.path} keeps its float32 model: {reason}; use --precision fp32, or train on more "
        "images"
    )


def _spread(samples: Sequence[Sample], count: int) -> list[Sample]:
    """At most `count` of `samples`, evenly spread."""
    chosen = np.linspace(0, len(samples) - 1, min(count, len(samples))).round().astype(int)
    return [samples[index] for index in chosen]
