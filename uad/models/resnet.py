"""Which weights a ResNet-18 feature pyramid has, torchvision's names, without any framework."""

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from uad.errors import TeacherError

Weights = Mapping[str, NDArray[np.float32]]
"""torchvision's ResNet names (`conv1.weight`, `bn1.running_mean`, `layer2.0.downsample.0.weight`,
up to `layer3`) to float32 arrays."""
Shape = tuple[int, ...]


def shapes(width: int) -> Iterator[tuple[str, Shape]]:
    """Name and shape of every weight of a pyramid whose first level has `width` channels."""
    yield from _unit_shapes("conv1", "bn1", (width, 3, 7, 7))
    channels_in = width
    for level, channels in enumerate((width, 2 * width, 4 * width), start=1):
        for block in (0, 1):
            at = f"layer{level}.{block}"
            yield from _unit_shapes(f"{at}.conv1", f"{at}.bn1", (channels, channels_in, 3, 3))
            yield from _unit_shapes(f"{at}.conv2", f"{at}.bn2", (channels, channels, 3, 3))
            if channels_in != channels:
                names = (f"{at}.downsample.0", f"{at}.downsample.1")
                yield from _unit_shapes(*names, (channels, channels_in, 1, 1))
            channels_in = channels


def random_weights(width: int, seed: int) -> Weights:
    """Seeded initial weights: He et al. (ICCV 2015) normal, fan out; neutral batch norms."""
    rng = np.random.default_rng(seed)
    return {name: _initial(name, shape, rng) for name, shape in shapes(width)}


def check(weights: Mapping[str, NDArray[np.generic]], width: int, *, origin: str) -> Weights:
    """The pyramid's own weights out of `weights`, float32; others (layer4, fc) are left out.

    Raises:
        TeacherError: naming the first weight that is missing, of another shape or not finite.
    """
    return {name: _checked(weights, name, shape, origin) for name, shape in shapes(width)}


def _checked(
    weights: Mapping[str, NDArray[np.generic]], name: str, shape: Shape, origin: str
) -> NDArray[np.float32]:
    if name not in weights:
        raise TeacherError(
            f"{origin} has no weight '{name}'. It is not a ResNet-18 (conv1 to layer3)."
        )
    value = np.ascontiguousarray(weights[name], np.float32)
    if value.shape != shape:
        raise TeacherError(
            f"{origin}: '{name}' has shape {value.shape}, a ResNet-18 needs {shape} here"
        )
    if not np.isfinite(value).all():
        raise TeacherError(
            f"{origin}: '{name}' has values that are not finite. Fetch the file again."
        )
    return value


def _initial(name: str, shape: Shape, rng: np.random.Generator) -> NDArray[np.float32]:
    if len(shape) == 4:
        deviation = np.sqrt(2.0 / (shape[0] * shape[2] * shape[3]))
        return np.asarray(rng.standard_normal(shape) * deviation, np.float32)
    ones = name.endswith((".weight", "running_var"))
    return np.ones(shape, np.float32) if ones else np.zeros(shape, np.float32)


def _unit_shapes(conv: str, norm: str, kernel: Shape) -> Iterator[tuple[str, Shape]]:
    yield f"{conv}.weight", kernel
    for part in ("weight", "bias", "running_mean", "running_var"):
        yield f"{norm}.{part}", kernel[:1]
