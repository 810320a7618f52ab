"""How level maps become a score."""

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
    """One factor (sum) or exponent (product) a level."""
    normalise: Literal["none", "level", "location"] = "none"
    """Divide each level by its mean on the selection normals: one number a level, or one map."""
    smooth_sigma: Annotated[float, Field(ge=0.0)] = 0.0
    """Gaussian smoothing, in pixels of the first level's map (a quarter of the input)."""
    reason: str = "default"
    """Why this definition was chosen, for the report."""
