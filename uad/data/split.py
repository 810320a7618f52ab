"""Share out the normal images: train, selection, calibration."""

import hashlib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from uad.config import SplitConfig
from uad.config.training import group_pattern_error
from uad.data.samples import Sample
from uad.errors import ConfigError, DataError
from uad.scoring.conformal import images_needed

Group = tuple[Sample, ...]


@dataclass(frozen=True)
class Split:
    """The shares, each in the order of its names."""

    train: tuple[Sample, ...]
    selection: tuple[Sample, ...]
    calibration: tuple[Sample, ...]
    groups: int | None
    """None when no pattern was given."""


@dataclass(frozen=True)
class Sizes:
    """How many images each share aims at."""

    train: int
    selection: int
    calibration: int


def sizes(n: int, split: SplitConfig) -> Sizes:
    """How `n` normal images are shared out.

    1. Calibration gets its share, raised to what alpha needs (`images_needed`), so that the
       false alarm rate asked for can be kept.
    2. Selection gets its share of what is left: rest * selection_share / (1 - calibration_share),
       rounded up. Without a raise that is its share of all.
    3. Training gets the others, but never fewer than a quarter of all or 8, whichever is more (half
       of a set under 16); calibration gives way first (the threshold then stands for a larger
       alpha, which is reported), keeping at least 1; selection keeps 2 (1 of a set under 12).

    With the defaults: n = 3 -> 1/1/1, 10 -> 5/1/4, 20 -> 8/2/10, 31 -> 9/3/19, 50 -> 25/6/19,
    200 -> 130/30/40, 1000 -> 650/150/200 (train/selection/calibration).

    Raises:
        DataError: fewer than 3 images.
    """
    if n < 3:
        raise DataError(
            f"{n} normal image{'s' * (n != 1)} cannot be shared between training, selection "
            "and calibration; add good images until there are at least 3 (30 or more work well)"
        )
    fewest_train = min(n // 2, max(8, n // 4))
    fewest_selection = 1 if n < 12 else 2
    wanted = max(round(split.calibration_share * n), images_needed(split.alpha))
    calibration = max(1, min(wanted, n - fewest_train - fewest_selection))
    rest = n - calibration
    share = split.selection_share / (1 - split.calibration_share)
    selection = math.ceil(round(rest * share, 9))
    selection = max(fewest_selection, min(selection, rest - fewest_train))
    return Sizes(rest - selection, selection, calibration)


def split_normals(samples: Sequence[Sample], split: SplitConfig) -> Split:
    """Share out normal images by `sizes`; the images of a capture group stay together.

    Which image goes where is decided by a hash of the seed and the file's content (of the seed and
    the group's name, with a pattern), never by the order of paths: a renamed folder is split the
    same way, and images added later leave most others where they were. Calibration fills from one
    end of that order, selection from the other, training is what is between. With groups the sizes
    are met as nearly as whole groups allow.

    Raises:
        DataError: too few images, or fewer than 3 groups.
    """
    aim = sizes(len(samples), split)
    groups = _grouped(samples, split)
    if len(groups) < 3:
        raise DataError(
            f"group pattern '{split.group_pattern}' puts {len(samples)} normal images into "
            f"{len(groups)} groups, and three shares need at least 3; use a finer pattern or none"
        )
    calibration, rest = _take(groups, aim.calibration, leave=2)
    selection, rest = _take(rest[::-1], aim.selection, leave=1)
    return Split(
        train=_flat(rest),
        selection=_flat(selection),
        calibration=_flat(calibration),
        groups=None if split.group_pattern is None else len(groups),
    )


def group_key(name: str, pattern: re.Pattern[str]) -> str | None:
    """The capture group of a name; None when the pattern does not match."""
    match = pattern.search(name)
    return None if match is None else match.group(1)


def capture(sample: Sample, pattern: re.Pattern[str] | None) -> str:
    """What images of one capture share; an image that matches no group is its own."""
    key = None if pattern is None else group_key(sample.name, pattern)
    return sample.sha256 if key is None else f"group {key}"


def captures(samples: Sequence[Sample], group_pattern: str | None) -> list[int]:
    """Of each image the number of its capture, from 0; empty without a pattern."""
    if group_pattern is None:
        return []
    pattern = compile_pattern(group_pattern)
    numbers: dict[str, int] = {}
    return [numbers.setdefault(capture(sample, pattern), len(numbers)) for sample in samples]


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """A regular expression with at least one group, or a ConfigError."""
    if told := group_pattern_error(pattern):
        raise ConfigError(told)
    return re.compile(pattern)


def _grouped(samples: Sequence[Sample], split: SplitConfig) -> list[Group]:
    """Groups in the order of their hashes; an image that matches no group is its own."""
    pattern = None if split.group_pattern is None else compile_pattern(split.group_pattern)
    groups: dict[str, list[Sample]] = {}
    for sample in samples:
        groups.setdefault(capture(sample, pattern), []).append(sample)
    order = sorted(groups, key=lambda key: hashlib.sha256(f"{split.seed}:{key}".encode()).digest())
    return [tuple(groups[key]) for key in order]


def _take(groups: list[Group], wanted: int, *, leave: int) -> tuple[list[Group], list[Group]]:
    """Whole groups, about `wanted` images, from the front; at least `leave` groups stay.

    First every group that still fits; if that falls short, the smallest other one, unless it
    would miss the aim by more from above.
    """
    taken: list[Group] = []
    kept: list[Group] = []
    missing = wanted
    for group in groups:
        if len(group) <= missing and len(groups) - len(taken) > leave:
            taken.append(group)
            missing -= len(group)
        else:
            kept.append(group)
    smallest = min(kept, key=len)
    if missing > 0 and len(kept) > leave and (not taken or len(smallest) <= 2 * missing):
        taken.append(smallest)
        kept.remove(smallest)
    return taken, kept


def _flat(groups: Sequence[Group]) -> tuple[Sample, ...]:
    samples = (sample for group in groups for sample in group)
    return tuple(sorted(samples, key=lambda sample: sample.name))
