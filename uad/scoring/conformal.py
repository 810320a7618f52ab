"""The split-conformal threshold: a false alarm rate guaranteed by held-out normal images.

Vovk et al., Algorithmic Learning in a Random World (2005), ch. 4; Lei et al., JASA 2018: if the
calibration scores and the score of a future normal image are exchangeable, then
P(score > threshold) <= alpha, whatever the scores' distribution.

Images of one capture (several shots of one part) are alike: not the images are exchangeable, only
the captures are. The threshold is still set from all images ("CDF pooling", recommended by Dunn,
Wasserman and Ramdas, JASA 2023, arXiv 1809.07441); what it keeps is `guaranteed_rate`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from uad.errors import CalibrationError

_FEWEST_TO_COMPARE = 5
"""With fewer calibration images it is not known how far one is from the rest."""


def images_needed(alpha: float) -> int:
    """The fewest calibration images that can guarantee `alpha`: ceil(1/alpha) - 1."""
    _check_alpha(alpha)
    return math.ceil(1.0 / alpha - 1e-9) - 1


def conformal_threshold(scores: Sequence[float], alpha: float) -> tuple[float, float]:
    """The threshold for a target false alarm rate, and the rate that it guarantees.

    The threshold is the ceil((n + 1)(1 - alpha))-th smallest of the n scores. With fewer than
    `images_needed(alpha)` scores it is the largest one, which guarantees 1/(n + 1).

    Args:
        scores: image scores of the calibration images, in any order.
        alpha: target false alarm rate, in (0, 1).

    Returns:
        The threshold, and the larger of `alpha` and 1/(n + 1).

    Raises:
        CalibrationError: no scores, a score that is not finite, or alpha outside (0, 1).
    """
    _check_alpha(alpha)
    ordered = np.sort(np.asarray(scores, np.float64))
    if ordered.size == 0:
        raise CalibrationError("There are no calibration images. Add good images and train again.")
    if not np.isfinite(ordered).all():
        raise CalibrationError(
            "A calibration score is not finite: training diverged. Lower training.learning_rate."
        )
    achieved = max(alpha, 1.0 / (ordered.size + 1))
    rank = math.ceil((ordered.size + 1) * (1.0 - achieved) - 1e-9)
    return float(ordered[max(rank, 1) - 1]), achieved


def unmet_alpha(requested: float, achieved: float) -> float | None:
    """The rate asked for, if the calibration images can only guarantee a larger one."""
    return requested if requested < achieved - 1e-9 else None


def percent(rate: float) -> str:
    """A rate that was set or is guaranteed: `5 %`, `0.25 %`."""
    return f"{100 * rate:.3g} %"


def unmet_alpha_sentence(requested: float, achieved: float, zones: int = 0) -> str:
    """What a person is told then; `zones`: how many have an alpha of their own."""
    count, asked = round(1.0 / achieved) - 1, percent(requested)
    if zones:
        return (
            f"A false alarm rate of {asked} was asked for. With these calibration images and "
            f"{zones} zone{'' if zones == 1 else 's'} the lowest rate that can be guaranteed is "
            f"{100 * achieved:.2g} %, and that one is used. For less add calibration images."
        )
    return (
        f"A false alarm rate of {asked} was asked for. With {count} calibration "
        f"image{'' if count == 1 else 's'} the lowest rate that can be guaranteed is "
        f"{100 * achieved:.2g} %, and that one is used. For {asked} you need "
        f"{images_needed(requested)}."
    )


def guaranteed_rate(alpha: float, captures: int | None) -> float:
    """The largest mean false alarm rate of a threshold for `alpha`, in (0, 1].

    `alpha` itself without captures, and from as many captures on as `alpha` needs independent
    images: then the mean is near `alpha`. With fewer it may be far above, at most
    alpha + (1 - alpha) / (captures + 1), if the captures are of one size: that is the hierarchical
    conformal p-value (1 + sum over the captures of the share of their images that score as high)
    / (captures + 1) at the threshold, which is valid however alike a capture's images are (Lee,
    Barber and Willett, "Distribution-free inference with hierarchical data", arXiv 2306.06342).

    Args:
        alpha: the rate that as many independent images would guarantee.
        captures: how many the calibration images show; None: each its own.
    """
    if captures is None or not too_few_captures(alpha, captures):
        return alpha
    return alpha + (1.0 - alpha) / (captures + 1)


def too_few_captures(alpha: float, captures: int) -> bool:
    """Whether fewer captures set the threshold than `alpha` needs independent images."""
    return captures < images_needed(alpha)


def few_captures_sentence(asked: float, alpha: float, images: int, captures: int) -> str:
    """What a person is told then.

    Args:
        asked: the false alarm rate that was asked for.
        alpha: the one in use: larger if there are too few images.
        images: how many set the threshold.
        captures: how many they show.
    """
    return (
        f"The {images} calibration images show {captures} capture{'' if captures == 1 else 's'}: "
        "several are shots of one part. Such shots are alike, so a false alarm rate of "
        f"{percent(asked)} needs {images_needed(asked)} captures in calibration. With {captures} "
        f"the rate may be up to {percent(guaranteed_rate(alpha, captures))} on average. Add good "
        "images of other parts."
    )


def shortfall_sentence(
    asked: float, alpha: float, images: int, captures: int | None, zones: int = 0
) -> str:
    """Why the false alarm rate asked for cannot be relied on; empty if it can.

    Arguments as `few_captures_sentence`'s; zones as `unmet_alpha_sentence`'s.
    """
    if captures is not None and too_few_captures(asked, captures):
        return few_captures_sentence(asked, alpha, images, captures)
    return unmet_alpha_sentence(asked, alpha, zones) if unmet_alpha(asked, alpha) else ""


@dataclass(frozen=True)
class Dependence:
    """A threshold that one calibration image determines alone."""

    image: str | None
    """Its name; None in bundles that do not know their calibration images' names."""
    threshold: float
    without: float
    """The threshold that the other images would give."""

    def sentence(self) -> str:
        """What a person is told."""
        name = f"the calibration image {self.image}" if self.image else "one calibration image"
        return (
            f"The threshold {self.threshold:.4g} depends on {name}, whose score lies far above the "
            f"others. Without it the threshold would be {self.without:.4g}. Look at the image: if "
            "it shows a defect or a bad picture, take it out and train again. If it shows a good "
            "part, leave it in: the false alarm rate holds only for parts like the calibration "
            "images."
        )


def dependence(
    scores: Sequence[float], images: Sequence[str], threshold: float
) -> Dependence | None:
    """Whether the threshold depends on one image whose score is far from the rest.

    It does if it is the highest score, and that lies above the next one by more than a standard
    deviation of the others, both of the logarithm, and by a twentieth at least.

    Args:
        scores: of the calibration images, sorted.
        images: their names in the same order; may be empty.
        threshold: the one in force.
    """
    if len(scores) < _FEWEST_TO_COMPARE or threshold != scores[-1] or scores[0] <= 0:
        return None
    logarithms = np.log(np.asarray(scores, np.float64))
    gap = logarithms[-1] - logarithms[-2]
    if gap <= max(float(logarithms[:-1].std(ddof=1)), math.log(1.05)):
        return None
    return Dependence(images[-1] if images else None, threshold, float(scores[-2]))


def p_value(score: float, scores: Sequence[float]) -> float:
    """(1 + number of calibration scores >= score) / (n + 1), in (0, 1]; small = unusual."""
    calibration = np.asarray(scores)
    return float((1 + np.sum(calibration >= score)) / (calibration.size + 1))


def beta_binomial_range(
    n_calibration: int,
    n_normal: int,
    alpha: float,
    confidence: float = 0.95,
    captures: int | None = None,
) -> tuple[float, float]:
    """The range of the observed false alarm rate if the guarantee holds.

    With n calibration scores and the k-th smallest as threshold, the number of false alarms among
    m fresh normals is beta-binomial with a = n + 1 - k, b = k (Vovk, 2012, "Conditional validity of
    inductive conformal predictors"). With captures it is about as wide as with so many
    independent images: a = (captures + 1) alpha, b = (captures + 1)(1 - alpha).

    Args:
        n_calibration: how many images set the threshold.
        n_normal: how many fresh normals are judged.
        alpha: the rate that the threshold is set for.
        confidence: of the interval.
        captures: how many captures the calibration images show; None: each its own.

    Returns:
        The central `confidence` interval of the rate, as (low, high) shares of `n_normal`.
    """
    law = _false_alarm_law(n_calibration, n_normal, alpha, captures)
    low, high = law.ppf([(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low) / n_normal, float(high) / n_normal


def chance_of_alarms(
    n_calibration: int, n_normal: int, alpha: float, alarms: int, captures: int | None = None
) -> float:
    """The probability of so many or more false alarms among fresh normals, as above."""
    return float(_false_alarm_law(n_calibration, n_normal, alpha, captures).sf(alarms - 1))


def _false_alarm_law(n_calibration: int, n_normal: int, alpha: float, captures: int | None) -> Any:
    from scipy.stats import betabinom

    if captures is not None:
        share = max(alpha, 1.0 / (captures + 1))
        return betabinom(n_normal, (captures + 1) * share, (captures + 1) * (1.0 - share))
    achieved = max(alpha, 1.0 / (n_calibration + 1))
    rank = max(math.ceil((n_calibration + 1) * (1.0 - achieved) - 1e-9), 1)
    return betabinom(n_normal, n_calibration + 1 - rank, rank)


def is_number(value: object) -> bool:
    """Whether it is a finite number, numpy's too; callers from Python may pass anything."""
    return isinstance(value, Real) and math.isfinite(value)


def _check_alpha(alpha: float) -> None:
    if not is_number(alpha) or not 0.0 < alpha < 1.0:
        raise CalibrationError(
            f"The false alarm rate alpha must be a number between 0 and 1, not {alpha!r}. Try 0.05."
        )
