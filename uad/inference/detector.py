"""The core that calibration, evaluation, the pipeline and the server all run.

images -> resize -> engine -> level maps -> anomaly map -> score -> verdict
"""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from uad.bundle import Bundle, CalibrationEntry, read_bundle
from uad.errors import BundleError, CalibrationError, EngineError
from uad.images import Image, resize
from uad.inference.engines import Engine, load_engine
from uad.inference.engines.loading import by_speed
from uad.scoring.conformal import conformal_threshold, p_value
from uad.scoring.maps import Map, anomaly_map, image_score
from uad.scoring.regions import Regions, find_regions

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Scored:
    """What the model says of one image, before any decision."""

    anomaly_map: Map
    """(H, W) float32 at the image's own size; higher = more anomalous."""
    score: float
    """The map's maximum."""


@dataclass(frozen=True)
class Detection(Scored):
    """A scored image with the verdict at the threshold in force."""

    threshold: float
    alpha: float
    p_value: float
    """(1 + number of calibration scores >= score) / (n + 1)."""

    @property
    def is_anomalous(self) -> bool:
        """Whether the score lies above the threshold."""
        return self.score > self.threshold

    @cached_property
    def label_map(self) -> NDArray[np.uint8]:
        """(H, W) uint8: 255 where the anomaly map lies above the threshold, else 0."""
        above = self.anomaly_map > self.threshold
        return above.view(np.uint8) * np.uint8(255)  # four times as fast as np.where

    @cached_property
    def regions(self) -> Regions:
        """The connected regions of the label map."""
        return find_regions(self.anomaly_map, self.label_map)


class Scorer:
    """Images to anomaly maps and scores: a bundle's model on one engine."""

    def __init__(self, bundle: Bundle, engine: Engine) -> None:
        self.bundle = bundle
        self.engine = engine
        self._definition = bundle.manifest.score
        self._statistics = bundle.arrays("statistics")

    def score(self, images: Sequence[Image]) -> list[Scored]:
        """Score images of any sizes, (H, W, 3) uint8 BGR, in one batch."""
        if not images:
            return []
        spec = self.bundle.manifest.input
        size = (spec.height, spec.width)
        batch = np.stack([resize(image, size, spec.interpolation) for image in images])
        levels = self.engine.level_maps(batch)
        return [
            self._one([level[index] for level in levels], image.shape[:2])
            for index, image in enumerate(images)
        ]

    def _one(self, level_maps: list[Map], size: tuple[int, int]) -> Scored:
        full = anomaly_map(level_maps, self._definition, self._statistics, size)
        return Scored(full, image_score(full))


class Detector:
    """A scorer with a threshold: what a bundle decides about an image."""

    def __init__(
        self,
        bundle: Bundle,
        engine: Engine,
        *,
        alpha: float | None = None,
        threshold: float | None = None,
    ) -> None:
        self.bundle = bundle
        self.engine = engine
        self.calibration = _entry(bundle, engine)
        self.scorer = Scorer(bundle, engine)
        self.threshold, self.alpha = self._decision(alpha, threshold)

    def detect(
        self,
        images: Sequence[Image],
        *,
        alpha: float | None = None,
        threshold: float | None = None,
    ) -> list[Detection]:
        """Judge images, (H, W, 3) uint8 BGR, any sizes; `alpha` or `threshold` for this call only.

        Raises:
            CalibrationError: both are given, or alpha is outside (0, 1).
        """
        decision = self._decision(alpha, threshold)
        return [self._judged(scored, *decision) for scored in self.scorer.score(images)]

    def judge(
        self, scored: Scored, *, alpha: float | None = None, threshold: float | None = None
    ) -> Detection:
        """The verdict on an image that `scorer` scored; arguments and errors as `detect`'s."""
        return self._judged(scored, *self._decision(alpha, threshold))

    def _judged(self, scored: Scored, threshold: float, alpha: float) -> Detection:
        known = p_value(scored.score, self.calibration.scores)
        return Detection(scored.anomaly_map, scored.score, threshold, alpha, known)

    def check_golden(self) -> None:
        """Run the golden inputs; this engine must reproduce the scores it was calibrated with.

        Raises:
            BundleError: a score is not finite or differs by more than the entry's tolerance.
        """
        expected = self.calibration.golden_scores
        images = self.bundle.golden()
        if len(expected) != len(images):
            raise BundleError(
                f"{self.bundle.path} has {len(images)} golden inputs but {len(expected)} golden "
                "scores: recalibrate it with `uad calibrate`"
            )
        for index, image in enumerate(images):
            score = self.scorer.score([image])[0].score
            if not math.isclose(score, expected[index], rel_tol=self.calibration.tolerance):
                raise BundleError(
                    f"{self.bundle.path} gives {score:.6g} for golden input {index} on "
                    f"{self.engine.key}, not {expected[index]:.6g}: this machine computes "
                    "something else; recalibrate here with `uad calibrate`"
                )

    def close(self) -> None:
        """Release the engine."""
        self.engine.close()

    def _decision(self, alpha: float | None, threshold: float | None) -> tuple[float, float]:
        if alpha is not None and threshold is not None:
            raise CalibrationError("give alpha or threshold, not both")
        if threshold is not None:
            if not math.isfinite(threshold):
                raise CalibrationError(f"the threshold must be a finite number, not {threshold}")
            scores = np.asarray(self.calibration.scores)
            return threshold, float((1 + np.sum(scores > threshold)) / (len(scores) + 1))
        if alpha is not None:
            return conformal_threshold(self.calibration.scores, alpha)
        if hasattr(self, "threshold"):
            return self.threshold, self.alpha
        return self.calibration.threshold, self.calibration.alpha


def load_detector(
    path: Path,
    *,
    engine: str = "auto",
    device: str = "cpu",
    precision: str | None = None,
    threads: int | None = None,
    alpha: float | None = None,
    threshold: float | None = None,
) -> Detector:
    """Read and verify the bundle at `path`, load its engine, and check its golden scores.

    Args:
        path: the bundle's folder.
        engine: see `uad.inference.engines.load_engine`; or `fastest`, the first of `by_speed` that
            can be loaded and reproduces its golden scores here, else what `auto` takes.
        device: see `load_engine`.
        precision: see `load_engine`.
        threads: see `load_engine`.
        alpha: see `Detector`.
        threshold: see `Detector`.

    Raises:
        BundleError: the bundle is altered, or computes something else here.
        CalibrationError: it is not calibrated for the engine.
        EngineError: the engine cannot be had here.
    """
    bundle = read_bundle(path)

    def checked(name: str, own: str | None) -> Detector:
        loaded = load_engine(bundle, name, device=device, precision=own, threads=threads)
        detector = Detector(bundle, loaded, alpha=alpha, threshold=threshold)
        detector.check_golden()
        log.info("engine %s on %s", loaded.key, device)
        return detector

    if engine != "fastest":
        return checked(engine, precision)
    fast = by_speed(bundle, device, precision)
    for name, own in fast[:-1]:
        try:
            return checked(name, own)
        except (EngineError, BundleError) as exc:
            log.warning("%s/%s cannot run %s here: %s", name, own, path, exc)
    return checked(*fast[-1]) if fast else checked("auto", precision)


def _entry(bundle: Bundle, engine: Engine) -> CalibrationEntry:
    entry = bundle.manifest.calibration.get(engine.key)
    if entry is None:
        have = ", ".join(sorted(bundle.manifest.calibration)) or "none"
        raise CalibrationError(
            f"{bundle.path} is not calibrated for {engine.key} (it has: {have}); run "
            f"`uad calibrate {bundle.path} --data DATA --engine {engine.name} "
            f"--precision {engine.precision}`"
        )
    return entry
