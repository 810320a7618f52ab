"""What calibration images have in common, and what a person is told about an image that differs.

An image of another kind than those that set the threshold gets a score, but it may mean nothing: a
grey photo for a model of colour images, or a photo of another shape, which is squeezed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from uad.config import Settings
from uad.images import Colour, Image, colour_of

SQUEEZED = 1.5
"""An image of another shape is told when it is squeezed by more than this factor."""
_CURE = "Send images from the same camera setup, or train a model with images like this one."


@dataclass(frozen=True)
class Look:
    """What one image looks like, before it is resized."""

    colour: Colour | None
    ratio: float
    """Width / height."""

    @classmethod
    def of(cls, image: Image) -> Self:
        """Of an image, (H, W, 3) uint8 BGR."""
        return cls(colour_of(image), image.shape[1] / image.shape[0])


class Looks(Settings):
    """What the images that set a threshold have in common."""

    colour: Colour | None
    """None: some are grey and some in colour, or it is not clear."""
    ratios: tuple[float, float]
    """The least and the largest width / height."""

    @classmethod
    def common(cls, images: Sequence[Look]) -> Self:
        """Of at least one image."""
        colours = {each.colour for each in images}
        ratios = [each.ratio for each in images]
        colour = colours.pop() if len(colours) == 1 else None
        return cls(colour=colour, ratios=(min(ratios), max(ratios)))

    def warnings(self, image: Look) -> tuple[str, ...]:
        """How `image` differs, in sentences that are the same for all such images."""
        return (*self._colour_warning(image), *self._shape_warning(image))

    def _colour_warning(self, image: Look) -> tuple[str, ...]:
        if None in (self.colour, image.colour) or self.colour == image.colour:
            return ()
        if image.colour == "grey":
            is_known = "The image is grey, but all images that set the threshold are in colour."
        else:
            is_known = "The image is in colour, but all images that set the threshold are grey."
        return (f"{is_known} Its score may mean nothing. {_CURE}",)

    def _shape_warning(self, image: Look) -> tuple[str, ...]:
        least, most = self.ratios
        if least / SQUEEZED <= image.ratio <= most * SQUEEZED:
            return ()
        known = " to ".join(dict.fromkeys((f"{least:.2f}", f"{most:.2f}")))
        return (
            "The image has another shape than the images that set the threshold (width / height "
            f"{known}). It is squeezed, so its score may mean nothing. {_CURE}",
        )


class ToldOnce:
    """The warnings of one run that were told: the same one on every image would hide the rest."""

    MOST = 100

    def __init__(self) -> None:
        self._told: set[str] = set()

    def new(self, warnings: Iterable[str]) -> list[str]:
        """Those of `warnings` that were not told before; at most `MOST` in all."""
        found = [each for each in dict.fromkeys(warnings) if each not in self._told]
        found = found[: self.MOST - len(self._told)]
        self._told.update(found)
        return found
