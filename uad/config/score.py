"""How a model's outputs become a map and a score."""

from typing import Annotated, Literal

from pydantic import Field

from uad.config.loading import Settings

Distance = Literal["mahalanobis", "cosine"]


class ScoreDefinition(Settings):
    """How level maps become one anomaly map; chosen on normal images, fixed in the bundle."""

    distance: Distance = "cosine"
    """Between teacher and student at a location: 1 - cos, or that with the directions in which
    normal images differ counting less (`uad.models.whitening`)."""
    combine: Literal["product", "sum"] = "product"
    """Product of the levels' maps (Wang et al., 2021, eq. 3) or their weighted sum."""
    weights: tuple[float, ...] = (1.0, 1.0, 1.0)
    """One factor (sum) or exponent (product) per level."""
    normalise: Literal["none", "level", "location"] = "none"
    """Divide each level by its mean on the selection normals: one number a level, or one map."""
    smooth_sigma: Annotated[float, Field(ge=0.0)] = 0.0
    """Gaussian smoothing, in pixels of the first level's map (a quarter of the input)."""
    reason: str = "default"
    """Why this definition was chosen, for the report."""


PartName = Literal["student", "memory", "whole_image"]
PARTS: tuple[PartName, ...] = ("student", "memory", "whole_image")


class PartDefinition(Settings):
    """What one part of the detector gives to the image score and to the anomaly map.

    Figures are of the selection normals, so that parts of different units can be added.
    """

    weight: Annotated[float, Field(ge=0.0)]
    """Weight of the standardised logarithm in the image score; 0: the part is only in the map."""
    typical: Annotated[float, Field(gt=0.0)]
    """The part's score of a usual image: the geometric mean over the selection normals."""
    spread: Annotated[float, Field(gt=0.0)]
    """Standard deviation of that score's logarithm."""
    map_weight: Annotated[float, Field(ge=0.0)] = 0.0
    """Weight in the anomaly map of the part's map, divided by its mean."""
    map_mean: Annotated[float, Field(gt=0.0)] = 1.0
    """Mean of the part's map."""


class DetectorDefinition(Settings):
    """Which parts a detector has and how they are combined (`uad.scoring.parts`)."""

    student: PartDefinition | None = None
    memory: PartDefinition | None = None
    whole_image: PartDefinition | None = None
    smooth_sigma: Annotated[float, Field(ge=0.0)] = 0.0
    """Gaussian smoothing of the whole map, in pixels of a quarter of the input."""
    reason: str = "default"
    """Why these parts and weights were chosen, for the report."""

    def parts(self) -> dict[PartName, PartDefinition]:
        """The existing parts, by name."""
        found = {name: getattr(self, name) for name in PARTS}
        return {name: part for name, part in found.items() if part is not None}
