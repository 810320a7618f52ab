"""Fractal categories and their pictures, after Kataoka et al. (ACCV 2020).

A category is an iterated function system: 2 to 8 affine maps of the plane, each parameter drawn
from [-1, 1]. The chaos game draws it: points are moved again and again by a map that is chosen with
a probability proportional to its determinant's size. A system is kept if its points fill enough of
the picture. The pictures of one category differ in one parameter, in turning and mirroring, in the
small patch that is stamped at every point, and in the points themselves.
"""

import numpy as np
from numpy.typing import NDArray

from uad.models.teacher.distillation.fields import Random

Systems = NDArray[np.float32]
"""(N, MOST_MAPS, 2, 3): maps x -> A x + b as [A | b]; then zeros, which are never chosen."""
Points = NDArray[np.float32]
"""(N, P, 2): x and y."""
Pixels = NDArray[np.int64]
"""(N, P, 2): row and column."""
Pictures = NDArray[np.uint8]
"""(N, S, S, 3) RGB, black but for the fractal."""

FEWEST_MAPS, MOST_MAPS = 2, 8
FACTORS = (0.8, 0.9, 1.0, 1.1, 1.2)
"""Of the parameter in which a picture differs from its category."""
HELD_OUT_FACTORS = (0.85, 0.95, 1.05, 1.15)
"""Between those of training, so that no picture of training shows them."""

_POINTS_A_PIXEL = 0.4
_SETTLING_STEPS, _KEPT_STEPS = 20, 40
_SEARCH_PX = 96
_CANDIDATES = 64


def search(rng: Random, count: int, least_filling: float) -> Systems:
    """`count` random systems whose points fill at least this share of a picture's pixels."""
    kept: list[Systems] = []
    while len(kept) < count:
        candidates = random_systems(rng, _CANDIDATES)
        kept.extend(candidates[filling(rng, candidates) >= least_filling])
    return np.stack(kept[:count])


def random_systems(rng: Random, count: int) -> Systems:
    """Systems of 2 to 8 maps with parameters from [-1, 1]."""
    systems = rng.uniform(-1, 1, (count, MOST_MAPS, 2, 3)).astype(np.float32)
    maps = rng.integers(FEWEST_MAPS, MOST_MAPS + 1, (count, 1))
    systems[np.arange(MOST_MAPS) >= maps] = 0
    return systems


def filling(rng: Random, systems: Systems) -> NDArray[np.float64]:
    """(N,): the share of a picture's pixels that a system's points meet."""
    rows, columns = np.moveaxis(_pixels(attractors(rng, systems, _SEARCH_PX), _SEARCH_PX), 2, 0)
    met = np.zeros((len(systems), _SEARCH_PX, _SEARCH_PX), bool)
    met[np.arange(len(systems))[:, None], rows, columns] = True
    return np.asarray(met.mean((1, 2)))


def attractors(rng: Random, systems: Systems, edge_px: int) -> Points:
    """Where the chaos game leads, with about as many points a pixel at every edge of picture."""
    count = len(systems)
    walkers = -int(-(_POINTS_A_PIXEL * edge_px**2) // _KEPT_STEPS)
    chances = np.abs(np.linalg.det(systems[..., :2]))
    reach = np.cumsum(chances, 1) / chances.sum(1, keepdims=True)  # (N, MOST_MAPS), ends at 1
    before = np.arange(count)[:, None]
    ladder = (reach + before).ravel()
    moves = systems.reshape(-1, 6)
    x = y = np.zeros((count, walkers), np.float32)
    trail = []
    for step in range(_SETTLING_STEPS + _KEPT_STEPS):
        chosen = np.searchsorted(ladder, rng.random(x.shape, np.float32) + before)
        a, b, e, c, d, f = np.moveaxis(moves[chosen], 2, 0)
        x, y = a * x + b * y + e, c * x + d * y + f
        if step >= _SETTLING_STEPS:
            trail.append(np.stack([x, y], 2))
    return np.concatenate(trail, 1)


def varied(rng: Random, systems: Systems, factors: tuple[float, ...]) -> Systems:
    """Each system with one of its six parameters, in all its maps, times one of `factors`."""
    scale = np.ones((len(systems), 6), np.float32)
    scale[np.arange(len(systems)), rng.integers(0, 6, len(systems))] = rng.choice(
        factors, len(systems)
    )
    return systems * scale.reshape(-1, 1, 2, 3)


def draw(rng: Random, systems: Systems, edge_px: int) -> Pictures:
    """One picture of each system: turned, mirrored, stamped, and cut a little smaller at random."""
    canvas_px = edge_px * 9 // 8
    spots = _mirrored(rng, _pixels(attractors(rng, systems, canvas_px), canvas_px), canvas_px)
    canvas = _stamped(rng, spots, canvas_px)
    corners = rng.integers(0, canvas_px - edge_px + 1, (len(systems), 2))
    cuts = [
        picture[y : y + edge_px, x : x + edge_px]
        for picture, (y, x) in zip(canvas, corners, strict=True)
    ]
    return np.stack(cuts)


def _pixels(points: Points, edge_px: int) -> Pixels:
    """The pixels that points meet when their bounding box is the picture."""
    low, high = points.min(1, keepdims=True), points.max(1, keepdims=True)
    share = (points - low) / np.maximum(high - low, np.float32(1e-12))
    pixels: Pixels = (share * np.float32(edge_px - 1) + np.float32(0.5)).astype(np.int64)
    return pixels[..., ::-1]


def _mirrored(rng: Random, pixels: Pixels, edge_px: int) -> Pixels:
    """Each picture's pixels in one of the eight ways to lay a square down."""
    swap, flip = rng.random((len(pixels), 1, 1)) < 0.5, rng.random((len(pixels), 1, 2)) < 0.5
    turned = np.where(swap, pixels[..., ::-1], pixels)
    return np.where(flip, edge_px - 1 - turned, turned)


def _stamped(rng: Random, pixels: Pixels, edge_px: int) -> Pictures:
    """Lay each picture's own patch of 3 x 3 pixels, grey or coloured, about all its points."""
    count = len(pixels)
    shades = rng.integers(64, 256, (count, 3, 3, 3), np.uint8)
    shades = np.where(rng.random((count, 1, 1, 1)) < 0.5, shades[..., :1], shades)
    inked = rng.random((count, 3, 3)) < 0.5
    inked[:, 1, 1] = True  # no patch is empty
    pictures = np.zeros((count, edge_px + 2, edge_px + 2, 3), np.uint8)
    for dy, dx in np.ndindex(3, 3):
        which = np.flatnonzero(inked[:, dy, dx])
        rows, columns = pixels[which, :, 0] + dy, pixels[which, :, 1] + dx
        pictures[which[:, None], rows, columns] = shades[which, None, dy, dx]
    return pictures[:, 1:-1, 1:-1]
