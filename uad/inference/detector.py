"""The detector, used by calibration, evaluation, the pipeline and the server.

images -> paint over ignored regions, resize -> engine -> level maps -> anomaly map -> score
-> verdict
"""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from uad.bundle import Bundle, CalibrationEntry, read_bundle
from uad.config.training import Zones
from uad.errors import BundleError, CalibrationError, EngineError
from uad.images import Image
from uad.inference.engines import Engine, load_engine
from uad.inference.engines.loading import by_speed
from uad.scoring.conformal import (
    conformal_threshold,
    is_number,
    p_value,
    shortfall_sentence,
    unmet_alpha,
)
from uad.scoring.looks import Look
from uad.scoring.maps import Map
from uad.scoring.parts import WORDS, Scored, Scoring
from uad.scoring.regions import Regions, check_fits, find_regions, without_small
from uad.scoring.zone_alpha import ZoneVerdict, combined_p_value, rescaled
from uad.scoring.zones import prepared, zone_numbers

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Detection(Scored):
    """A scored image with the verdict at the threshold in force."""

    threshold: float
    alpha: float
    p_value: float
    """(1 + number of calibration scores >= score) / (n + 1)."""
    map_threshold: float
    """A location of the map above it is marked; at most a share `alpha` of good images has one."""
    requested_alpha: float | None = None
    """The rate asked for, if the calibration images can only guarantee the larger `alpha`."""
    shortfall: str = ""
    """Why the rate asked for cannot be relied on, for a person; empty if it can."""
    zone_verdicts: tuple[ZoneVerdict, ...] = ()
    """Of the zones with an alpha of their own. `score` and `anomaly_map` count them on the image's
    scale, so that `threshold` and `map_threshold` hold everywhere."""
    warnings: tuple[str, ...] = ()
    """Why the score may mean nothing: how the image differs from those of calibration."""

    @property
    def leading_part(self) -> str:
        """What raises the score most: a part of the detector, or `zone NAME`."""
        zone = max(self.zone_verdicts, key=lambda each: each.ratio, default=None)
        if zone is not None and self.threshold * zone.ratio >= self.score:
            return f"zone {zone.name}"
        return super().leading_part

    @property
    def is_anomalous(self) -> bool:
        """Whether the score is above the threshold.

        With a smallest defect an alarm also needs a marked region of that area, unless the whole
        image is unusual. This can only reduce the alarms, so alpha's guarantee holds.
        """
        if self.score <= self.threshold:
            return False
        needs_region = self.min_area > 1 and self.leading_part != WORDS["whole_image"]
        return bool(self.label_map.any()) if needs_region else True

    @property
    def raised_by(self) -> str | None:
        """What raised the alarm: a part of the detector or `zone NAME`; None: no alarm."""
        return self.leading_part if self.is_anomalous else None

    @cached_property
    def label_map(self) -> NDArray[np.uint8]:
        """(H, W) uint8: 255 where the anomaly map lies above the map's threshold, else 0.

        Regions of fewer than `min_area` pixels are not marked.
        """
        above = self.anomaly_map > self.map_threshold
        marked = above.view(np.uint8) * np.uint8(255)  # four times as fast as np.where
        return without_small(marked, self.min_area)

    @cached_property
    def regions(self) -> Regions:
        """The connected regions of the label map."""
        return find_regions(self.anomaly_map, self.label_map)


class Scorer:
    """Images to anomaly maps and scores: a bundle's model on one engine.

    `min_area`: places of fewer pixels of the image do not count in the score. `zones`: what lies in
    them has scores of its own.
    """

    def __init__(
        self, bundle: Bundle, engine: Engine, min_area: int = 0, zones: Zones = ()
    ) -> None:
        self.bundle = bundle
        self.engine = engine
        self.min_area = min_area
        self.zones = zones
        manifest = bundle.manifest
        self.scoring = Scoring(
            manifest.score,
            manifest.detector,
            bundle.arrays("statistics"),
            manifest.input.ignore,
            zones,
        )

    def score(self, images: Sequence[Image]) -> list[Scored]:
        """Score images of any sizes, (H, W, 3) uint8 BGR, in one batch."""
        if not images:
            return []
        spec = self.bundle.manifest.input
        batch = np.stack([prepared(image, spec) for image in images])
        outputs = self.engine.outputs(batch)
        return [
            replace(
                self.scoring.one(outputs, index, image.shape[:2], self.min_area),
                look=Look.of(image),
            )
            for index, image in enumerate(images)
        ]


class Detector:
    """A scorer with a threshold: what a bundle decides about an image."""

    def __init__(
        self,
        bundle: Bundle,
        engine: Engine,
        *,
        alpha: float | None = None,
        threshold: float | None = None,
        min_area: int | None = None,
    ) -> None:
        """`alpha` or `threshold`, and `min_area`: instead of those the bundle was calibrated for.

        Raises:
            CalibrationError: alpha and threshold are given, or one of the three is impossible.
        """
        self.bundle = bundle
        self.engine = engine
        self.calibration = _entry(bundle, engine)
        zones = tuple(each.zone for each in self.calibration.zones)
        self.scorer = Scorer(bundle, engine, self.calibration.min_area, zones)
        self._usual = self._decision(alpha, threshold)
        self._min_area = self._smallest(min_area)

    @property
    def threshold(self) -> float:
        """An image is anomalous if its score is above this value."""
        return self._usual.threshold

    @property
    def alpha(self) -> float:
        """The false alarm rate of the threshold."""
        return self._usual.alpha

    @property
    def requested_alpha(self) -> float | None:
        """See `Detection.requested_alpha`."""
        return self._usual.requested_alpha

    @property
    def map_threshold(self) -> float:
        """The label map marks values of the anomaly map above this."""
        return self._usual.map_threshold

    def detect(
        self,
        images: Sequence[Image],
        *,
        alpha: float | None = None,
        threshold: float | None = None,
        min_area: int | None = None,
    ) -> list[Detection]:
        """Judge images, (H, W, 3) uint8 BGR, of any sizes.

        Args:
            images: see above.
            alpha: target false alarm rate, for this call only.
            threshold: instead, the score above which an image is anomalous, for this call only.
            min_area: smallest defect in pixels of the image, for this call only; at least the one
                the bundle was calibrated for. A larger one keeps alpha's guarantee.

        Raises:
            CalibrationError: alpha and threshold are given, or one of the three is impossible:
                `min_area` also where it is larger than an image.
        """
        decision, smallest = self._decision(alpha, threshold), self._smallest(min_area)
        return [self._judged(scored, decision, smallest) for scored in self.scorer.score(images)]

    def judge(
        self,
        scored: Scored,
        *,
        alpha: float | None = None,
        threshold: float | None = None,
        min_area: int | None = None,
    ) -> Detection:
        """The verdict on an image that `scorer` scored; arguments and errors as `detect`'s."""
        decision = self._decision(alpha, threshold)
        return self._judged(scored, decision, self._smallest(min_area))

    def _judged(self, scored: Scored, decision: "_Decision", min_area: int) -> Detection:
        check_fits(min_area, scored.anomaly_map.shape)
        scored = self.scorer.scoring.reopened(scored, min_area)
        zones = tuple(
            ZoneVerdict(zone.name, peak, threshold, alpha)
            for zone, peak, (threshold, alpha) in zip(
                scored.zones, scored.zone_peaks, decision.zones, strict=True
            )
        )
        return Detection(
            self._rescaled(scored, zones, decision.map_threshold),
            max(scored.score, *(decision.threshold * zone.ratio for zone in zones), -math.inf),
            scored.shares,
            min_area,
            ignore=scored.ignore,
            zones=scored.zones,
            look=scored.look,
            threshold=decision.threshold,
            alpha=decision.alpha,
            p_value=self._p_value(scored.score, zones),
            map_threshold=decision.map_threshold,
            requested_alpha=decision.requested_alpha,
            shortfall=decision.shortfall,
            zone_verdicts=zones,
            warnings=self._warnings(scored),
        )

    def _warnings(self, scored: Scored) -> tuple[str, ...]:
        known = self.calibration.looks
        return known.warnings(scored.look) if known and scored.look else ()

    def _rescaled(self, scored: Scored, zones: tuple[ZoneVerdict, ...], marks: float) -> Map:
        values = scored.anomaly_map
        if not zones:
            return values
        numbers = zone_numbers(scored.zones, scored.ignore, (values.shape[0], values.shape[1]))
        return rescaled(values, numbers, zones, marks)

    def _p_value(self, score: float, zones: tuple[ZoneVerdict, ...]) -> float:
        entry = self.calibration
        if not zones:
            return p_value(score, entry.scores)
        own = [
            (verdict.score, each.scores, each.zone.alpha)
            for verdict, each in zip(zones, entry.zones, strict=True)
        ]
        outside = (score, entry.outside_scores, entry.outside_alpha)
        return combined_p_value([outside, *own], entry.alpha)

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
                "scores. Run `uad calibrate` again."
            )
        for index, image in enumerate(images):
            score = self.scorer.score([image])[0].score
            if not math.isclose(score, expected[index], rel_tol=self.calibration.tolerance):
                raise BundleError(
                    f"{self.bundle.path} gives {score:.6g} for golden input {index} on "
                    f"{self.engine.key}, not {expected[index]:.6g}. This machine computes a "
                    "different result. Run `uad calibrate` on this machine."
                )

    def close(self) -> None:
        """Release the engine."""
        self.engine.close()

    def _smallest(self, min_area: int | None) -> int:
        if min_area is None:
            return getattr(self, "_min_area", self.calibration.min_area)
        if not is_number(min_area) or min_area != int(min_area):
            raise CalibrationError(
                f"the smallest defect must be a whole number of pixels, not {min_area!r}"
            )
        if min_area < self.calibration.min_area:
            raise CalibrationError(
                f"the smallest defect cannot be {min_area} pixels: this model is calibrated for "
                f"{self.calibration.min_area}. Ask for at least that, or run `uad calibrate "
                f"{self.bundle.path} --data DATA --min-area {max(min_area, 0)}`"
            )
        return min_area

    def _decision(self, alpha: float | None, threshold: float | None) -> "_Decision":
        if alpha is not None and threshold is not None:
            raise CalibrationError("give alpha or threshold, not both")
        if threshold is not None:
            return self._at(threshold)
        if alpha is not None:
            return self._asked(alpha, self._for_alpha(alpha))
        if hasattr(self, "_usual"):
            return self._usual
        entry = self.calibration
        marks = entry.threshold if entry.map_threshold is None else entry.map_threshold
        zones = tuple((each.threshold, each.zone.alpha) for each in entry.zones)
        stored = _Decision(entry.threshold, entry.alpha, marks, zones=zones)
        return self._asked(entry.requested_alpha, stored)

    def _asked(self, alpha: float, found: "_Decision") -> "_Decision":
        """The thresholds for the rate `alpha`, with what a person should know about it."""
        entry = self.calibration
        return replace(
            found,
            requested_alpha=unmet_alpha(alpha, found.alpha),
            shortfall=shortfall_sentence(
                alpha, found.alpha, len(entry.scores), entry.n_captures, len(found.zones)
            ),
        )

    def _for_alpha(self, alpha: float) -> "_Decision":
        """Zones keep their share of alpha."""
        entry = self.calibration
        if not entry.zones:
            return self._with_map(*conformal_threshold(entry.scores, alpha))
        share = alpha / entry.alpha
        outside = conformal_threshold(entry.outside_scores, entry.outside_alpha * share)
        zones = tuple(
            conformal_threshold(each.scores, each.zone.alpha * share) for each in entry.zones
        )
        total = min(1.0, outside[1] + sum(own for _, own in zones))
        return replace(self._with_map(*outside), alpha=total, zones=zones)

    def _at(self, threshold: float) -> "_Decision":
        """The thresholds for a threshold set by the caller, and the alpha that follows from it."""
        if not is_number(threshold):
            raise CalibrationError(f"the threshold must be a finite number, not {threshold!r}")
        entry = self.calibration
        if not entry.zones:
            return self._with_map(threshold, _alpha_at(threshold, entry.scores))
        outside = _alpha_at(threshold, entry.outside_scores)
        raised = threshold / entry.threshold  # the zones' scores keep their scale
        zones = tuple(
            (raised * each.threshold, _alpha_at(raised * each.threshold, each.scores))
            for each in entry.zones
        )
        total = min(1.0, outside + sum(own for _, own in zones))
        return replace(self._with_map(threshold, outside), alpha=total, zones=zones)

    def _with_map(self, threshold: float, alpha: float) -> "_Decision":
        maxima = self.calibration.map_maxima
        if not maxima:  # the score is the map's maximum, and one threshold does for both
            return _Decision(threshold, alpha, threshold)
        marks = conformal_threshold(maxima, alpha)[0] if alpha < 1 else min(maxima)
        return _Decision(threshold, alpha, marks)


@dataclass(frozen=True)
class _Decision:
    """The thresholds of the image score and of the map."""

    threshold: float
    alpha: float
    map_threshold: float
    requested_alpha: float | None = None
    """See `Detection`."""
    shortfall: str = ""
    """See `Detection`."""
    zones: tuple[tuple[float, float], ...] = ()
    """Threshold and alpha of each zone."""


def _alpha_at(threshold: float, scores: Sequence[float]) -> float:
    return float((1 + np.sum(np.asarray(scores) > threshold)) / (len(scores) + 1))


def load_detector(
    path: Path,
    *,
    engine: str = "auto",
    device: str = "cpu",
    precision: str | None = None,
    threads: int | None = None,
    alpha: float | None = None,
    threshold: float | None = None,
    min_area: int | None = None,
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
        min_area: see `Detector`.

    Raises:
        BundleError: the bundle is altered, or computes something else here.
        CalibrationError: it is not calibrated for the engine.
        EngineError: the engine cannot be had here.
    """
    bundle = read_bundle(path)

    def checked(name: str, own: str | None) -> Detector:
        loaded = load_engine(bundle, name, device=device, precision=own, threads=threads)
        detector = Detector(bundle, loaded, alpha=alpha, threshold=threshold, min_area=min_area)
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
