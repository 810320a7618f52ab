"""Grey patterns: (size, size) float32 in [0, 1], each drawn from a seeded generator."""

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]
Random = np.random.Generator


def fractal_noise(rng: Random, size: int) -> Field:
    """Octaves of smooth random grids, stretched along one axis now and then."""
    first = int(rng.integers(0, 5))
    decay = rng.uniform(0.35, 1.0)
    stretch = rng.choice([1.0, 1.0, 1.0, 4.0, 12.0])
    total = np.zeros((size, size), np.float32)
    for octave in range(first, 9):
        total += np.float32(decay ** (octave - first)) * _grid(rng, size, 2**octave, stretch)
    field = stretched(total)
    return field.T.copy() if rng.random() < 0.5 else field


def grating(rng: Random, size: int) -> Field:
    """Parallel waves: sine, square or saw, their phase bent by smooth noise."""
    x, y = _axes(size)
    angle = rng.uniform(0, np.pi)
    cycles = np.exp(rng.uniform(np.log(2), np.log(size / 5)))
    phase = (np.cos(angle) * x + np.sin(angle) * y) * cycles
    phase = phase + _bend(rng, size) * rng.uniform(0, 1.5)
    return _wave(rng, phase)


def rings(rng: Random, size: int) -> Field:
    """Concentric waves about a random centre, bent by noise; wood, turned metal."""
    x, y = _axes(size)
    centre = rng.uniform(-0.5, 1.5, 2)
    aspect = np.exp(rng.uniform(-1, 1))
    radius = np.sqrt((x - centre[0]) ** 2 * aspect + (y - centre[1]) ** 2 / aspect)
    cycles = np.exp(rng.uniform(np.log(3), np.log(size / 8)))
    return _wave(rng, radius * cycles + _bend(rng, size) * rng.uniform(0, 2))


def cells(rng: Random, size: int) -> Field:
    """Voronoi cells of random points: flat values, distances to the points, or the borders."""
    count = int(np.exp(rng.uniform(np.log(8), np.log(3000))))
    seeds = np.full((size, size), 255, np.uint8)
    seeds[rng.integers(0, size, count), rng.integers(0, size, count)] = 0
    distance, labels = cv2.distanceTransformWithLabels(
        seeds, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    style = rng.integers(0, 3)
    if style == 0:
        return stretched(single(distance))
    values = rng.random(int(labels.max()) + 1, np.float32)
    flat: Field = values[labels]
    return flat if style == 1 else _borders(rng, flat)


def spots(rng: Random, size: int) -> Field:
    """Band-passed noise, soft or cut to two values: leopard skin, cast iron, foam."""
    noise = rng.standard_normal((size // 2, size // 2), np.float32)
    sigma = np.exp(rng.uniform(np.log(0.7), np.log(8)))
    band = cv2.GaussianBlur(noise, (0, 0), sigma) - cv2.GaussianBlur(noise, (0, 0), sigma * 1.8)
    field = stretched(cv2.resize(band, (size, size), interpolation=cv2.INTER_CUBIC))
    if rng.random() < 0.5:
        return field
    edge = rng.uniform(0.35, 0.65)
    return clipped((field - edge) * rng.uniform(5, 60) + 0.5)


def lattice(rng: Random, size: int) -> Field:
    """One small drawing repeated along two axes and turned: mesh, tiles, knurling, print."""
    edge = int(np.exp(rng.uniform(np.log(min(10, size / 8)), np.log(size / 4))))
    tile = np.full((edge, edge), rng.integers(0, 256), np.uint8)
    for _ in range(int(rng.integers(1, 5))):
        draw_shape(rng, tile, int(rng.integers(0, 256)), edge * 0.5)
    rows = np.tile(tile, (1, size // edge + 2))
    shift = int(rng.choice([0, 0, edge // 2]))
    pair = np.concatenate([rows, np.roll(rows, shift, axis=1)])
    whole = np.tile(pair, (size // (2 * edge) + 2, 1))[:size, :size]
    return _turned(rng, single(whole / 255))


def weave(rng: Random, size: int) -> Field:
    """Threads over and under each other, in plain, twill or satin order."""
    thread = rng.uniform(4, 40)
    order = int(rng.integers(2, 6))
    x, y = (axis * size / thread for axis in _axes(size))
    x, y = x + 0.3 * _bend(rng, size), y + 0.3 * _bend(rng, size)
    over = (np.floor(x) + np.floor(y) * rng.integers(1, order)) % order < order / 2
    power = rng.uniform(0.3, 1.5)
    warp, weft = np.abs(np.sin(np.pi * x)) ** power, np.abs(np.sin(np.pi * y)) ** power
    tone = rng.uniform(0.3, 1.0)
    return _turned(rng, np.where(over, warp, tone * weft).astype(np.float32))


def shapes(rng: Random, size: int) -> Field:
    """Random discs, boxes, polygons, lines and rings over each other."""
    canvas = np.full((size, size), rng.integers(0, 256), np.uint8)
    count = int(np.exp(rng.uniform(np.log(4), np.log(150))))
    largest = size * rng.uniform(0.5, 1.5) / np.sqrt(count)
    for _ in range(count):
        draw_shape(rng, canvas, int(rng.integers(0, 256)), largest)
    return single(canvas / 255)


def strokes(rng: Random, size: int) -> Field:
    """Writing, scratches and hairs: signs of a stroke font, bent lines."""
    paper, ink = rng.permutation([rng.integers(0, 110), rng.integers(130, 256)])
    canvas = np.full((size, size), paper, np.uint8)
    for _ in range(int(rng.integers(8, 70))):
        shade = int(np.clip(ink + rng.integers(-30, 30), 0, 255))
        draw = _write if rng.random() < 0.5 else _hair
        draw(rng, canvas, shade)
    return single(canvas / 255)


def gradient(rng: Random, size: int) -> Field:
    """A plain surface under uneven light."""
    return stretched(cv2.resize(rng.random((2, 3), np.float32), (size, size)))


def draw_shape(rng: Random, canvas: NDArray[np.uint8], shade: int, largest: float) -> None:
    """Draw one random shape of at most about `largest` pixels' radius into `canvas`."""
    height, width = canvas.shape
    centre = (int(rng.integers(0, width)), int(rng.integers(0, height)))
    radius = max(1, int(largest * rng.uniform(0.15, 1)))
    thickness = int(rng.choice([-1, -1, 1, 2, max(1, radius // 4)]))
    kind = rng.integers(0, 4)
    if kind == 0:
        axes = (radius, max(1, int(radius * rng.uniform(0.3, 1))))
        turn = rng.uniform(0, 180)
        cv2.ellipse(canvas, centre, axes, turn, 0, 360, shade, thickness, cv2.LINE_AA)
    elif kind == 1:
        points = polygon(rng, centre, radius, int(rng.integers(3, 9)))
        if thickness < 0:
            cv2.fillPoly(canvas, [points], shade, cv2.LINE_AA)
        else:
            cv2.polylines(canvas, [points], True, shade, thickness, cv2.LINE_AA)
    elif kind == 2:
        box = cv2.boxPoints((centre, (radius, radius * 0.6), rng.uniform(0, 90)))
        corners = np.asarray(box).astype(np.int32)
        cv2.fillPoly(canvas, [corners], shade, cv2.LINE_AA)
    else:
        end = (centre[0] + int(rng.normal(0, radius)), centre[1] + int(rng.normal(0, radius)))
        cv2.line(canvas, centre, end, shade, max(1, radius // 8), cv2.LINE_AA)


def polygon(rng: Random, centre: tuple[int, int], radius: float, count: int) -> NDArray[np.int32]:
    """(count, 2) int32 corners of a star-shaped polygon about `centre`."""
    angles = np.sort(rng.uniform(0, 2 * np.pi, count))
    radii = radius * rng.uniform(0.4, 1.0, count)
    points = np.stack([np.cos(angles), np.sin(angles)], 1) * radii[:, None] + centre
    return points.astype(np.int32)


def stretched(values: NDArray[Any]) -> Field:
    """Bring `values` to [0, 1] by their 1st and 99th percentile (of a sample)."""
    low, high = np.percentile(values[::7, ::7], [1, 99])
    return clipped((values - low) / max(high - low, 1e-6))


def single(values: NDArray[Any]) -> Field:
    """The same values as float32."""
    return np.asarray(values, np.float32)


def clipped(values: NDArray[Any]) -> Field:
    """`values` cut to [0, 1], float32."""
    return single(np.clip(values, 0, 1))


def smooth_noise(rng: Random, size: int, cells_across: int) -> Field:
    """(size, size) standard-normal grid of `cells_across` cells, cubically interpolated."""
    return _grid(rng, size, cells_across, 1.0)


def _grid(rng: Random, size: int, count: int, stretch: float) -> Field:
    shape = (min(count + 2, size), min(max(2, int(count / stretch) + 2), size))
    coarse = rng.standard_normal(shape, np.float32)
    return np.asarray(cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC), np.float32)


def _axes(size: int) -> tuple[Field, Field]:
    line = np.linspace(0, 1, size, dtype=np.float32)
    return line[None, :], line[:, None]


def _bend(rng: Random, size: int) -> Field:
    return smooth_noise(rng, size, int(rng.integers(1, 7)))


def _wave(rng: Random, phase: NDArray[Any]) -> Field:
    kind = rng.integers(0, 3)
    if kind == 2:
        return single(phase % 1.0)
    wave = 0.5 + 0.5 * np.sin(2 * np.pi * single(phase))
    if kind == 1:
        return clipped((wave - rng.uniform(0.2, 0.8)) * rng.uniform(3, 15) + 0.5)
    return single(wave)


def _borders(rng: Random, flat: Field) -> Field:
    kernel = np.ones((3, 3), np.uint8)
    edges = single(cv2.morphologyEx(flat, cv2.MORPH_GRADIENT, kernel) > 0.01)
    width = int(rng.integers(1, 4))
    soft = cv2.GaussianBlur(cv2.dilate(edges, kernel, iterations=width), (0, 0), 0.8)
    return clipped(soft + flat * rng.uniform(0, 0.5))


def _turned(rng: Random, field: Field) -> Field:
    size = field.shape[0]
    matrix = cv2.getRotationMatrix2D((size / 2, size / 2), rng.uniform(0, 360), 1.0)
    turned = cv2.warpAffine(field, matrix, (size, size), borderMode=cv2.BORDER_REFLECT)
    return np.asarray(turned, np.float32)


def _write(rng: Random, canvas: NDArray[np.uint8], shade: int) -> None:
    signs = "".join(chr(code) for code in rng.integers(33, 127, int(rng.integers(1, 9))))
    place = (int(rng.integers(-20, canvas.shape[1])), int(rng.integers(0, canvas.shape[0])))
    font = int(rng.integers(0, 8))
    scale = float(np.exp(rng.uniform(-1, 1.2)))
    cv2.putText(canvas, signs, place, font, scale, shade, int(rng.integers(1, 5)), cv2.LINE_AA)


def _hair(rng: Random, canvas: NDArray[np.uint8], shade: int) -> None:
    steps = rng.normal(0, canvas.shape[0] / 40, (int(rng.integers(3, 20)), 2))
    path = np.cumsum(np.cumsum(steps, 0) * 0.4, 0) + rng.uniform(0, canvas.shape[0], 2)
    cv2.polylines(
        canvas, [path.astype(np.int32)], False, shade, int(rng.integers(1, 4)), cv2.LINE_AA
    )


PATTERNS: tuple[Callable[[Random, int], Field], ...] = (
    fractal_noise,
    fractal_noise,
    grating,
    rings,
    cells,
    spots,
    lattice,
    weave,
    shapes,
    shapes,
    strokes,
    gradient,
)
"""What a scene is made of; the commoner ones twice."""
