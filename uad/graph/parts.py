"""The parts that need only the teacher's features: the memory and the whole image.

In float32 in every graph. `uad.models.memory` and `uad.models.statistics` compute the same.
"""

from collections.abc import Sequence

import numpy as np

from uad.graph.nodes import Array, Graph
from uad.models.memory import SMOOTHING, Memory
from uad.models.resnet import Weights
from uad.models.statistics import WholeImage
from uad.scoring.maps import MEMORY, WHOLE_IMAGE

PATCHES, MOMENTS = "patches", "moments"
BLOCK = 4096
"""Locations compared with the memory at once: their distances to all of it are kept meanwhile."""


def add_features(
    graph: Graph, levels: Sequence[str], teacher: Weights, *, as_directions: bool
) -> None:
    """The outputs that the parts are fitted to; see `build_features`."""
    width = len(teacher["bn1.weight"])
    height, breadth = _grid(graph)
    graph.node(
        "Transpose",
        [_patches(graph, levels, as_directions=as_directions)],
        PATCHES,
        perm=[0, 2, 3, 1],
    )
    graph.output(PATCHES, (height, breadth, 6 * width))
    graph.node("Identity", [_moments(graph, levels)], MOMENTS)
    graph.output(MOMENTS, (14 * width,))


def add_memory(graph: Graph, levels: Sequence[str], memory: Memory) -> None:
    """The output `memory`: |q - m| of the nearest m, from |q|^2 - 2 q.m + |m|^2, smoothed."""
    height, width = _grid(graph)
    directions = memory.projection.T
    projected = graph.node(
        "Conv",
        [
            _patches(graph, levels),
            graph.constant("memory.projection", directions[:, :, None, None]),
            graph.constant("memory.offset", -(directions @ memory.mean)),
        ],
        kernel_shape=[1, 1],
    )  # (N, C, h, w)
    flat = np.array([0, len(directions), -1], np.int64)
    rows = graph.node("Reshape", [projected, graph.constant("memory.flat", flat)])
    rows = graph.node("Transpose", [rows], perm=[0, 2, 1])  # (N, h * w, C)
    lengths = graph.node(
        "ReduceSum",
        [graph.node("Mul", [rows, rows]), graph.constant("memory.last", np.array([2], np.int64))],
        keepdims=0,
    )
    nearest = graph.node("Add", [lengths, _nearest(graph, rows, memory, height * width)])
    zero = graph.constant("memory.zero", np.array(0.0, np.float32))
    grid = graph.constant("memory.grid", np.array([-1, 1, height, width], np.int64))
    squares = graph.node("Reshape", [graph.node("Max", [nearest, zero]), grid])
    border = graph.constant("memory.border", np.array([0, 0, 1, 1] * 2, np.int64))
    kernel = np.outer(SMOOTHING, SMOOTHING).astype(np.float32)[None, None]
    smoothed = graph.node(
        "Conv",
        [
            graph.node("Pad", [squares, border], mode="edge"),
            graph.constant("memory.smoothing", kernel),
        ],
        kernel_shape=[3, 3],
    )
    plane = graph.constant("memory.plane", np.array([1], np.int64))
    graph.node("Squeeze", [graph.node("Sqrt", [smoothed]), plane], MEMORY)
    graph.output(MEMORY, (height, width))


def add_whole_image(graph: Graph, levels: Sequence[str], whole: WholeImage) -> None:
    """The output `whole_image`: |(s - mean) W| of the image's statistics s."""
    mean = graph.constant("whole_image.mean", whole.mean)
    offset = graph.node("Sub", [_moments(graph, levels), mean])
    whitened = graph.node(
        "MatMul", [offset, graph.constant("whole_image.whitening", whole.whitening)]
    )
    graph.node("ReduceL2", [whitened], WHOLE_IMAGE, axes=[1], keepdims=0)
    graph.output(WHOLE_IMAGE, ())


def _nearest(graph: Graph, rows: str, memory: Memory, locations: int) -> str:
    """(N, h * w) the least |m|^2 - 2 q.m over the memory, in blocks of locations."""
    factor = graph.constant("memory.features", -2 * memory.features.T)
    squares: Array = np.einsum("ij,ij->i", memory.features, memory.features)
    offset = graph.constant("memory.squares", squares)

    def least(block: str) -> str:
        sums = graph.node("Add", [graph.node("MatMul", [block, factor]), offset])
        return graph.node("ReduceMin", [sums], axes=[2], keepdims=0)

    if locations <= BLOCK:
        return least(rows)
    axis = graph.constant("memory.locations", np.array([1], np.int64))
    found = []
    for start in range(0, locations, BLOCK):
        ends = [
            graph.constant(f"memory.at{place}", np.array([place], np.int64))
            for place in (start, min(start + BLOCK, locations))
        ]
        found.append(least(graph.node("Slice", [rows, *ends, axis])))
    return graph.node("Concat", found, axis=1)


def _patches(graph: Graph, levels: Sequence[str], *, as_directions: bool = False) -> str:
    """(N, D, H / 16, W / 16): levels 2 and 3 side by side, each a 3 x 3 mean.

    The zeros of the padding count: they damp the border, where the networks' own padding makes
    features of normal images vary.
    """
    second, third = (
        graph.unit(level)
        if as_directions
        else graph.node(
            "AveragePool", [level], kernel_shape=[3, 3], pads=[1] * 4, count_include_pad=1
        )
        for level in levels[1:]
    )
    second = graph.node("AveragePool", [second], kernel_shape=[2, 2], strides=[2, 2])
    return graph.node("Concat", [second, third], axis=1)


def _moments(graph: Graph, levels: Sequence[str]) -> str:
    """(N, D'): every level's means over the image, then every level's standard deviations."""
    means, deviations = [], []
    for level in levels:
        mean = graph.node("ReduceMean", [level], axes=[2, 3], keepdims=1)
        offset = graph.node("Sub", [level, mean])
        square = graph.node("Mul", [offset, offset])
        variance = graph.node("ReduceMean", [square], axes=[2, 3], keepdims=1)
        means.append(mean)
        deviations.append(graph.node("Sqrt", [variance]))
    return graph.node("Flatten", [graph.node("Concat", [*means, *deviations], axis=1)])


def _grid(graph: Graph) -> tuple[int, int]:
    return graph.spec.height // 16, graph.spec.width // 16
