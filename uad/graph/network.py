"""The network itself: one or two ResNet-18 pyramids, and how unusual their features are."""

from typing import TYPE_CHECKING

import numpy as np

from uad.config import InputSpec
from uad.errors import BundleError
from uad.graph.nodes import Array, Graph
from uad.graph.parts import add_features, add_memory, add_whole_image
from uad.models.parts import Parts
from uad.models.resnet import Weights
from uad.scoring.maps import LEVELS

if TYPE_CHECKING:
    import onnx

BATCH_NORM_EPSILON = 1e-5
NETWORKS = ("teacher", "student")
BLOCKS = tuple(f"layer{level}.{block}" for level in range(1, len(LEVELS) + 1) for block in (0, 1))
"""Both networks' basic blocks, in order; a level ends with its second one."""


def build(parts: Parts, spec: InputSpec) -> "onnx.ModelProto":
    """Build a detector's float32 graph; only existing parts are computed.

    Args:
        parts: of any width.
        spec: input size, and mean and std per RGB channel of values in [0, 1].

    Returns:
        A checked model with input `image` (N, H, W, 3) uint8 BGR, N free, and outputs as
        `uad.scoring.maps.Outputs` names them: `map1`, `map2`, `map3`, (N, H / 2^(l+1), W / 2^(l+1))
        float32 distances in [0, 2]; `memory`, (N, H / 16, W / 16); `whole_image`, (N,).

    Raises:
        BundleError: an array is missing, naming it.
    """
    graph = Graph(spec, parts.whitenings)
    assemble(graph, parts)
    return graph.model()


def build_features(
    teacher: Weights, spec: InputSpec, *, as_directions: bool = False
) -> "onnx.ModelProto":
    """Build the graph of the features for the memory and the whole image's statistics.

    Args:
        teacher: as `Parts.teacher`.
        spec: see `build`.
        as_directions: patches are not means over 3 x 3 locations, as the memory takes them, but
            unit vectors of each level, as the search for suspects does.

    Returns:
        A checked model with outputs `patches`, (N, H / 16, W / 16, D), and `moments`, (N, D').
    """
    graph = Graph(spec)
    levels = _pyramid(graph, "teacher", teacher, graph.pixels())
    add_features(graph, levels, teacher, as_directions=as_directions)
    return graph.model()


def build_observed(parts: Parts, spec: InputSpec) -> tuple["onnx.ModelProto", dict[str, str]]:
    """The networks, every activation an output too: the model, and output by activation."""
    from onnx import TensorProto, helper

    graph = Graph(spec)
    assemble(graph, Parts(parts.teacher, parts.student))
    model = graph.model()
    model.graph.output.extend(
        helper.make_tensor_value_info(value, TensorProto.FLOAT, None)
        for value in graph.observed.values()
    )
    return model, dict(graph.observed)


def assemble(graph: Graph, parts: Parts) -> None:
    """Add the whole network to `graph`."""
    pixels = graph.pixels()
    pyramids = {name: _pyramid(graph, name, weights, pixels) for name, weights in _networks(parts)}
    levels = pyramids["teacher"]
    if "student" in pyramids:
        for level, features in enumerate(zip(levels, pyramids["student"], strict=True)):
            graph.distance(level, *features)
    if parts.memory is not None:
        add_memory(graph, levels, parts.memory)
    if parts.whole_image is not None:
        add_whole_image(graph, levels, parts.whole_image)


def _networks(parts: Parts) -> list[tuple[str, Weights]]:
    pairs = zip(NETWORKS, (parts.teacher, parts.student), strict=True)
    return [(name, weights) for name, weights in pairs if weights is not None]


def fold(weights: Weights, convolution: str, norm: str) -> tuple[Array, Array]:
    """Weight and bias of `convolution` with the batch norm `norm` folded in (epsilon 1e-5)."""
    try:
        kernel = np.asarray(weights[f"{convolution}.weight"], np.float64)
        gamma, beta, mean, variance = (
            np.asarray(weights[f"{norm}.{part}"], np.float64)
            for part in ("weight", "bias", "running_mean", "running_var")
        )
    except KeyError as exc:
        raise BundleError(
            f"the weights have no {exc.args[0]}, so this is not a ResNet-18 up to layer3"
        ) from exc
    scale = gamma / np.sqrt(variance + BATCH_NORM_EPSILON)
    folded = kernel * scale[:, None, None, None]
    return folded.astype(np.float32), (beta - mean * scale).astype(np.float32)


def _pyramid(graph: Graph, name: str, weights: Weights, pixels: str) -> list[str]:
    """Outputs of layer1 to layer3, each after its last ReLU."""
    kernel, bias = graph.first_kernel(*fold(weights, "conv1", "bn1"))
    value = graph.node("Relu", [graph.conv(pixels, f"{name}.conv1", kernel, bias, 2)])
    value = graph.activation(f"{name}.conv1", value)
    value = graph.node("MaxPool", [value], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    outputs = []
    for index, block in enumerate(BLOCKS):
        stride = 2 if index and index % 2 == 0 else 1
        value = _block(graph, name, weights, block, value, stride)
        outputs.append(value)
    return outputs[1::2]


def _block(graph: Graph, name: str, weights: Weights, block: str, value: str, stride: int) -> str:
    """ResNet's basic block (He et al., 2016, fig. 2)."""

    def conv(part: str, norm: str, source: str, step: int) -> str:
        kernel, bias = fold(weights, f"{block}.{part}", f"{block}.{norm}")
        return graph.conv(source, f"{name}.{block}.{part}", kernel, bias, step)

    def kept(part: str, output: str) -> str:
        return graph.activation(f"{name}.{block}.{part}", output)

    inner = kept("inner", graph.node("Relu", [conv("conv1", "bn1", value, stride)]))
    outer = kept("outer", conv("conv2", "bn2", inner, 1))
    if stride > 1:
        value = kept("shortcut", conv("downsample.0", "downsample.1", value, stride))
    return kept("out", graph.node("Relu", [graph.node("Add", [outer, value])]))
