"""Zones with their own false alarm rate: how the image's alpha is divided, and the scores.

The image's alpha is a sum: each zone has its own alpha, and the rest of the image gets what is
left. Each has its own threshold by split conformal calibration. A good image then raises an alarm
somewhere with at most the sum of these probabilities, alpha (union bound).

A zone's score is the highest level of the anomaly map in it. On the image's scale it is
`threshold x score / the zone's threshold`, so that one threshold decides about all.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from uad.config.training import Zones
from uad.errors import CalibrationError
from uad.scoring.conformal import images_needed, p_value, percent

LEAST = 1e-12
"""Lower thresholds of a zone count as this, because scores are divided by them."""


@dataclass(frozen=True)
class ZoneVerdict:
    """One zone's result for an image."""

    name: str
    score: float
    """The anomaly map's maximum in the zone."""
    threshold: float
    alpha: float
    """The share of good images in which the zone raises an alarm, at most."""

    @property
    def ratio(self) -> float:
        """Of score and threshold; above 1 the zone raises the alarm."""
        return self.score / max(self.threshold, LEAST)

    @property
    def is_anomalous(self) -> bool:
        """Whether the zone raises the alarm."""
        return self.ratio > 1

    def as_json(self) -> dict[str, object]:
        """Plain values, as JSON answers hold them."""
        return {
            "name": self.name,
            "score": self.score,
            "threshold": self.threshold,
            "alpha": self.alpha,
            "is_anomalous": self.is_anomalous,
        }


def alpha_outside(alpha: float, zones: Zones) -> float:
    """What the zones leave of the image's alpha."""
    return alpha - sum(zone.alpha for zone in zones)


def check_zones(zones: Zones, alpha: float, images: int) -> None:
    """Raise if this number of calibration images cannot guarantee all alphas.

    Raises:
        CalibrationError: says which zone, and the cure.
    """
    if not zones:
        return
    left = alpha_outside(alpha, zones)
    if left <= 1e-9:
        raise CalibrationError(
            f"The zones' alphas add up to {percent(alpha - left)}, and the image's alpha is "
            f"{percent(alpha)}. Each zone's alpha is a part of the image's alpha, and some of it "
            "must be left for the rest of the image. Raise data.alpha (--alpha), or lower the "
            "zones' alphas."
        )
    rates = [(f"The zone {zone.name} has", zone.alpha) for zone in zones]
    for who, rate in (*rates, (f"Outside of the zones {percent(left)} of alpha is left:", left)):
        if (needed := images_needed(rate)) > images:
            raise CalibrationError(
                f"{who} a false alarm rate of {percent(rate)}, which needs {needed} calibration "
                f"images. There are {images}: they can guarantee {percent(1 / (images + 1))} or "
                "more. Raise the alphas, raise data.calibration_share, or add good images."
            )


def on_image_scale(
    outside: Sequence[float],
    threshold: float,
    zones: Sequence[tuple[Sequence[float], float]],
) -> list[float]:
    """The image scores of calibration images, each the highest of its parts on one scale.

    Args:
        outside: their scores outside of the zones.
        threshold: of these.
        zones: of each zone the same images' scores in the same order, and the zone's threshold.
    """
    found = np.asarray(outside, np.float64)
    for scores, own in zones:
        ratios = np.asarray(scores, np.float64) / max(own, LEAST)
        found = np.maximum(found, threshold * ratios)
    return [float(score) for score in found]


def combined_p_value(parts: Sequence[tuple[float, Sequence[float], float]], alpha: float) -> float:
    """Bonferroni's p-value with weights: the least of p / (share of alpha), at most 1.

    At most `alpha` exactly where one of the parts has a p-value of at most its own alpha.

    Args:
        parts: of each its score, the calibration images' scores, and its alpha.
        alpha: of the image: the sum.
    """
    return min(1.0, *(p_value(score, known) * alpha / own for score, known, own in parts))


def rescaled(
    values: NDArray[np.float32],
    numbers: NDArray[np.uint16],
    zones: Sequence[ZoneVerdict],
    map_threshold: float,
) -> NDArray[np.float32]:
    """The anomaly map with each zone brought to the scale on which `map_threshold` marks.

    Args:
        values: (H, W), the anomaly map.
        numbers: (H, W), which zone a place belongs to, from 1; 0: none.
        zones: in that order.
        map_threshold: of the image.
    """
    scaled = values.copy()
    for number, zone in enumerate(zones, start=1):
        inside = numbers == number
        own = np.float32(max(zone.threshold, LEAST))
        scaled[inside] = values[inside] / own * np.float32(map_threshold)
    return scaled
