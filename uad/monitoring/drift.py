"""The drift test: are the images still like those that set the threshold?

The calibration scores are of images that the line made when the model was trained. If today's
images are exchangeable with them, the smoothed conformal p-value of each new score among the
calibration scores and the new ones before it is uniform and independent of the others, although
all share one calibration set (Vovk, Gammerman, Shafer, Algorithmic Learning in a Random World,
2005, theorem 8.2). A bettor who starts with 1 and bets fairly against that owns a martingale:
however often one looks, it reaches 1/level with a probability of at most `level` (Ville's
inequality). The bets are the Simple Jumper's (Vovk et al., Retrain or not retrain: conformal test
martingales for change-point detection, COPA 2021).

Defects raise the scores as well. The test shows that something changed, but not what. A person has
to look.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from uad.errors import CalibrationError
from uad.monitoring.score_log import LoggedScore
from uad.scoring.conformal import beta_binomial_range, chance_of_alarms

LEVEL = 0.001
"""Chance of a report if nothing has changed: with one look per day, once in 30 days in at most 3 %
of the months."""
BETS = (-1.0, -0.5, 0.0, 0.5, 1.0)
"""Stakes of the Simple Jumper on p - 1/2: below zero gains when scores are higher than they were.
At most half of the capital is at risk in one image, so that a single defect proves nothing."""
JUMP = 0.01
"""Share of the capital that is spread over all bets anew after each image."""


@dataclass(frozen=True)
class Drift:
    """What a look at a row of images found."""

    images: int
    evidence: float
    """Largest capital of the bettor; 1 at the start."""
    level: float
    detected_at: int | None
    """Number of the image (from 1) at which the evidence reached 1/level; None if it never did."""
    median_p_value: float | None
    """About 0.5 if nothing has changed; lower if scores are higher than in calibration."""
    alarms: int
    """Images above the threshold."""
    expected_alarms: tuple[int, int] | None
    """Range of alarms in 95 % of cases if nothing has changed."""
    too_many_alarms: bool = False
    """Whether so many alarms have a probability of at most `level` if nothing has changed. The
    evidence grows over many images; this test sees a few images that are almost all alarms."""

    @property
    def detected(self) -> bool:
        """Whether the images are no longer like those of calibration."""
        return self.detected_at is not None

    @property
    def above_range(self) -> bool:
        """Whether there are more alarms than in 95 % of cases without a change."""
        return self.expected_alarms is not None and self.alarms > self.expected_alarms[1]

    @property
    def direction(self) -> str:
        """`higher` or `lower` scores than in calibration; for a report in words."""
        return "lower" if (self.median_p_value or 0.0) > 0.5 else "higher"


def detect_drift(
    calibration: Sequence[float],
    recent: Sequence[float],
    *,
    threshold: float,
    alpha: float,
    captures: Sequence[int] = (),
    level: float = LEVEL,
    seed: int = 0,
) -> Drift:
    """Compare recent scores, in the order in which they came, with the calibration scores.

    Args:
        calibration: scores of the calibration images, by the same model and engine.
        recent: scores of the images to judge, oldest first.
        threshold: of the decision, for the count of alarms.
        alpha: the false alarm rate of the threshold.
        captures: of each calibration image the number of its capture; empty: each is its own.
            Shots of one part come one after another and are alike. So one score of each capture is
            compared with every m-th recent one, where a capture has m images on average.
        level: probability that exchangeable images are reported as drifted.
        seed: of the coins that break ties, and of the lots that choose from a capture.

    Raises:
        CalibrationError: there are no calibration scores.
    """
    if len(calibration) == 0:
        raise CalibrationError("There are no calibration scores to compare with.")
    rng, shown = np.random.default_rng(seed), len(set(captures)) or None
    known = calibration if shown is None else _one_of_each(calibration, captures, rng)
    step = 1 if shown is None else math.ceil(len(calibration) / shown)
    p_values = _p_values(known, recent[::step], rng)
    capital = list(_capital(p_values))
    alarms = sum(score > threshold for score in recent)
    detected = (1 + step * at for at, owned in enumerate(capital) if owned >= 1 / level)
    return Drift(
        images=len(recent),
        evidence=max(capital, default=1.0),
        level=level,
        detected_at=next(detected, None),
        median_p_value=float(np.median(p_values)) if p_values else None,
        alarms=alarms,
        expected_alarms=_expected(len(calibration), len(recent), alpha, shown),
        too_many_alarms=len(recent) > 0
        and chance_of_alarms(len(calibration), len(recent), alpha, alarms, shown) <= level,
    )


def moved_by(
    scored: Sequence[LoggedScore], calibration: Sequence[float], direction: str, limit: int = 12
) -> list[LoggedScore]:
    """The newest images that made it: beyond nine of ten calibration scores, newest first.

    Args:
        scored: the images that were looked at, oldest first.
        calibration: scores of the calibration images.
        direction: of the change, `higher` or `lower`.
        limit: most images.
    """
    low, high = np.quantile(calibration, [0.1, 0.9])
    beyond = [
        each
        for each in reversed(scored)
        if (each.score > high if direction == "higher" else each.score < low)
    ]
    return beyond[:limit]


def _one_of_each(
    scores: Sequence[float], captures: Sequence[int], rng: np.random.Generator
) -> list[float]:
    """One score of each capture, drawn by lot."""
    drawn = {captures[index]: scores[index] for index in rng.permutation(len(scores))}
    return list(drawn.values())


def _p_values(
    calibration: Sequence[float], recent: Sequence[float], rng: np.random.Generator
) -> list[float]:
    """Smoothed conformal p-values, each among the calibration scores and all scores before it."""
    known = sorted(calibration)
    found = []
    for score in recent:
        right = bisect_right(known, score)
        equal = right - bisect_left(known, score) + 1
        higher = len(known) - right
        found.append((higher + rng.uniform() * equal) / (len(known) + 1))
        known.insert(right, score)
    return found


def _capital(p_values: Sequence[float]) -> "list[float]":
    """The Simple Jumper's capital after each image, mixed over `BETS`."""
    stakes = np.array(BETS)
    owned = np.full(len(BETS), 1 / len(BETS))
    log_scale, history = 0.0, []
    for p in p_values:
        owned = (1 - JUMP) * owned + JUMP * owned.mean()
        owned = owned * (1 + stakes * (p - 0.5))
        total = owned.sum()
        log_scale += math.log(total)  # the capital of a long row leaves the range of floats
        owned = owned / total
        history.append(math.exp(min(log_scale, 700.0)))
    return history


def _expected(n: int, m: int, alpha: float, captures: int | None) -> tuple[int, int] | None:
    if m == 0:
        return None
    low, high = beta_binomial_range(n, m, alpha, captures=captures)
    return math.floor(low * m + 1e-9), math.ceil(high * m - 1e-9)
