"""The memory: the distance of each location's features to the nearest normal ones.

PatchCore (Roth et al., CVPR 2022, arXiv 2106.08265): features of normal images are sampled and
projected to their principal components. A greedy choice keeps a few that represent all.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

COMPONENTS = 128
"""Number of principal components; more have no measurable effect."""
SAMPLED = 60_000
"""Features, of all images together, that the memory is chosen from."""
CORESET_DIMENSIONS = 64
"""Of a random projection (Johnson and Lindenstrauss) in which the greedy choice measures."""
CANDIDATES = 512
"""Farthest points among which several are chosen at once."""
ROUNDING = 1e-6
"""Squared distances below this share of the squared length are rounding errors: the same point."""
SMOOTHING = (0.25, 0.5, 0.25)
"""Weights of the previous location, the location itself and the next one, for squared distances.
Without this smoothing, a location that looks unusual by chance scores like a defect."""
BLOCK = 1024
"""Queries compared at once, to bound the memory that distances take."""


@dataclass(frozen=True)
class Memory:
    """What a location is compared with."""

    mean: Array
    """(D,) of the sampled features."""
    projection: Array
    """(D, C) orthonormal columns: their principal components."""
    features: Array
    """(K, C) the memory, in those components."""

    def distances(self, patches: Array) -> Array:
        """(N, h, w, D) features to (N, h, w): how far they are from the memory.

        The root of the squared Euclidean distance to the nearest of it, smoothed.
        """
        flat = patches.reshape(-1, patches.shape[-1])
        queries = np.asarray((flat - self.mean) @ self.projection, np.float32)
        squares = nearest_distances(queries, self.features) ** 2
        return np.sqrt(smoothed(squares.reshape(patches.shape[:-1])))

    def arrays(self) -> dict[str, Array]:
        """As they are stored."""
        return {part: getattr(self, part) for part in ("mean", "projection", "features")}


class FeatureSample:
    """A random sample of the locations of a stream of images, of bounded size.

    Args:
        images: how many will come.
        seed: of the choice.
        limit: about how many locations are kept of all images together.
    """

    def __init__(self, images: int, *, seed: int = 0, limit: int = SAMPLED) -> None:
        self._each = max(1, -(-limit // max(1, images)))
        self._rng = np.random.default_rng(seed)
        self._kept: list[Array] = []

    def add(self, patches: Array) -> None:
        """Take some of each image's locations; (N, P, D)."""
        for image in patches:
            count = min(self._each, len(image))
            chosen = self._rng.choice(len(image), count, replace=False)
            self._kept.append(np.ascontiguousarray(image[chosen], np.float32))

    def features(self) -> Array:
        """(M, D): the sample."""
        return np.concatenate(self._kept)


def fit_memory(sample: Array, size: int, *, seed: int = 0) -> Memory:
    """Choose at most `size` of the sampled features, (M, D), that represent all of them."""
    mean = sample.mean(axis=0, dtype=np.float64).astype(np.float32)
    centred = sample - mean
    projection = principal_components(centred, COMPONENTS)
    projected = centred @ projection
    chosen = greedy_coreset(_thin(projected, seed), size)
    return Memory(mean, projection, np.ascontiguousarray(projected[chosen]))


def principal_components(centred: Array, count: int) -> Array:
    """(D, C) the directions in which `centred`, (M, D), varies most; C <= `count`."""
    covariance = (centred.T @ centred).astype(np.float64) / len(centred)
    _, directions = np.linalg.eigh(covariance)
    return np.ascontiguousarray(directions[:, ::-1][:, :count], np.float32)


def greedy_coreset(points: Array, size: int) -> NDArray[np.intp]:
    """Indices of at most `size` of `points`, (M, C): each the farthest from those before it.

    Ends early if every point equals a chosen one. Several points are chosen per pass: among the
    farthest points the greedy choice is certain as long as it is farther than all other points.
    """
    size = min(size, len(points))
    distances = squared_distances(points, points[:1])[:, 0]  # to the nearest chosen point
    same = ROUNDING * float(np.einsum("ij,ij->i", points, points).max())
    chosen = [0]
    while len(chosen) < size:
        few = min(len(points), CANDIDATES)
        farthest = np.argpartition(distances, -few)[-few:]
        most = size - len(chosen)
        picked = _greedy_among(points[farthest], distances[farthest], most, same)
        if not picked:
            break
        new = farthest[picked]
        np.minimum(distances, squared_distances(points, points[new]).min(axis=1), out=distances)
        distances[new] = 0
        chosen += new.tolist()
    return np.asarray(chosen, np.intp)


def _greedy_among(points: Array, distances: Array, most: int, same: float) -> list[int]:
    """The next greedy choices that are certain from these farthest points alone."""
    outside = distances.min()
    between = squared_distances(points, points)
    picked: list[int] = []
    while len(picked) < most:
        farthest = int(distances.argmax())
        if distances[farthest] <= same or (picked and distances[farthest] < outside):
            break
        picked.append(farthest)
        distances = np.minimum(distances, between[farthest])
        distances[farthest] = 0
    return picked


def squared_distances(a: Array, b: Array) -> Array:
    """(M, K) squared Euclidean distances between the rows of (M, C) and (K, C)."""
    products = a @ b.T
    products *= -2
    products += np.einsum("ij,ij->i", a, a)[:, None]
    products += np.einsum("ij,ij->i", b, b)
    return np.asarray(np.maximum(products, 0, out=products), np.float32)


def smoothed(maps: Array) -> Array:
    """(N, h, w), each location a mean weighted by `SMOOTHING` both ways; the border is repeated."""
    for axis in (1, 2):
        padding = [(0, 0), (0, 0), (0, 0)]
        padding[axis] = (1, 1)
        padded, size = np.pad(maps, padding, mode="edge"), maps.shape[axis]
        parts = [
            np.float32(weight) * np.take(padded, range(start, start + size), axis)
            for start, weight in enumerate(SMOOTHING)
        ]
        maps = np.asarray(np.sum(parts, axis=0), np.float32)
    return maps


def nearest_distances(queries: Array, references: Array) -> Array:
    """(Q,) Euclidean distance of each query, (Q, C), to the nearest of the references, (K, C)."""
    found = np.empty(len(queries), np.float32)
    for start in range(0, len(queries), BLOCK):
        block = squared_distances(queries[start : start + BLOCK], references)
        found[start : start + BLOCK] = np.sqrt(block.min(axis=1))
    return found


def _thin(points: Array, seed: int) -> Array:
    """`points`, (M, C), projected on a few random directions that nearly preserve distances."""
    if points.shape[1] <= CORESET_DIMENSIONS:
        return points
    rng = np.random.default_rng(seed)
    directions = rng.standard_normal((points.shape[1], CORESET_DIMENSIONS)).astype(np.float32)
    return points @ (directions / np.float32(np.sqrt(CORESET_DIMENSIONS)))
