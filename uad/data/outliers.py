"""Images whose size or brightness is far from the others': kept, but reported."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from uad.data.reading import Checked
from uad.data.samples import Problem

FEWEST = 8
"""Quartiles of fewer images say little."""
_FENCE = 3.0
"""Tukey's outer fence: this many interquartile ranges beyond the quartiles."""
_LEAST_LEVELS = 4.0
_LEAST_LOG = 0.03
"""Narrower ranges count as these (grey levels; 3 % of a side): a steady line would otherwise
report every trifle."""


def outliers(entries: Sequence[Checked]) -> list[Problem]:
    """Sizes of all images; brightness of the normal ones, since a defect may well be dark.

    What is reported as blank or dark already is left out.
    """
    normal = [entry for entry in entries if not entry.label and not entry.facts.remark]
    return [
        problem
        for found, images in ((_by_size, entries), (_by_brightness, normal))
        if len(images) >= FEWEST
        for problem in found(images)
    ]


def _by_size(entries: Sequence[Checked]) -> list[Problem]:
    sides = np.array([entry.facts.size for entry in entries])  # (N, 2): height, width
    odd = {index for side in sides.T for index in _far(np.log(side), _LEAST_LOG)}
    usual = "{:.0f}x{:.0f}".format(*np.median(sides, axis=0))
    problems = []
    for index in sorted(odd):
        entry, (height, width) = entries[index], sides[index]
        message = (
            f"{entry.item.name} is {height}x{width}, the others are about {usual} (height x "
            "width); kept; check whether another camera took it"
        )
        problems.append(Problem(entry.item.path, "size", message))
    return problems


def _by_brightness(entries: Sequence[Checked]) -> list[Problem]:
    levels = [entry.facts.brightness for entry in entries]
    problems = []
    for index in _far(levels, _LEAST_LEVELS):
        entry = entries[index]
        message = (
            f"{entry.item.name} has a mean grey level of {levels[index]:.0f} of 255, the others "
            f"about {np.median(levels):.0f}; kept; check lamp and exposure"
        )
        problems.append(Problem(entry.item.path, "brightness", message))
    return problems


def _far(values: ArrayLike, least_range: float) -> list[int]:
    """Indices of the values beyond Tukey's outer fences."""
    values = np.asarray(values, float)
    low, high = np.quantile(values, [0.25, 0.75])
    reach = _FENCE * max(high - low, least_range)
    return [int(i) for i in np.flatnonzero((values < low - reach) | (values > high + reach))]
